"""Around every command: one line for an error, an exit code, and text that any terminal can show."""

from __future__ import annotations

import argparse
import codecs
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

from amc.core.errors import AmcError
from amc.core.files import NO_SPACE, write_error

EXIT_WRONG_INPUT, EXIT_INTERRUPTED, EXIT_CLOSED_PIPE = 2, 130, 141
ASCII = {"×": "x", "−": "-", "–": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "σ": "sigma", "·": "*"}
PLAIN = "amc-plain"  # the name of what writes these where a terminal can't show them


class Parser(argparse.ArgumentParser):
    """Reads a command's arguments; a wrong one is an error like any other, in one line."""

    def error(self, message: str) -> NoReturn:
        """Raises ``AmcError``."""
        raise AmcError(f"{message}; {self.prog} --help shows what there is")


def path(text: str) -> str:
    """A path among a :class:`Parser`'s arguments; an empty one, of a shell's variable that isn't set, is refused."""
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty text is no path")
    return text


class Notices(logging.Handler):
    """Warnings of this project and of libraries, as lines on standard output; nothing but the error is on the other.

    They are held until it is known whether the command prints anything at all.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._verbose: bool | None = None
        self._held: list[str] = []

    def hold(self) -> None:
        """Forgets what another command left, and holds what comes."""
        self._verbose, self._held = None, []

    def settle(self, verbose: bool) -> None:
        """``verbose``: as configured; what was held is printed or forgotten."""
        self._verbose = verbose
        held, self._held = self._held, []
        for text in held:
            self._print(text)

    def emit(self, record: logging.LogRecord) -> None:
        self._print(record.getMessage())

    def warning(self, message: Warning | str, *_: Any, **__: Any) -> None:
        """In place of :func:`warnings.showwarning`."""
        self._print(str(message))

    def _print(self, text: str) -> None:
        if self._verbose is None:
            self._held.append(text)
        elif self._verbose:
            sys.stdout.write(f"note: {' '.join(text.split())}\n")


notices = Notices()


@contextmanager
def shell() -> Iterator[None]:
    """Turns an error into one line on standard error and an exit code: wrong input is 2."""
    for stream in (sys.stdout, sys.stderr):
        _never_fail(stream)
    try:
        with _noticing():
            try:
                yield
            finally:
                sys.stdout.flush()
    except AmcError as error:
        _exit(f"error: {error}", EXIT_WRONG_INPUT)
    except BrokenPipeError:  # nobody reads any more, as in ``… | head -1``
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        sys.exit(EXIT_CLOSED_PIPE)
    except OSError as error:
        if error.errno in NO_SPACE:
            _exit(f"error: {write_error(error.filename or 'the run folder', error)}", EXIT_WRONG_INPUT)
        if error.filename is None:
            raise
        _exit(f"error: {error.filename}: {error.strerror}; check the path and its permissions", EXIT_WRONG_INPUT)
    except KeyboardInterrupt:
        _exit("stopped; what was finished is kept", EXIT_INTERRUPTED)


@contextmanager
def _noticing() -> Iterator[None]:
    root = logging.getLogger()
    notices.hold()
    root.addHandler(notices)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = notices.warning
            yield
    finally:
        root.removeHandler(notices)


def _exit(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"{' '.join(message.splitlines())}\n")
    sys.exit(code)


def _never_fail(stream: TextIO) -> None:
    """What the terminal's encoding lacks is written in other words."""
    codecs.register_error(PLAIN, _in_other_words)
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None and not (stream.encoding or "").lower().startswith("utf"):
        reconfigure(errors=PLAIN)


def _in_other_words(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(ASCII.get(character, "?") for character in lacking), error.end
