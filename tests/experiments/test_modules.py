from __future__ import annotations

import importlib
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(file.relative_to(REPO) for file in (REPO / "experiments").rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_scripts_are_modules_that_do_nothing_when_imported(script: Path) -> None:
    module = importlib.import_module(".".join(script.with_suffix("").parts))
    assert module.__file__ == str(REPO / script)


@pytest.mark.parametrize("script", [s for s in SCRIPTS if "def main(" in (REPO / s).read_text()], ids=str)
def test_scripts_say_how_they_are_run(script: Path) -> None:
    assert f"python -m {'.'.join(script.with_suffix('').parts)}" in (REPO / script).read_text()
