"""The text of an error, as a part of a message of one line."""


def one_line(error: object) -> str:
    """The whole text on one line; the name of the error's class if the text is empty."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: Exception) -> str:
    """The first line of the text; the name of the error's class if the text is empty."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def system_words(error: OSError) -> str:
    """The system's words without the file's name; the whole text if the system says nothing."""
    return error.strerror or one_line(error)
