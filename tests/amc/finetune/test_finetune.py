"""``python -m amc.finetune``: what it takes over from the search, prints, leaves behind, refuses, and survives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import amc
from amc.cli.run import run
from amc.core.errors import AmcError
from amc.core.types import PruningPlan
from amc.data import load_dataset
from amc.finetune.__main__ import main_from_config
from amc.finetune.run import finetune as plain
from amc.finetune.settings import FineTuneSettings
from amc.pruning.counting import count_macs
from amc.pruning.network import trace_network
from amc.search import __main__ as searching
from amc.training.fit import evaluate
from amc.training.recipe import Recipe
from tests.support import commands
from tests.support.small import images as noise

BASE = ["model=resnet20", "dataset=digits", "training.epochs=1", "device=cpu", "verbose=false", "seed=3"]
QUICK = ["epochs=2", "calibration_images=64", "recovery=bn", "finetuning.bf16=false"]


@pytest.fixture(scope="module")
def place(baselines: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished search in ``search``."""
    place = tmp_path_factory.mktemp("finetune")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMC_CACHE", str(baselines))
        patch.chdir(place)
        run("search", searching.main_from_config, [
            *BASE, "agent=random", "episodes=4", "importance=l2", "evaluate.images=100", "freeze=[layer3.2.conv1]",
            "hydra.run.dir=search",
        ])  # fmt: skip
    return place


@pytest.fixture(autouse=True)
def _here(place: Path, baselines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMC_CACHE", str(baselines))
    monkeypatch.chdir(place)


def finetune(folder: str, *overrides: str) -> dict[str, Any]:
    run("finetune", main_from_config, ["plan=search/plan.json", *QUICK, f"hydra.run.dir={folder}", *overrides])
    summary: dict[str, Any] = json.loads((Path(folder) / "summary.json").read_text())
    return summary


def refused(capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    return commands.refused(capsys, "finetune", main_from_config, [*QUICK, "hydra.run.dir=refused", *overrides])


@pytest.fixture(scope="module")
def finished(place: Path, baselines: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMC_CACHE", str(baselines))
        patch.chdir(place)
        return finetune("run", "verbose=false")


def test_it_takes_over_what_the_search_had(finished: dict[str, Any]) -> None:
    assert (finished["model"], finished["dataset"], finished["seed"]) == ("resnet20", "digits", 3)
    settings = finished["settings"]
    assert settings["importance"] == "l2"
    assert settings["freeze"] == ["layer3.2.conv1"]
    assert settings["recovery"] == "bn"
    searched = json.loads(Path("search/summary.json").read_text())
    assert finished["baseline"]["test"] == searched["baseline"]["test"]  # the same cached baseline
    assert finished["tuned"]["macs"] == searched["best"]["macs"]


def test_what_it_leaves_behind(finished: dict[str, Any]) -> None:
    assert {p.name for p in Path("run").iterdir()} >= {
        "config.json",
        "plan.json",
        "pruned",
        "summary.json",
        "training.png",
    }
    assert Path("run/plan.json").read_text() == Path("search/plan.json").read_text()
    assert [row["epoch"] for row in finished["history"]] == [0, 1, 2]
    assert finished["tuned"]["val"]["accuracy"] == max(row["val_accuracy"] for row in finished["history"])
    assert finished["command"] == "finetune"
    assert str(Path.cwd()) not in Path("run/summary.json").read_text()


def test_the_pruned_network_loads_and_is_the_one_that_was_reported(finished: dict[str, Any]) -> None:
    model = amc.load("run/pruned")
    splits = load_dataset("digits", val_images=360)
    accuracy, loss = evaluate(model, splits.test)
    assert accuracy == finished["tuned"]["test"]["accuracy"]
    assert loss == pytest.approx(finished["tuned"]["test"]["loss"], rel=1e-4)
    assert count_macs(model, splits.test.take(1).normalised()) == finished["tuned"]["macs"]


def test_steps_end_at_the_plan(finished: dict[str, Any]) -> None:
    summary = finetune(
        "steps", "verbose=false", "schedule=iterative", "stages=[0.8,0.65]", "epochs=3", "regulariser=l1"
    )
    ratios = {row["phase"]: row["macs_ratio"] for row in summary["history"]}
    assert list(ratios) == ["stage 1 of 3", "stage 2 of 3", "stage 3 of 3"]
    assert 0.7 < ratios["stage 1 of 3"] <= 0.8
    assert 0.55 < ratios["stage 2 of 3"] <= 0.65
    assert summary["tuned"]["macs"] == finished["tuned"]["macs"]
    assert count_macs(amc.load("steps/pruned"), torch.zeros(1, 3, 8, 8)) == summary["tuned"]["macs"]


def test_of_several_plans_the_best_goes_on() -> None:
    summary = finetune("several", "verbose=false", "refine.plans=3", "refine.epochs=1", "epochs=1")
    trials, last = summary["phases"][:-1], summary["phases"][-1]
    assert [t["phase"] for t in trials] == ["plan 1 of 3", "plan 2 of 3", "plan 3 of 3"]
    assert last["phase"] == "training"
    winner = max(trials, key=lambda t: t["val_accuracy"])
    # the winner is cut again in the same way
    assert last["cut_val_accuracy"] == winner["cut_val_accuracy"]
    assert json.loads(Path("several/plan.json").read_text()) == json.loads(Path("several/pruned/plan.json").read_text())


def test_diverging_keeps_the_last_good_network(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("refused", ignore_errors=True)
    error = refused(capsys, "plan=search/plan.json", "finetuning.weight_decay=1e6",
                    "verbose=false")  # fmt: skip
    assert "lower the learning rate" in error
    assert "the best network so far is in" in error
    amc.load("refused/pruned")
    assert Path("refused/checkpoint/state.pt").is_file()
    shutil.rmtree("refused")


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ([], "plan: not given"),
        (["plan=nowhere/plan.json"], "plan=nowhere/plan.json: can't be read (No such file"),
        (["plan=search/plan.json", "epochs=0"], "epochs=0"),
        (["plan=search/plan.json", "schedule=iterative"], "needs stages"),
        (["plan=search/plan.json", "schedule=iterative", "stages=[0.2,0.1]"], "stages="),
        (["plan=search/plan.json", "schedule=iterative", "stages=[0.8]", "epochs=1"], "fewer than the 2 stages"),
        (
            ["plan=search/plan.json", "model=vgg16_cifar", "training.epochs=1", "freeze=[]"],
            "was the plan made for another model",
        ),
        (["plan=search/plan.json", "finetuning.rate=1"], "finetuning"),
        (["resume=search"], "no run of python -m amc.finetune"),
    ],
)
def test_wrong_input_is_one_line(capsys: pytest.CaptureFixture[str], overrides: list[str], text: str) -> None:
    assert text in refused(capsys, "verbose=false", *overrides)
    shutil.rmtree("refused", ignore_errors=True)


def test_from_python_without_a_folder() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 10))
    splits = load_dataset("digits", val_images=100, train_images=128)
    network = trace_network(model, splits.train.take(1).normalised())
    plan = PruningPlan.make(network.groups, {"0": 4})
    result = plain(
        model, plan, train=splits.train, val=splits.val, recipe=Recipe(bf16=False), verbose=False,
        settings=FineTuneSettings(epochs=1, calibration_images=32, recovery="least_squares"),
    )  # fmt: skip
    assert result.plan == plan
    assert result.tuned.test is None
    assert result.model[0].out_channels == 4  # type: ignore[index]
    with pytest.raises(AmcError, match="plan"):
        plain(model, "nowhere.json", train=splits.train, val=splits.val, verbose=False)


def test_loaders_do_as_image_sets() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 4))
    result = plain(
        model, plan_of_half(model), train=noise(64, 1), val=noise(32, 2), test=noise(32, 3), verbose=False,
        recipe=Recipe(bf16=False), settings=FineTuneSettings(epochs=1, calibration_images=32, recovery="bn"),
    )  # fmt: skip
    assert result.tuned.test is not None
    x, y = next(iter(DataLoader(noise(32, 3).dataset, 32)))
    with torch.no_grad():
        assert result.tuned.test.score == int((result.model(x).argmax(1) == y).sum()) / 32


def plan_of_half(model: torch.nn.Module) -> PruningPlan:
    return PruningPlan.make(trace_network(model, torch.zeros(1, 3, 8, 8)).groups, {"0": 4})
