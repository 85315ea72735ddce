"""The name of a process in locks and in MLflow, and whether the process of a name still runs.

A number names a process only within one PID namespace (a container has its own), within one boot of its machine, and
until the number is given to another process: all of this belongs to the name.
"""

import os
import socket
from dataclasses import astuple, dataclass
from pathlib import Path

import psutil

_SEPARATOR = ":"


@dataclass(frozen=True)
class _ProcessName:
    """Boot, namespace and start are empty if they are not known: off Linux, and in names of versions before.

    boot : the machine's boot id. namespace : inode of the PID namespace, which is given away again after its end.
    start : of the process, in clock ticks since the boot; no clock that people set.
    """

    host: str
    number: str
    boot: str = ""
    namespace: str = ""
    start: str = ""

    @classmethod
    def of(cls, text: str) -> "_ProcessName":
        parts = text.split(_SEPARATOR)
        if len(parts) == 5:
            return cls(*parts)
        host, _, number = text.rpartition(_SEPARATOR)
        return cls(host, number)


def process() -> str:
    """The name of this process: host:pid:boot:namespace:start."""
    return _SEPARATOR.join(astuple(_own()))


def is_alive(name: str, unseen: bool = True) -> bool:
    """Whether a process may still run, by its name: it runs here, or it cannot be seen, as another machine's.

    unseen : the answer for a process of this machine that cannot be seen from here, since it was in another container.
    """
    named, own = _ProcessName.of(name), _own()
    if named.host != own.host:
        return named.host != ""
    if _differ(named.boot, own.boot):  # the machine was started again since
        return False
    return unseen if _differ(named.namespace, own.namespace) else _runs(named)


def is_here(name: str) -> bool:
    """Whether a process runs on this machine and can be seen, by its name."""
    named, own = _ProcessName.of(name), _own()
    other = _differ(named.boot, own.boot) or _differ(named.namespace, own.namespace)
    return named.host == own.host and not other and _runs(named)


def in_words(name: str) -> str:
    """For people: host:pid, and whether they look for it in vain here."""
    named, own = _ProcessName.of(name), _own()
    if named.host == "":
        return name
    elsewhere = named.host == own.host and _differ(named.namespace, own.namespace)
    return f"{named.host}:{named.number}{' in another container' if elsewhere else ''}"


def _own() -> _ProcessName:
    boot, start = _text("/proc/sys/kernel/random/boot_id").strip(), _start("self")
    try:
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        namespace = ""
    return _ProcessName(socket.gethostname(), str(os.getpid()), boot, namespace, start)


def _runs(named: _ProcessName) -> bool:
    """Whether its number is a process that began when it did; one that has ended and was not waited for is none.

    In a container whose first process waits for no others, a process that was killed stays in the table for ever.
    """
    if not named.number.isdigit() or _differ(named.start, _start(named.number)):
        return False
    try:
        return psutil.Process(int(named.number)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _differ(one: str, other: str) -> bool:
    """Whether both are known, and not the same."""
    return "" not in (one, other) and one != other


def _start(number: str) -> str:
    """When a process began, see proc_pid_stat(5): the 22nd field; the 2nd is a name in brackets that may hold any."""
    fields = _text(f"/proc/{number}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""
