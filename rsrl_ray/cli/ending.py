"""How a command is ended from outside: SIGTERM and SIGHUP are Ctrl-C, and a terminal that is gone is not an error."""

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, TextIO, cast

STOPPED = 130  # exit status of a command that was stopped: by Ctrl-C, or by what stands for it
_GONE = (errno.EPIPE, errno.EIO, errno.ENXIO)  # a pipe or a terminal that nobody reads any more


class Stop:
    """The signal that asked for the end: SIGINT, unless it was another one."""

    number = signal.SIGINT
    is_left = False  # to a thread that ends the process once it is `asked`
    _asked = 0

    def __init__(self) -> None:
        # The system's side of a signal writes its number there at once; Python's waits for the main thread, which may
        # be waiting in Ray.
        self._told, self.tell = os.pipe()
        for end in (self._told, self.tell):
            os.set_blocking(end, False)

    def close(self) -> None:
        """Nothing is told any more."""
        os.close(self._told)
        os.close(self.tell)

    @property
    def status(self) -> int:
        """The exit status: 130, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.number

    @property
    def asked(self) -> int:
        """The exit status that SIGTERM or SIGHUP has asked for; 0 if none came. May be called by any thread."""
        with contextlib.suppress(OSError):  # nothing was told
            told = [number for number in os.read(self._told, 100) if number in (signal.SIGTERM, signal.SIGHUP)]
            self._asked = self._asked or (128 + told[0] if told else 0)
        return self._asked

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Do what Ctrl-C does now: Ray Tune has a handler of its own for it. Once, because a shell may ask twice."""
        if self.is_left or self.number != signal.SIGINT:
            return
        self.number = signal.Signals(number)
        interrupt = signal.getsignal(signal.SIGINT)
        if not callable(interrupt):  # a shell ignores it for what runs in the background
            raise KeyboardInterrupt
        interrupt(number, frame)


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """While the body runs, SIGTERM and SIGHUP interrupt it as Ctrl-C does; what was ignored (nohup) stays so."""
    stop, before = Stop(), {}
    main = threading.current_thread() is threading.main_thread()
    wakeup = signal.set_wakeup_fd(stop.tell, warn_on_full_buffer=False) if main else -1
    if main:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if main:
            signal.set_wakeup_fd(wakeup)
        stop.close()


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """While the body runs, what is written to a terminal or pipe that is gone is dropped."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Lasting(stream)) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


class _Lasting:
    """A text stream that goes nowhere once the system refuses to take more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Raise the error, unless nobody reads any more: then let all that is written go nowhere.

        Now and later, by whatever means; at exit Python flushes it too.
        """
        if error.errno not in _GONE:
            raise ValueError(f"the output cannot be written ({error.strerror or error})") from error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
