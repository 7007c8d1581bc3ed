from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from amc.core.errors import AmcError
from amc.data import Splits, load_dataset
from amc.models import build, load_checkpoint
from amc.models.checkpoint import read_notes
from amc.train import run_training
from amc.training.fit import evaluate
from amc.training.recipe import Recipe

RECIPE = Recipe(epochs=2, lr=0.1, bf16=False)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load_dataset("digits", val_images=100, train_images=256, test_images=100)


def train_into(folder: Path, splits: Splits) -> dict[str, object]:
    model = build("amc.models.cifar_resnet.resnet20", 10, (3, 8, 8))
    return run_training(model, splits, RECIPE, folder, config={"seed": 0}, verbose=False)


def test_what_a_training_leaves(splits: Splits, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = train_into(tmp_path / "run", splits)
    assert capsys.readouterr().out == ""
    assert json.loads((tmp_path / "run" / "train.json").read_text()) == summary
    assert summary["images"] == {"train": 256, "val": 100, "test": 100}
    model = build("amc.models.cifar_resnet.resnet20", 10, (3, 8, 8), seed=9)
    load_checkpoint(model, tmp_path / "run" / "model.safetensors")
    for name in ("val", "test"):
        assert summary[name]["accuracy"] == evaluate(model, getattr(splits, name))[0]
    notes = read_notes(tmp_path / "run" / "model.safetensors")
    assert notes == {"dataset": "digits", "val_from": "train", "train_images": splits.train.fingerprint()}
    board = EventAccumulator(str(tmp_path / "run")).Reload()
    assert set(board.Tags()["scalars"]) == {"train/loss", "train/lr", "val/accuracy", "val/loss"}
    assert [event.step for event in board.Scalars("val/accuracy")] == [1, 2]
    assert str(tmp_path) not in (tmp_path / "run" / "train.json").read_text()


def test_same_seed_same_weights_and_no_second_run_in_a_folder(splits: Splits, tmp_path: Path) -> None:
    train_into(tmp_path / "a", splits)
    train_into(tmp_path / "b", splits)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("a", "b"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    before = (tmp_path / "a" / "train.json").read_bytes()
    with pytest.raises(AmcError, match="holds a run already"):
        train_into(tmp_path / "a", splits)
    assert (tmp_path / "a" / "train.json").read_bytes() == before


def command(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    repo = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(repo), "OMP_NUM_THREADS": "1", "AMC_CACHE": str(tmp_path / "cache")}
    return subprocess.run(
        [sys.executable, "-m", "amc.train", "hydra.run.dir=run", *arguments],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_command_from_another_folder(tmp_path: Path) -> None:
    done = command(tmp_path, "model=resnet20", "training.epochs=1", "dataset.train_images=128", "device=cpu")
    assert done.returncode == 0, done.stderr
    assert "test accuracy (360 images)" in done.stdout
    assert "epoch 1/1" in done.stdout
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_command_with_wrong_input_is_one_line(tmp_path: Path) -> None:
    done = command(tmp_path, "model=resnet20", "training.lr=-1")
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
    assert "training.lr=-1: give a number above 0" in done.stderr
    assert not (tmp_path / "run" / "train.json").exists()
