"""Makes names of files, which all disks take, of names of methods and photos."""

import re
from collections.abc import Iterable, Sequence

from rsrl_ray.core.digest import short_digest

_PLAIN = re.compile(r"\w[\w.-]*(?<!\.)", re.ASCII)
_TAKEN = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)  # names of devices on Windows
_LONGEST = 120  # characters; with what is added before and after, a name is below the 255 bytes that disks allow


def file_names(names: Iterable[str], folders: bool = False, ends: Sequence[str] = ("",)) -> dict[str, str]:
    """A different name of a file for each name. They also differ on disks for which A and a are the same.

    A name of letters, digits, dots, hyphens and underscores stays as it is. In other names only these characters stay,
    after a digest of the whole name. If two names differ only in case, the later one gets a digest too.

    folders : whether a slash in a name separates folders, as in the names of photos. ends : the suffixes of the files
    of each name, such as "" and ".edges"; the names with these suffixes differ too.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        plain = _is_plain(name, folders) and taken.isdisjoint(_with_ends(name, ends))
        found[name] = name if plain else _marked(name)
        taken |= _with_ends(found[name], ends)
    return found


def _with_ends(name: str, ends: Sequence[str]) -> set[str]:
    return {f"{name}{end}".lower() for end in ends}


def _is_plain(name: str, folders: bool) -> bool:
    parts = name.split("/") if folders else [name]
    return len(name) <= _LONGEST and all(_PLAIN.fullmatch(part) and not _TAKEN.fullmatch(part) for part in parts)


def _marked(name: str) -> str:
    return f"{short_digest(name)}-{re.sub(r'[^A-Za-z0-9.]+', '_', name).strip('._')[-80:]}"
