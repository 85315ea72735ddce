"""Places: a folder of this machine, a bucket, a database, a server."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

PHOTOS, FEATURES = "photos", "features"  # folders for what can be made again, see `cache_folder`
URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_SQLITE = re.compile(r"sqlite(?:\+\w+)?:///([^?]*)")
# A user or password may have a slash, an @ or both. In the URI of an HTTP server, host:port/ is not a user.
_USER = re.compile(r"://(?:[^\s/]*@|[^\s/:@]*:(?!\d+/)[^\s@]*@)|(?<!http)(?<!https)://[^\s/:@]+:[^\s@]*@")
_SECRETS = re.compile(
    r"([?&;][\w.-]*(?:key|secret|token|pass|pwd|auth|credential|sig|odbc_connect)[\w.-]*=)[^&\s]*", re.I
)


@dataclass(frozen=True, repr=False)
class Location:
    """A path of this machine or a URI. It is printed without user, password and keys."""

    text: str

    def __str__(self) -> str:
        return redacted(self.text)

    __repr__ = __str__

    @property
    def is_uri(self) -> bool:
        """Whether it is a bucket, a database or a server, and not a path of this machine."""
        return URI.match(self.text) is not None

    @property
    def is_served(self) -> bool:
        """Whether it is a server that speaks HTTP."""
        return self.text.lower().startswith(("http://", "https://"))

    @property
    def path(self) -> Path:
        """The path of this machine."""
        assert not self.is_uri, self
        return Path(self.text)

    @property
    def database(self) -> Path | None:
        """The file of an SQLite database; None if it is something else."""
        found = _SQLITE.match(self.text)
        path = "" if found is None else unquote(found[1])
        return None if path in ("", ":memory:") or path.startswith("file:") else Path(path)

    @property
    def bare(self) -> str:
        """The URI without user, password and options (``?...``)."""
        return _USER.sub("://", self.text.partition("?")[0]) if self.is_uri else self.text


def cache_folder(storage: Location) -> Path:
    """The folder of this machine for what can be made again: the storage, or a folder at home if that is a bucket."""
    return Path.home() / ".cache" / "rsrl_ray" if storage.is_uri else storage.path


def sqlite_uri(path: Path) -> str:
    """The URI of an SQLite file. Only characters that SQLAlchemy would take for its own syntax are escaped."""
    escaped = re.sub(r"[%?#\x00-\x1f\x7f]", lambda found: quote(found[0]), str(path))
    # If the URI names no driver, MLflow makes the folder itself, with the escapes in its name.
    return f"{'sqlite' if escaped == str(path) else 'sqlite+pysqlite'}:///{escaped}"


def redacted(text: str) -> str:
    """The text without users, passwords and keys of the URIs in it."""
    return _SECRETS.sub(r"\1***", _USER.sub("://***@", text))
