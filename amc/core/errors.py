"""The one error type that is shown to users as a single line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AmcError(Exception):
    """Wrong input: the message says what was wrong, where, and what to do. Entry points exit with code 2."""

    def __init__(self, message: str) -> None:
        """What a file or a command line gives may hold line breaks and terminal codes; the message never does."""
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


def first_line(error: BaseException) -> str:
    """First line of another library's error message; its type if the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


# What code that expects one type of value raises when a file gives another.
WRONG_VALUES = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError, AssertionError)


@contextmanager
def damaged(path: str | Path, problem: str, advice: str = "the file is damaged") -> Iterator[None]:
    """Around code that takes apart what a file holds: whatever else it finds there than it expects is one line.

    Args:
        path: of the file.
        problem: such as ``no layer groups``.
        advice: the end of the message.

    Raises:
        AmcError: instead of the errors that wrong types and values end in.
    """
    try:
        yield
    except WRONG_VALUES as error:
        reason = f"{error!r}" if isinstance(error, KeyError) else first_line(error)
        raise AmcError(f"{path}: {problem} ({reason}); {advice}") from error
