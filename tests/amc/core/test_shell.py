"""The shell around a command: one line and an exit code, on any terminal."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import warnings
from pathlib import Path

import pytest

from amc.core.errors import AmcError
from amc.core.shell import Parser, notices, path, shell


def left_by(error: BaseException) -> int:
    with pytest.raises(SystemExit) as stopped, shell():
        raise error
    return int(str(stopped.value.code))


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (AmcError("a=1: no\nsuch thing"), 2, "error: a=1: no\\nsuch thing\n"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 2, "error: x: can't be written"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "error: x: Permission denied; check the path"),
        (KeyboardInterrupt(), 130, "stopped; what was finished is kept\n"),
    ],
)
def test_an_error_is_one_line(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert left_by(error) == code
    written = capsys.readouterr().err
    assert written.startswith(line)
    assert written.count("\n") == 1


def test_a_fault_of_this_project_is_none_of_the_users() -> None:
    with pytest.raises(ZeroDivisionError), shell():
        raise ZeroDivisionError


def test_a_closed_pipe_is_no_error(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writing, "w"))
    with pytest.raises(SystemExit) as stopped, shell():
        sys.stdout.write("nobody reads this")
    assert stopped.value.code == 141
    assert capfd.readouterr().err == ""


def test_what_a_terminal_lacks_is_written_in_other_words(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    with shell():
        sys.stdout.write("8×8 − σ … é")
    assert written.getvalue() == b"8x8 - sigma ... ?"


@pytest.mark.parametrize(
    ("verbose", "printed"), [(True, "note: one\nnote: two\nnote: three\n"), (False, ""), (None, "")]
)
def test_warnings_are_no_errors(verbose: bool | None, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with shell():
        logging.getLogger("amc.some").warning("one")
        warnings.warn("two\n", stacklevel=1)
        if verbose is not None:
            notices.settle(verbose)
            logging.getLogger("amc.some").warning("three")
    assert capsys.readouterr() == (printed, "")


def test_nothing_but_the_error_after_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> None:
        warnings.warn("a library's", stacklevel=1)
        raise AmcError("no")

    with pytest.raises(SystemExit), shell():
        refused()
    assert capsys.readouterr() == ("", "error: no\n")


def test_wrong_arguments(tmp_path: Path) -> None:
    parser = Parser(prog="python -m some")
    with pytest.raises(AmcError, match=r"unrecognized arguments: --nope; python -m some --help shows"):
        parser.parse_args(["--nope"])
    parser.add_argument("folder", type=path)
    with pytest.raises(AmcError, match="an empty text is no path"):
        parser.parse_args([""])
