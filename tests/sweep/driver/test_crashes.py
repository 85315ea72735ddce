"""What is said of a trial's end, from what Ray 2.60 says."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle
from ray._private import serialization
from ray.core.generated.common_pb2 import ActorDiedErrorContext, ErrorType, RayErrorInfo
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError, RayTaskError
from ray.tune import PlacementGroupFactory

from rsrl_ray.sweep.driver.crashes import Crash, crash_of
from rsrl_ray.sweep.ray_insides.trials import MemoryKill, kills_are_crashes
from rsrl_ray.sweep.report import SetUpFailed

# As a real one says it, less most of the numbers of its object store, and with other processes.
KILLED = """\
1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 192.0.2.2, ID: \
377972dde4806cab32111f4a7efd652c8e2be8d3a756d57a3043f790) was 22.40GB used / 23.54GB limit (0.951598)
OOM kill reason: Memory usage 24051816038B exceeded threshold of 24012676915B (95.0% of 25276502016B limit)
Object store memory usage: [- objects spillable: 0
- bytes spillable: 0

Eviction Stats:
(global lru) capacity: 6901372108
(global lru) bytes evicted: 0]
Ray killed 1 worker(s) based on the killing policy
Considered workers: [
Selected to kill: (Actor(bf86187ca489b7921bc0f26b01000000): job ID=01000000, lease ID=000000008b032a996ac63bdd, task \
name=ResourceTrainable.__init__, required resources={CPU_group_0_e249427d15958e89b9f99969b822010: 1}, pid=16129, \
actual memory used=9.56GB, worker ID=ab7abc89895c6d0567fa25abf97c001cc46da58349a6e4ec5e875d2c)
]
Total non-selected idle workers: 1
Total non-selected idle workers USS bytes: 0.04GB
To see more information about memory usage on this node, use `ray logs raylet.out -ip 192.0.2.2`
Top 10 memory users: PID\tMEM(GB)\tCOMMAND
16129\t9.56\tray::ResourceTrainable.train
16130\t9.00\tray::ResourceTrainable.train
15966\t1.50\t/usr/bin/firefox -contentproc --channel=1942 --childID=3 isForBrowser
15851\t0.43\t/home/me/venv/bin/python /home/me/venv/bin/rsrl sweep experiments/paper.yaml
15951\t0.07\tray::DashboardAgent
15888\t0.07\t/usr/bin/python3 /site-packages/ray/dashboard/dashboard.py --...
Refer to the documentation on how to address the out of memory issue: https://docs.ray.io/en/latest/ray-observability/\
user-guides/debug-apps/debug-memory.html. Consider provisioning more memory on this node or reducing task parallelism \
by requesting more CPUs per task. To disable worker killing, set the environment variable \
`RAY_memory_monitor_refresh_ms` to zero."""


def trial(folder: Path, error: Exception | None, text: str = "") -> Any:
    """A trial of two cores with the files in which Tune keeps its last failure."""
    pickled, written = folder / "error.pkl", folder / "error.txt"
    pickled.write_bytes(cloudpickle.dumps(error))
    written.write_text(text)
    return SimpleNamespace(
        pickled_error_file=None if error is None else str(pickled),
        error_file=str(written) if text else None,
        placement_group_factory=PlacementGroupFactory([{"CPU": 2}]),
    )


def test_a_process_that_ray_ended_for_its_memory_says_who_had_it_and_what_to_set(tmp_path: Path) -> None:
    crash = crash_of(trial(tmp_path, MemoryKill(KILLED)))
    assert crash.reason == (
        "memory was short, so Ray ended its process: of 23.5 GiB on 192.0.2.2, 1.1 were free, and most was used by "
        "2 trials 18.6, firefox -contentproc --channel=1942 --ch 1.5, python /home/me/venv/bin/rsrl sweep expe 0.4, "
        "ray::DashboardAgent 0.1; with resources.cpus above 2, fewer trials run at once, and the results stay the same"
    )
    node = "377972dde4806cab32111f4a7efd652c8e2be8d3a756d57a3043f790"
    assert (crash.node, crash.in_set_up, crash.for_memory) == (node, False, True)


def test_other_words_of_a_memory_monitor_are_told_in_their_first_line(tmp_path: Path) -> None:
    crash = crash_of(trial(tmp_path, MemoryKill("The node has no memory left.\nTop users: ...")))
    assert crash == Crash("The node has no memory left.", for_memory=True)


def test_tune_is_told_of_a_crash_where_ray_ended_a_process_for_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    told = RayErrorInfo(error_message=KILLED)
    context: Any = serialization.SerializationContext
    monkeypatch.setattr(context, "_deserialize_error_info", lambda *_: told)

    def error() -> Exception:
        kind = str(ErrorType.Value("OUT_OF_MEMORY")).encode()
        found: Exception = context._deserialize_object(context.__new__(context), b"", kind, None, None)
        return found

    with kills_are_crashes():
        crash = error()
    assert isinstance(crash, OutOfMemoryError) and isinstance(crash, RayActorError) and crash.message == KILLED
    assert type(error()) is OutOfMemoryError


def test_a_set_up_that_failed_says_where_and_why(tmp_path: Path) -> None:
    error = RayTaskError("train", "Traceback ...", SetUpFailed("ab", "OSError: the disk is full"), "x", 1, "127.0.0.1")
    found = crash_of(trial(tmp_path, error.as_instanceof_cause()))
    assert found == Crash("OSError: the disk is full", "ab", in_set_up=True)


def test_an_error_in_a_round_and_in_a_constructor_are_their_last_line(tmp_path: Path) -> None:
    text = "Traceback (most recent call last):\n  File ...\nImportError: no module torch"
    error = RayTaskError("train", text, ImportError("no module torch"), "x", 1, "127.0.0.1")
    assert crash_of(trial(tmp_path, error.as_instanceof_cause())) == Crash("ImportError: no module torch")
    assert crash_of(trial(tmp_path, ActorDiedError(error))) == Crash("ImportError: no module torch", in_set_up=True)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: "
            "Worker unexpectedly exits with a connection error code 2. End of file. Some common causes include: ...",
            "its worker process has died (killed, perhaps by the kernel for its memory, or crashed)",
        ),
        ("The actor is dead because it was killed by `ray.kill`.", "it was killed by `ray.kill`"),
        ("Somebody has ended it.", "Somebody has ended it."),
    ],
)
def test_a_process_that_died_says_why_in_a_line(said: str, told: str, tmp_path: Path) -> None:
    error = ActorDiedError(cause=ActorDiedErrorContext(error_message=said, actor_id=bytes(16)))
    assert not error.actor_init_failed
    error.actor_id = None  # of no Ray
    assert crash_of(trial(tmp_path, error)) == Crash(told)


def test_a_failure_of_which_only_the_text_is_kept(tmp_path: Path) -> None:
    assert crash_of(trial(tmp_path, None, "Failure # 1\nTuneError: it is over\n")) == Crash("TuneError: it is over")
    assert crash_of(trial(tmp_path, None)) == Crash("no error was reported")
