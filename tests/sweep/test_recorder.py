import threading
import time

import pytest

from rsrl_ray.sweep import recorder
from rsrl_ray.sweep.recorder import Writer


def test_jobs_of_a_trial_keep_their_order_and_another_trial_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "RETRY_S", 0.05)
    done: list[str] = []
    away = threading.Event()

    def fails_until_back() -> None:
        if not away.is_set():
            raise ConnectionError("the store is away\nwith details")
        done.append("a1")

    writer = Writer()
    writer.put("a", fails_until_back)
    writer.put("a", lambda: done.append("a2"))
    writer.put("b", lambda: done.append("b1"))
    deadline = time.monotonic() + 5
    while done != ["b1"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert done == ["b1"]
    away.set()
    assert writer.close() == 0
    assert done == ["b1", "a1", "a2"]
    assert writer.error == "ConnectionError: the store is away"


def test_what_could_not_be_logged_is_counted_and_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "RETRY_S", 0.05)
    monkeypatch.setattr(recorder, "PATIENCE_S", 0.3)

    def fails() -> None:
        raise ConnectionError("away")

    writer = Writer()
    for _ in range(3):
        writer.put("a", fails)
    assert writer.close() == 3
