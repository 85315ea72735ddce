"""The name of a process in locks and in MLflow, and whether the process with a name still runs.

A number is the name of a process only in one PID namespace (a container has its own), in one boot of the machine, and
until another process gets the number. So the name has all of these.
"""

import os
import socket
from dataclasses import astuple, dataclass
from pathlib import Path

import psutil

_SEPARATOR = ":"


@dataclass(frozen=True)
class _ProcessName:
    """The parts of a name. Boot, namespace and start are empty if they are not known: not on Linux, or older versions.

    boot : the machine's boot id. namespace : inode of the PID namespace; it may be used again after the namespace ends.
    start : of the process, in clock ticks since the boot, so nobody can set this clock.
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
    """Whether the process with this name may still run: it runs here, or it is on another machine.

    unseen : the answer for a process in another container of this machine, because it cannot be seen from here.
    """
    named, own = _ProcessName.of(name), _own()
    if named.host != own.host:
        return named.host != ""
    if _differ(named.boot, own.boot):  # the machine was started again
        return False
    return unseen if _differ(named.namespace, own.namespace) else _runs(named)


def is_here(name: str) -> bool:
    """Whether the process with this name runs on this machine and can be seen from here."""
    named, own = _ProcessName.of(name), _own()
    other = _differ(named.boot, own.boot) or _differ(named.namespace, own.namespace)
    return named.host == own.host and not other and _runs(named)


def in_words(name: str) -> str:
    """The name for people: host:pid, and whether it is in another container of this machine."""
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
    """Whether there is a process with its number and its start. A process that has ended (a zombie) does not count.

    If the first process of a container does not wait for others, killed processes stay in the table for ever.
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
    """Whether both are known and differ."""
    return "" not in (one, other) and one != other


def _start(number: str) -> str:
    """The start of a process: field 22 of proc_pid_stat(5). Field 2 is a name in brackets with any characters."""
    fields = _text(f"/proc/{number}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""
