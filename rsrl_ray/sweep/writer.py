"""Jobs for a store that may be away: done in the background, in order, again where they fail."""

import threading
import time
from collections import deque
from collections.abc import Callable

RETRY_S = 5.0
PATIENCE_S = 30.0  # how long the end of a sweep waits for a store that is away


class Writer:
    """Runs jobs in a thread, in order for each trial; a job that fails is tried again, and holds up only its trial."""

    def __init__(self) -> None:
        self._jobs: dict[str, deque[Callable[[], None]]] = {}
        self._retry_at: dict[str, float] = {}
        self._changed = threading.Condition()
        self._closing, self._patience = False, 0.0
        self.error = ""  # why the last failed job failed
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)
        self._thread.start()

    def put(self, line: str, job: Callable[[], None]) -> None:
        """Queue a job of the trial ``line``."""
        with self._changed:
            self._jobs.setdefault(line, deque()).append(job)
            self._changed.notify()

    def close(self, patient: bool = True) -> int:
        """Finish what is queued; how many log entries could not be made, after `PATIENCE_S` without a success.

        Without being ``patient`` everything is tried once.
        """
        with self._changed:
            self._closing, self._patience = True, PATIENCE_S if patient else 0.0
            self._changed.notify()
        self._thread.join()
        return sum(map(len, self._jobs.values()))

    def _run(self) -> None:
        last_success = time.monotonic()
        while True:
            with self._changed:
                line = self._next()
                if line is None:
                    idle = not any(self._jobs.values())
                    if self._closing and (idle or time.monotonic() - last_success > self._patience):
                        return
                    if idle:
                        last_success = time.monotonic()
                    self._changed.wait(None if idle else 0.2)
                    continue
                job = self._jobs[line][0]
            try:
                job()
            except Exception as error:  # whatever a store or its client raises must not stop the sweep
                self.error = f"{type(error).__name__}: {error}".splitlines()[0]
                self._retry_at[line] = time.monotonic() + RETRY_S
            else:
                last_success = time.monotonic()
                with self._changed:
                    self._jobs[line].popleft()

    def _next(self) -> str | None:
        now = time.monotonic()
        return next((line for line, jobs in self._jobs.items() if jobs and self._retry_at.get(line, 0.0) <= now), None)
