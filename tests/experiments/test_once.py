from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def started(repo: Path, tmp_path: Path):
    """Calls a function of once.sh with a Python that only says what it is given."""

    def call(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        script = f"set -euo pipefail; . {repo}/experiments/common/once.sh; {command}"
        return subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHON": "echo", **environment},
        )  # fmt: skip

    return call


def test_once_starts_goes_on_and_leaves_alone(started, tmp_path: Path) -> None:
    assert started("once run amc.search seed=1").stdout == "-m amc.search seed=1 hydra.run.dir=run\n"
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").touch()
    assert started("once run amc.search seed=1").stdout == "-m amc.search resume=run\n"
    (tmp_path / "run/summary.json").touch()
    assert started("once run amc.search seed=1").stdout == ""


def test_afresh_starts_again_unless_finished(started, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").touch()
    assert started("afresh run amc.transfer seed=1").stdout == "-m amc.transfer seed=1 hydra.run.dir=run\n"
    assert not (tmp_path / "run/config.json").exists()
    (tmp_path / "run/summary.json").touch()
    assert started("afresh run amc.transfer").stdout == ""


def test_trained_starts_unless_finished(started, tmp_path: Path) -> None:
    assert started("trained run seed=1").stdout == "-m amc.train seed=1 hydra.run.dir=run\n"
    (tmp_path / "run").mkdir()
    (tmp_path / "run/train.json").touch()
    assert started("trained run seed=1").stdout == ""


def test_published_weights_need_their_folder(started) -> None:
    assert started("published resnet20", CHECKPOINTS="/weights").stdout == "/weights/resnet20-12fca82f.th\n"
    missing = started("file=$(published resnet20); echo never")
    assert missing.returncode != 0
    assert "CHECKPOINTS" in missing.stderr
    assert missing.stdout == ""
