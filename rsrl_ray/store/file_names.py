"""Names of methods and photos as names of files that any disk takes."""

import re
from collections.abc import Iterable, Sequence

from rsrl_ray.core.digest import short_digest

_PLAIN = re.compile(r"\w[\w.-]*(?<!\.)", re.ASCII)
_TAKEN = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)  # devices of Windows
_LONGEST = 120  # characters: with what is put before and after, below the 255 bytes that disks allow


def file_names(names: Iterable[str], folders: bool = False, ends: Sequence[str] = ("",)) -> dict[str, str]:
    """The name of a file for every name, no two alike, also if a disk does not tell A from a.

    A name of letters, digits, dots, hyphens and underscores stays as it is; of others, these characters stay, behind
    a digest of the whole name. If two names differ in case only, the later one has a digest too.

    folders : a slash in a plain name parts folders, as in a photo's name relative to its table. ends : of the files
    that each name stands for, such as "" and ".edges": no two of all these are alike.
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
