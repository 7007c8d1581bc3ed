"""Commands as a user calls them, in a folder of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from omegaconf import DictConfig

from amc.cli.run import run

Main = Callable[[DictConfig, Path], None]


def refused(capsys: pytest.CaptureFixture[str], command: str, main: Main, overrides: Sequence[str]) -> str:
    """The one line that a wrong call prints; it must exit with 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        run(command, main, list(overrides))
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1, error
    return error
