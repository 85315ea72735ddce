"""Jobs for a store that may not answer: done in the background, in order, and tried again if they fail."""

import threading
import time
from collections import deque
from collections.abc import Callable

from rsrl_ray.store.location import redacted
from rsrl_ray.sweep.driver.board import Board, Store
from rsrl_ray.tracking.mlflow_insides import is_away

RETRY_S = 5.0
STORE_PATIENCE_S = 30.0  # how long the end of a sweep waits for a store that does not answer


class Writer:
    """Runs jobs in a thread, in order for each line. A job that fails is tried again, and only its line waits for it.

    Jobs that fail take at most half of the time, however long each takes, so the other lines go on.
    """

    def __init__(self, store: Store, board: Board, rest_s: float = 0.0) -> None:
        """rest_s : a line that has done its jobs rests for so long, so that its next jobs can be done in one go."""
        self._store, self._board, self._rest_s = store, board, rest_s
        self._rested: dict[str, float] = {}  # when a line has rested
        self._jobs: dict[str, deque[Callable[[], None]]] = {}  # lines without jobs are not in it
        self._refused: dict[str, str] = {}  # lines whose first job has failed, and why
        self._retry_at = 0.0
        self._away = False  # whether the last failure was the first of its line
        self._changed = threading.Condition()
        self._closing, self._patience, self._last_success = False, 0.0, time.monotonic()
        self._thread = threading.Thread(target=self._run, name=store.name, daemon=True)
        self._thread.start()

    def put(self, line: str, job: Callable[[], None]) -> None:
        """Queue a job of the ``line``, whose name tells people what it is about."""
        with self._changed:
            if not self._jobs:
                self._last_success = time.monotonic()
            self._jobs.setdefault(line, deque()).append(job)
            self._changed.notify()

    def close(self, patient: bool = True) -> set[str]:
        """Finish what is queued, until `STORE_PATIENCE_S` pass without a success; the lines with jobs that are left.

        The board counts these jobs. If not ``patient``, a job is tried once.
        """
        with self._changed:
            self._closing, self._patience = True, STORE_PATIENCE_S if patient else 0.0
            self._changed.notify()
        self._thread.join()
        left, self._jobs = self._jobs, {}
        if left:
            why = next(iter(self._refused.values()), "it does not answer")
            self._board.give_up(self._store, sum(map(len, left.values())), why)
        return set(left)

    def _run(self) -> None:
        while (line := self._next()) is not None:
            self._board.begun(self._store, line)
            began = time.monotonic()
            try:
                self._jobs[line][0]()
            except Exception as error:  # no error of a store or its client may stop the sweep
                self._failed(line, began, _words(error))
            else:
                self._done(line)

    def _failed(self, line: str, began: float, why: str) -> None:
        with self._changed:
            self._away = self._refused.pop(line, None) is None
            self._refused[line] = why  # behind the others
            now = time.monotonic()
            self._retry_at = now + max(now - began, RETRY_S / len(self._refused))
        self._board.refused(self._store, line, why)

    def _done(self, line: str) -> None:
        with self._changed:
            if self._refused.pop(line, None) is not None:  # the store may be back, for the others too
                self._retry_at = 0.0
            self._away, self._last_success = False, time.monotonic()
            jobs = self._jobs.pop(line)
            jobs.popleft()
            if jobs:  # behind the others
                self._jobs[line] = jobs
            elif self._rest_s:
                self._rested[line] = time.monotonic() + self._rest_s
        self._board.done(self._store, line)

    def _next(self) -> str | None:
        """Wait for a line whose first job can be tried now; None at the end."""
        with self._changed:
            while not self._ends():
                now = time.monotonic()
                due = self._refused if now >= self._retry_at else {}
                others = (line for line in self._jobs if line not in self._refused and self._is_ready(line, now))
                ways = (others, due) if self._closing else (due, others)
                line = next((line for lines in ways for line in lines), None)
                if line is not None:
                    return line
                self._changed.wait(0.2 if self._jobs else None)
            return None

    def _is_ready(self, line: str, now: float) -> bool:
        return self._closing or now >= self._rested.get(line, now)

    def _ends(self) -> bool:
        if not self._closing or not self._jobs:
            return self._closing
        waited = time.monotonic() - self._last_success > self._patience
        return waited and (self._away or len(self._refused) == len(self._jobs))


def _words(error: Exception) -> str:
    """Why a job has failed, in one line."""
    line = redacted(f"{type(error).__name__}: {error}".splitlines()[0])
    return "the server does not answer" if is_away(line) else line[:500]
