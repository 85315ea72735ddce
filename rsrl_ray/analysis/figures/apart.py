"""Figures that several processes write at once, because Matplotlib draws in one thread only."""

import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

MOST_PROCESSES = 4  # processes
EMPTY = 2**28  # bytes that a process takes before it has done anything
ROOM = 5 * EMPTY  # bytes that all of them may take
T = TypeVar("T")
P = TypeVar("P")


def write_apart(
    write: Callable[[T], list[P]], parts: Sequence[T], meanwhile: Callable[[], list[P]], size: int
) -> list[P]:
    """What ``meanwhile`` returns, which runs in this process, then what ``write`` returns for each part, in order.

    The processes are started anew, not forked, because this one has threads. If memory has room for only one process,
    this one does everything.

    size : bytes that a part takes while it is written.
    """
    together = processes(len(parts), size)
    if together == 1:
        return meanwhile() + [made for part in parts for made in write(part)]
    pool = ProcessPoolExecutor(together, get_context("spawn"), _leave_interrupts)
    try:
        written = pool.map(write, parts)
        return meanwhile() + [made for found in written for made in found]
    finally:
        pool.shutdown(cancel_futures=True)


def processes(parts: int, size: int) -> int:
    """How many processes write so many parts at once, each of ``size`` bytes."""
    return max(1, min(MOST_PROCESSES, os.cpu_count() or 1, parts, ROOM // (EMPTY + size)))


def _leave_interrupts() -> None:
    """Ctrl-C is for the process that waits for this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
