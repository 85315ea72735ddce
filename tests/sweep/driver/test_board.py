import threading
from types import SimpleNamespace

import pytest

from rsrl_ray.sweep.driver import board as boards
from rsrl_ray.sweep.driver.board import MLFLOW, STORAGE, Board, read_aloud

GOES_ON = "The sweep goes on, and tries it again."


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The board's time in seconds; ``now`` sets it."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(boards, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_a_refusal_that_lasts_is_said_within_a_minute_once_and_when_it_is_over(clock: SimpleNamespace) -> None:
    board = Board()
    board.begun(MLFLOW, "fold 0, firm")
    board.refused(MLFLOW, "fold 0, firm", "OSError: disk full")
    clock.now = 44.0
    assert board.news() == []
    clock.now = 60.0
    assert board.news() == [f"MLflow has refused fold 0, firm for 60 s: OSError: disk full. {GOES_ON}"]
    board.begun(MLFLOW, "fold 0, firm")  # tried again
    board.refused(MLFLOW, "fold 0, firm", "OSError: disk full")
    clock.now = 600.0
    assert board.news() == []
    board.done(MLFLOW, "fold 0, firm")
    assert board.news() == ["MLflow accepts again what the sweep writes."]
    assert board.news() == []


def test_a_refusal_that_is_soon_over_is_not_said(clock: SimpleNamespace) -> None:
    board = Board()
    board.begun(MLFLOW, "fold 0, firm")
    board.refused(MLFLOW, "fold 0, firm", "the server does not answer")
    clock.now = 40.0
    board.done(MLFLOW, "fold 0, firm")
    clock.now = 60.0
    assert board.news() == []


def test_another_reason_is_said_but_neither_other_addresses_nor_all_at_once(clock: SimpleNamespace) -> None:
    board = Board()

    def news_after(seconds: float, why: str) -> list[str]:
        clock.now += seconds
        board.refused(MLFLOW, "a", why)
        return board.news()

    board.begun(MLFLOW, "a")
    assert len(news_after(50, "pool at 0x7f10, port 4711")) == 1
    assert news_after(50, "pool at 0x8f20, port 4712") == []
    assert news_after(5, "permission denied") == []
    assert news_after(5, "permission denied") == [f"MLflow has refused a for 110 s: permission denied. {GOES_ON}"]


def test_stores_are_told_apart_and_lines_are_counted(clock: SimpleNamespace) -> None:
    board = Board()
    for line in ("a", "b", "c"):
        board.begun(MLFLOW, line)
        board.refused(MLFLOW, line, "away")
    board.begun(STORAGE, "a")  # it waits for a bucket, for 5 minutes before that is an error
    clock.now = 50.0
    assert board.news() == [
        f"MLflow has refused a and 2 more for 50 s: away. {GOES_ON}",
        f"storage has not answered for 50 s. {GOES_ON}",
    ]
    board.done(STORAGE, "a")
    assert board.news() == ["storage accepts again what the sweep writes."]


def test_what_is_given_up_at_the_end_is_counted_and_is_no_news(clock: SimpleNamespace) -> None:
    board = Board()
    board.begun(STORAGE, "a")
    board.refused(STORAGE, "a", "Permission denied")
    clock.now = 50.0
    assert len(board.news()) == 1
    board.give_up(STORAGE, 2, "Permission denied")
    board.give_up(STORAGE, 1, "another reason")
    assert board.news() == []
    assert (board.lacks(STORAGE), board.lacks(MLFLOW)) == (3, 0)
    said = "storage lacks 3 notes on who needs which weights (Permission denied); the same command makes them."
    assert board.closing() == [said]


def test_news_are_read_aloud_while_the_sweep_does_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "NEWS_LOOK_S", 0.01)
    monkeypatch.setattr(boards, "TELL_S", 0.0)
    board, said, heard = Board(), list[str](), threading.Event()

    def say(line: str) -> None:
        said.append(line)
        heard.set()

    with read_aloud(board, say):
        board.begun(MLFLOW, "a")
        assert heard.wait(10)
    assert len(said) == 1
    board.done(MLFLOW, "a")
    assert len(said) == 1
