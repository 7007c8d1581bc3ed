from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from amc.report import report
from amc.report.__main__ import main
from tests.support.run_folders import search_folder


def test_one_run_gets_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = search_folder(tmp_path / "run")
    main([str(folder)])
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert "<h1>net: search</h1>" in (folder / "report.html").read_text()


def test_several_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(search_folder(tmp_path / str(seed), seed=seed)) for seed in (0, 1)]
    monkeypatch.chdir(tmp_path)
    main(folders)
    assert capsys.readouterr().out.strip() == "comparison.html"
    assert "<h1>2 runs compared</h1>" in (tmp_path / "comparison.html").read_text()
    main([*folders, "--output", "pages/two.html"])
    assert (tmp_path / "pages" / "two.html").is_file()
    assert not list(tmp_path.glob("*/report.html"))


def test_one_run_elsewhere(tmp_path: Path) -> None:
    folder = search_folder(tmp_path / "run")
    assert report([folder], tmp_path / "page.html") == tmp_path / "page.html"
    assert not (folder / "report.html").exists()


def test_a_wrong_folder_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([str(search_folder(tmp_path / "run")), str(tmp_path / "none")])
    assert exit_.value.code == 2
    written = capsys.readouterr()
    assert written.err == f"error: {tmp_path / 'none'}: no such folder; give a run folder\n"
    assert written.out == ""


@pytest.mark.parametrize("module", ["amc.search", "amc.report.run"])
def test_neither_hydra_nor_plotly_is_loaded_before_it_is_needed(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('hydra', 'omegaconf', 'plotly', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
