import threading
import time
from collections.abc import Callable

import pytest

from rsrl_ray.sweep.driver.board import MLFLOW, Board
from rsrl_ray.sweep.driver.writer import Writer


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsrl_ray.sweep.driver.writer.RETRY_S", 0.05)
    monkeypatch.setattr("rsrl_ray.sweep.driver.writer.STORE_PATIENCE_S", 0.3)


def refused() -> None:
    raise ConnectionError("the store is away\nwith details")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_jobs_of_a_line_keep_their_order_and_another_line_does_not_wait() -> None:
    done: list[str] = []
    away = threading.Event()

    def fails_until_back() -> None:
        if not away.is_set():
            raise ConnectionError("the store is away")
        done.append("a1")

    board = Board()
    writer = Writer(MLFLOW, board)
    writer.put("a", fails_until_back)
    writer.put("a", lambda: done.append("a2"))
    writer.put("b", lambda: done.append("b1"))
    wait_until(lambda: done == ["b1"])
    away.set()
    writer.close()
    assert board.closing() == []
    assert done == ["b1", "a1", "a2"]


def test_a_line_that_has_done_its_jobs_rests_but_not_at_the_end() -> None:
    done: list[str] = []
    writer = Writer(MLFLOW, Board(), rest_s=3600)
    for lines in ("ab", "ac"):  # when b is done, a has begun to rest
        for line in lines:
            writer.put(line, lambda line=line: done.append(line))
        wait_until(lambda last=lines[-1]: last in done)
    assert done == ["a", "b", "c"]
    writer.close()
    assert done == ["a", "b", "c", "a"]


def test_what_could_not_be_logged_is_counted_and_does_not_hold_up_the_end() -> None:
    board = Board()
    writer = Writer(MLFLOW, board)
    for _ in range(3):
        writer.put("a", refused)
    writer.close()
    assert board.lacks(MLFLOW) == 3
    said = "MLflow lacks 3 entries (ConnectionError: the store is away); the same command logs them."
    assert board.closing() == [said]


def test_refusals_that_take_longer_than_the_pause_after_them_hold_up_neither_others_nor_the_end() -> None:
    """As of a server that takes connections and does not answer: one attempt takes 40 s."""
    board, done, tried = Board(), threading.Event(), list[int]()
    writer = Writer(MLFLOW, board)

    def fails() -> None:
        tried.append(1)
        time.sleep(0.1)
        raise ConnectionError

    for line in "abc":
        writer.put(line, fails)
    wait_until(lambda: len(tried) > 3)  # each was tried, and one is again
    writer.put("d", done.set)
    assert done.wait(5)
    closing = threading.Thread(target=writer.close, daemon=True)
    closing.start()
    closing.join(5)
    assert not closing.is_alive()
    assert board.lacks(MLFLOW) == 3


def test_a_store_that_is_away_is_not_asked_for_each_of_many_lines_at_the_end() -> None:
    """A bucket is asked for 5 minutes before it counts as away."""
    board, asked, hold = Board(), list[str](), threading.Event()
    writer = Writer(MLFLOW, board)
    writer.put("first", lambda: bool(hold.wait(10)))
    for number in range(100):

        def fails(number: int = number) -> None:
            asked.append(str(number))
            time.sleep(0.2)
            raise ConnectionError

        writer.put(str(number), fails)
    hold.set()
    began = time.monotonic()
    writer.close()
    assert time.monotonic() - began < 5
    assert len(asked) < 10
    assert board.lacks(MLFLOW) == 100


def test_one_attempt_is_made_without_patience() -> None:
    board, tried = Board(), list[int]()

    def fails() -> None:
        tried.append(1)
        raise ConnectionError

    for _ in range(2):
        last = Writer(MLFLOW, board)
        last.put("a", fails)
        last.close(patient=False)
    assert (len(tried), board.lacks(MLFLOW)) == (2, 2)
