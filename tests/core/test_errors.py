"""What an error says in a message."""

import errno

from rsrl_ray.core.errors import first_line, one_line, system_words


def test_an_error_is_one_line() -> None:
    error = ValueError("cannot\n  open\tit\nat all")
    assert (one_line(error), first_line(error)) == ("cannot open it at all", "cannot")


def test_an_error_that_says_nothing_is_called_by_its_kind() -> None:
    assert (one_line(KeyError()), first_line(MemoryError())) == ("KeyError", "MemoryError")


def test_the_system_says_why_and_not_where() -> None:
    assert system_words(OSError(errno.ENOSPC, "No space left on device", "/there")) == "No space left on device"
    assert system_words(OSError("the bucket\nis gone")) == "the bucket is gone"
