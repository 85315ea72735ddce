"""After how much silence a trial is taken for hung; that it then is started again, `test_laws` shows with real Ray."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial
from rich.console import Console
from sweep.reports import carried, report

from rsrl_ray.sweep.driver import watchdog
from rsrl_ray.sweep.driver.watchdog import Watchdog
from rsrl_ray.sweep.report import as_result
from rsrl_ray.terminal import Terminal


def trial(fold: int) -> Any:
    config = carried(fold, "none")
    state = SimpleNamespace(ray_actor=f"actor {fold}")
    return SimpleNamespace(trial_id=str(fold), status=Trial.RUNNING, config=config, temporary_state=state)


def result(number: int, seconds: float, made: bool) -> dict[str, Any]:
    return as_result([report(number, made=made, metrics={"seconds": seconds})])


@pytest.mark.parametrize(
    ("rounds", "longest_silence"),
    [
        ([], None),  # nobody knows how long a round takes
        ([(1.0, 900.0, False)], 2 * 5 * 900.0),  # from the archive: round 1 may have to be made again, then round 2
        ([(900.0, 890.0, True)], 5 * 890.0),  # trained here, in 890 of the 900 s
        ([(9000.0, 890.0, True)], 5 * 890.0),  # after its ancestors, or after another trial
        ([(60.0, 60.0, True)], 1800.0),  # never less than half an hour
    ],
)
def test_a_hang_is_known_by_the_rounds_that_were_reported(
    rounds: list[tuple[float, float, bool]], longest_silence: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, killed = [1000.0], list[str]()
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(watchdog.ray, "kill", killed.append)
    dog, subject = Watchdog(Terminal(Console(file=io.StringIO()))), trial(0)
    dog.on_trial_start(0, [subject], subject)
    for number, (passed, seconds, made) in enumerate(rounds, start=1):
        now[0] += passed
        dog.on_trial_result(0, [subject], subject, result(number, seconds, made))
    if longest_silence is None:
        now[0] += 1e6
        dog.on_step_end(0, [subject])
        assert killed == []
        return
    now[0] += longest_silence
    dog.on_step_end(0, [subject])
    assert killed == []
    now[0] += 1.5
    dog.on_step_end(0, [subject])
    assert killed == ["actor 0"]


def test_a_trial_that_waits_for_another_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    now, killed, waiting = [0.0], list[str](), [True]
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(watchdog.ray, "kill", killed.append)
    dog, subject = Watchdog(Terminal(Console(file=io.StringIO())), lambda trial: waiting[0]), trial(0)
    dog.on_trial_start(0, [subject], subject)
    dog.on_trial_result(0, [subject], subject, result(1, 60.0, True))
    now[0] = 1e6
    dog.on_step_end(0, [subject])
    assert killed == []
    waiting[0] = False
    now[0] += 1800
    dog.on_step_end(0, [subject])
    assert killed == []  # from now on it is its own silence
    now[0] += 2
    dog.on_step_end(0, [subject])
    assert killed == ["actor 0"]


def test_after_ctrl_c_no_trial_ends_its_round(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers, killed = ["Tune's"], list[str]()
    monkeypatch.setattr(watchdog.signal, "getsignal", lambda number: handlers[0])
    monkeypatch.setattr(watchdog.ray, "kill", killed.append)
    dog, trains, waits = Watchdog(Terminal(Console(file=io.StringIO()))), trial(0), trial(1)
    waits.status = Trial.PENDING
    dog.on_step_begin(0, [trains, waits])
    dog.on_step_end(0, [trains, waits])
    assert killed == []
    handlers[0] = "Python's"  # Tune puts it back when it is told
    dog.on_step_end(0, [trains, waits])
    assert killed == ["actor 0"]
