"""What fails in the background of a sweep: threads write it on one board, and the driver reads it.

If a store refuses something for long, a line says so within a minute, again if the reason changes, and when it is over.
What is still undone at the end is counted.
"""

import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

TELL_S = 45.0  # a refusal or a silence of a store is said when it has lasted so long
AGAIN_S = 60.0  # a changed reason is said so long after that, at the earliest
NEWS_LOOK_S = 1.0
GOES_ON = "The sweep goes on, and tries it again"


@dataclass(frozen=True)
class Store:
    """A store that is written in the background. entries : what it can lack. made : how a later command adds them."""

    name: str
    entries: str
    made: str


MLFLOW = Store("MLflow", "entries", "logs")
STORAGE = Store("storage", "notes on who needs which weights", "makes")


@dataclass
class _Undone:
    """A job that has begun: when it first did, and why its last attempt failed, or "" if it has not failed."""

    since: float
    why: str = ""


@dataclass(frozen=True)
class _Told:
    why: str
    at: float


class Board:
    """Jobs that have begun and are not done, by store and ``line``; the jobs of one line wait for each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._undone: dict[tuple[Store, str], _Undone] = {}
        self._told: dict[Store, _Told] = {}
        self._left: Counter[Store] = Counter()
        self._why_left: dict[Store, str] = {}

    def begun(self, store: Store, line: str) -> None:
        """A job is tried, for the first time or again."""
        with self._lock:
            self._undone.setdefault((store, line), _Undone(time.monotonic()))

    def refused(self, store: Store, line: str, why: str) -> None:
        """The job has failed, and will be tried again."""
        with self._lock:
            self._undone[store, line].why = why

    def done(self, store: Store, line: str) -> None:
        """The job is done."""
        with self._lock:
            self._undone.pop((store, line), None)

    def give_up(self, store: Store, jobs: int, why: str) -> None:
        """The sweep ends without so many ``jobs`` of this store; none is tried again."""
        with self._lock:
            self._undone = {(of, line): job for (of, line), job in self._undone.items() if of != store}
            self._told.pop(store, None)
            self._left[store] += jobs
            self._why_left.setdefault(store, why)

    def lacks(self, store: Store) -> int:
        """How many jobs of this store were given up."""
        return self._left[store]

    def closing(self) -> list[str]:
        """A line for each store that lacks something at the end."""
        return [
            f"{store.name} lacks {count} {store.entries} ({self._why_left[store]}); the same command {store.made} them."
            for store, count in self._left.items()
        ]

    def news(self) -> list[str]:
        """The lines for the user now."""
        now, lines = time.monotonic(), []
        with self._lock:
            lasting: dict[Store, list[tuple[str, _Undone]]] = {}
            for (store, line), job in self._undone.items():
                if now - job.since >= TELL_S:
                    lasting.setdefault(store, []).append((line, job))
            for store, jobs in lasting.items():
                (line, job), told = jobs[0], self._told.get(store)
                if told is None or (_plain(told.why) != _plain(job.why) and now - told.at >= AGAIN_S):
                    self._told[store] = _Told(job.why, now)
                    of = f"{line} and {len(jobs) - 1} more" if len(jobs) > 1 else line
                    trouble = f"has refused {of} for {now - job.since:.0f} s: {job.why}"
                    silence = f"has not answered for {now - job.since:.0f} s"
                    lines.append(f"{store.name} {trouble if job.why else silence}. {GOES_ON}.")
            for store in self._told.keys() - lasting.keys():
                del self._told[store]
                lines.append(f"{store.name} accepts again what the sweep writes.")
        return lines


@contextlib.contextmanager
def read_aloud(board: Board, say: Callable[[str], None]) -> Iterator[None]:
    """While the body runs, ``say`` the board's news, also while Ray Tune waits and while the sweep ends."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(NEWS_LOOK_S):
            for line in board.news():
                say(line)

    reader = threading.Thread(target=look, name="board", daemon=True)
    reader.start()
    try:
        yield
    finally:
        ended.set()
        reader.join()


def _plain(why: str) -> str:
    """The reason without addresses in memory, ports and other numbers, which change from one attempt to the next."""
    return re.sub(r"0x[0-9a-f]+|\d+", "", why)
