"""Work that is done in several processes at once: Matplotlib draws in one thread only."""

import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

MOST = 4  # processes: each takes a quarter of a GB
T = TypeVar("T")
P = TypeVar("P")


def write_apart(write: Callable[[T], list[P]], parts: Sequence[T], meanwhile: Callable[[], list[P]]) -> list[P]:
    """What ``meanwhile`` returns, which is called here, then what ``write`` returns for each part, in their order.

    The processes are started anew, not forked: this one has threads.
    """
    processes = min(MOST, os.cpu_count() or 1, len(parts))
    if processes == 1:
        return meanwhile() + [made for part in parts for made in write(part)]
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _leave_interrupts)
    try:
        written = pool.map(write, parts)
        return meanwhile() + [made for found in written for made in found]
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts() -> None:
    """Ctrl-C is for the process that waits for this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
