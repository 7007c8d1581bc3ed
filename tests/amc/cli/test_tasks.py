"""Tasks on the command line: data, metric and loss of one's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from amc.cli.run import run
from amc.search.__main__ import main_from_config as search
from amc.train import main_from_config as train
from tests.support.commands import refused

MINE = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def data(n=16):
    x = torch.randn(2 * n, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return [DataLoader(TensorDataset(part, 3 * part.mean((2, 3))[:, :2]), 8) for part in x.split(n)]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return {"nothing": x, "y": self.head(self.body(x).mean((2, 3)))}

def net(): return Net()
def closeness(outputs, targets, power=1): return 1 / (1 + (outputs - targets).abs().mean()) ** power
def loss(outputs, targets): return (outputs - targets).abs().mean()
"""
OWN = ["model=own_task.net", "dataset=own_task.data", "dataset.arguments={n:12}", "task=regression", "task.output=y"]
QUICK = ["training.epochs=1", "training.bf16=false", "agent=random", "episodes=1", "verbose=false", "device=cpu"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_task.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "own_task", raising=False)
    return tmp_path


def test_everything_of_one_s_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged = ["task.metric=own_task.closeness", "task.metric_arguments={power:2}", "task.loss=own_task.loss"]
    run("search", search, [*OWN, *judged, *QUICK, "hydra.run.dir=a"])
    summary = json.loads((folder / "a" / "summary.json").read_text())
    found = summary["best"]["val"]
    assert summary["images"] == {"train": 12, "val": 12, "test": 0}
    assert found["closeness"] == pytest.approx(1 / (1 + found["loss"]) ** 2)
    again = ["resume=a", "episodes=2"]
    trusted = ["own_task.net", "own_task.data", "own_task.closeness", "own_task.loss"]
    for number, path in enumerate(trusted):
        error = refused(capsys, "search", search, [*again, f"trust=[{','.join(trusted[:number])}]"])
        assert f"{path} is code that is not run by itself" in error
    run("search", search, [*again, f"trust=[{','.join(trusted)}]"])


def test_a_baseline_is_trained_by_the_task_s_loss(folder: Path) -> None:
    keep = [word for word in QUICK if not word.startswith(("agent", "episodes"))]
    run("train", train, [*OWN, *keep, "task.metric=mae", "hydra.run.dir=t"])
    notes = json.loads((folder / "t" / "train.json").read_text())
    assert notes["metric"] == "MAE"
    assert notes["val"]["MAE"] > 0


WRONG = {
    "task.metric=nope": "task.metric=nope: unknown",
    "task.loss=own_task.nope": "own_task has no callable 'nope'",
    "task=sorting": "task",
    "dataset=own_task.nope": "dataset=own_task.nope: own_task has no callable",
    "task.output=z": "task.output=z: the network returns a dict",
    "task.speed=1": "task.speed",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_ones_are_one_line(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = [word for word in OWN if word.partition("=")[0] != wrong.partition("=")[0]]
    assert WRONG[wrong] in refused(capsys, "search", search, [*given, *QUICK, wrong])
