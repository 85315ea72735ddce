"""What an error says, in one line of a message."""


def one_line(error: object) -> str:
    """All of it, on one line; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: Exception) -> str:
    """The first line of it; its kind if it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def system_words(error: OSError) -> str:
    """The system's words where it has some, without the file's name."""
    return error.strerror or one_line(error)
