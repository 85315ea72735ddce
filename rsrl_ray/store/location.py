"""Where something lies: a folder of this machine, a bucket, a database, a server."""

import re
from dataclasses import dataclass
from pathlib import Path

_USER = re.compile(r"://[^/@\s]*@")
_SECRETS = re.compile(r"([?&](?:access_key|secret_key|session_token|password|token|sslpassword)=)[^&\s]*", re.I)


@dataclass(frozen=True, repr=False)
class Location:
    """A path of this machine or a URI, as ``text``; printed, it is without user, password and keys."""

    text: str

    def __str__(self) -> str:
        return redacted(self.text)

    __repr__ = __str__

    @property
    def is_uri(self) -> bool:
        """Whether it is a bucket, a database or a server, and not a path of this machine."""
        return "://" in self.text

    @property
    def is_served(self) -> bool:
        """Whether it is a server that speaks HTTP."""
        return self.text.startswith(("http://", "https://"))

    @property
    def path(self) -> Path:
        """The path of this machine."""
        assert not self.is_uri, self
        return Path(self.text)


def redacted(text: str) -> str:
    """The text without the users, passwords and keys that URIs in it may hold."""
    return _SECRETS.sub(r"\1***", _USER.sub("://***@", text))
