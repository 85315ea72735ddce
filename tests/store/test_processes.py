"""Names of processes, and which of them still run: here, in another container, on another machine, before a reboot."""

import os
import socket
import subprocess
import sys
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from rsrl_ray.store import processes
from rsrl_ray.store.processes import in_words, is_alive, is_here, process

HOST = socket.gethostname()
NAME = "from rsrl_ray.store.processes import *; print(process(), flush=True); input()"


@dataclass(frozen=True)
class Name:
    """A name in its parts."""

    host: str
    number: str
    boot: str
    namespace: str
    start: str

    def __str__(self) -> str:
        return ":".join(astuple(self))


OWN = Name(*process().split(":"))


def test_this_process_is_here_and_has_told_where_its_number_counts() -> None:
    assert (OWN.host, OWN.number) == (HOST, str(os.getpid()))
    assert is_here(process()) and is_alive(process())
    assert in_words(process()) == f"{HOST}:{os.getpid()}"
    assert OWN.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert os.readlink("/proc/self/ns/pid") == f"pid:[{OWN.namespace}]"
    assert len(process()) < 200  # what is read of a lock file


@pytest.mark.parametrize(
    ("name", "alive", "here"),
    [
        (replace(OWN, start="1"), False, False),  # its number is another process's by now
        (replace(OWN, number="999999999"), False, False),
        (replace(OWN, boot="another"), False, False),  # the machine was started again
        (replace(OWN, boot="another", namespace="1"), False, False),
        (replace(OWN, namespace="1"), True, False),  # in a container that runs on the same machine
        (replace(OWN, namespace="1", number="999999999"), True, False),
        (replace(OWN, host="far-away"), True, False),
        (replace(OWN, boot="", namespace="", start=""), True, True),  # as it is called off Linux
        (f"{HOST}:{os.getpid()}", True, True),  # as versions before called it
        (f"{HOST}:999999999", False, False),
        ("far-away:1", True, False),
        (f"{HOST}:?", False, False),
        ("unknown", False, False),
        ("", False, False),
    ],
    ids=lambda value: "" if isinstance(value, bool) else "name",  # this process has another name in every worker
)
def test_who_is_alive_and_who_is_here(name: object, alive: bool, here: bool) -> None:
    assert (is_alive(str(name)), is_here(str(name))) == (alive, here)


def test_the_answer_for_what_cannot_be_seen_may_be_known_better() -> None:
    assert not is_alive(str(replace(OWN, namespace="1")), unseen=False)
    for name in (str(OWN), "far-away:1", str(replace(OWN, host="far-away"))):
        assert is_alive(name, unseen=False)


def test_people_read_host_and_number() -> None:
    assert in_words(str(replace(OWN, namespace="1"))) == f"{HOST}:{os.getpid()} in another container"
    assert in_words(str(replace(OWN, host="far-away", namespace="1"))) == f"far-away:{os.getpid()}"
    assert [in_words(name) for name in ("far-away:1", "unknown", "")] == ["far-away:1", "unknown", ""]


def test_without_linux_a_name_is_host_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(processes, "os", SimpleNamespace(stat=refuse, getpid=os.getpid))
    monkeypatch.setattr(processes, "Path", lambda path: SimpleNamespace(read_text=lambda *_: refuse(path)))
    assert process() == f"{HOST}:{os.getpid()}:::"
    assert is_here(process()) and is_alive(process()) and is_here(str(OWN))
    assert not is_alive(f"{HOST}:999999999:::")
    assert in_words(process()) == f"{HOST}:{os.getpid()}"


def test_a_process_that_has_ended_and_that_nobody_waits_for_does_not_live() -> None:
    ended = subprocess.Popen([sys.executable, "-c", NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert ended.stdin is not None and ended.stdout is not None
    name = ended.stdout.readline().strip()
    assert is_here(name)
    ended.stdin.close()
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is still in the table
    os.kill(ended.pid, 0)
    assert not is_alive(name) and not is_alive(f"{HOST}:{ended.pid}")
    ended.stdout.close()
    ended.wait()


def test_a_process_of_a_real_namespace_lives_as_long_as_it_cannot_be_seen() -> None:
    new = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    try:
        subprocess.run([*new, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no PID namespaces can be made here: {error}")
    free = next(number for number in range(30000, 2, -1) if not Path(f"/proc/{number}").exists())
    # a number that is nobody's here: the name of versions before looked dead
    code = f"open('/proc/sys/kernel/ns_last_pid', 'w').write('{free - 1}')\n"
    code += f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {NAME!r}]).returncode)"
    command = [*new, sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as inside:
        assert inside.stdout is not None
        name = inside.stdout.readline().strip()
        assert name.startswith(f"{HOST}:{free}:{OWN.boot}:") and f":{OWN.namespace}:" not in name
        assert is_alive(name) and not is_here(name)
        assert not is_alive(f"{HOST}:{free}")
        inside.communicate("\n")
    assert is_alive(name)
