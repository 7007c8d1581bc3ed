"""The command line: what it prints, leaves behind, refuses, and survives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from PIL import Image

from amc.cli.run import run
from amc.models import build
from amc.search.__main__ import main_from_config
from amc.tracking import RunDir, read_episodes
from tests.support import commands

# One epoch of a small network: a baseline that every test shares through the cache.
BASE = ["model=resnet20", "dataset=digits", "training.epochs=1", "agent.warmup_episodes=3", "device=cpu"]
UNTIMED = re.compile("seconds|latency")


pytestmark = pytest.mark.usefixtures("own_folder")


def search(*overrides: str) -> None:
    run("search", main_from_config, [*BASE, *overrides])


def refused(capsys: pytest.CaptureFixture[str], *overrides: str, base: list[str] = BASE) -> str:
    """The one line that a wrong call prints; it must exit with 2."""
    return commands.refused(capsys, "search", main_from_config, [*base, "verbose=false", *overrides])


def test_dry_run_prints_the_groups_and_stops(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    search("dry_run=true", "hydra.run.dir=run")
    out = capsys.readouterr().out
    assert "layer1.0.conv1" in out
    assert "its channels are the network's output" in out
    assert not list((tmp_path / "run").glob("*"))


def test_prune_residual_false_freezes_the_streams(capsys: pytest.CaptureFixture[str]) -> None:
    search("model=resnet18", "dry_run=true", "prune_residual=false")
    assert "residual stream (prune_residual=false)" in capsys.readouterr().out


def test_a_search_prints_its_result(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    search("episodes=3", "hydra.run.dir=run")
    out = capsys.readouterr().out
    for text in ("validation accuracy", "test accuracy", "MACs", "parameters", "latency", "forward", "run folder"):
        assert text in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["best"]["macs"] <= 0.5 * summary["baseline"]["macs"]
    assert summary["best"]["val"]["images"] == 360


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    search("episodes=1", "verbose=false")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("agent", ["agent=random", "agent=uniform"])
@pytest.mark.parametrize("budget", ["budget=none", "budget=params"])
def test_other_agents_and_budgets(agent: str, budget: str, tmp_path: Path) -> None:
    run("search", main_from_config, [*BASE[:3], agent, budget, "episodes=2", "hydra.run.dir=run", "verbose=false"])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    if budget == "budget=params":
        assert summary["best"]["params"] <= 0.5 * summary["baseline"]["params"]


def test_own_network_and_own_reward_by_dotted_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_pkg.py").write_text(
        "from torch import nn\n"
        "def my_net(num_classes):\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, num_classes))\n"
        "def my_reward(metrics, cost, original):\n"
        "    return -metrics.loss\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    overrides = ["model=my_pkg.my_net", "reward=my_pkg.my_reward", "episodes=2", "hydra.run.dir=run", "verbose=false"]
    run("search", main_from_config, ["dataset=digits", "training.epochs=1", *overrides])
    rows = read_episodes(tmp_path / "run" / "episodes.csv")
    assert [row["reward"] for row in rows] == [-row["loss"] for row in rows]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["model"] == "my_net"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model=resnet51", "model=resnet51: unknown"),
        ("model=no_pkg.net", "no_pkg"),
        ("dataset=digit", "dataset=digit: unknown"),
        ("dataset=imagefolder", "dataset.root"),
        ("agent=best", "agent=best: unknown; give one of amc, "),
        ("budget.keep=0", "budget.keep=0"),
        ("budget.keep=1.01", "budget.keep=1.01"),
        ("budget.keep=0.001", "smallest reachable value"),
        ("budget.cost=watts", "watts"),
        ("freeze=[no_such_layer]", "no_such_layer"),
        ("freeze=['*']", "zero prunable groups"),
        ("model.checkpoint=nowhere.pt", "nowhere.pt"),
        ("no_such_key=1", "no_such_key"),
        ("device=tpu", "device=tpu"),
        ("reward=my.reward", "my.reward"),
        ("resume=nowhere", "holds no run"),
        ("evaluate.precision=fp8", "precision=fp8"),
        ("episodes=0", "episodes=0"),
        ("episodes=abc", "episodes=abc"),
        ("seed=-1", "seed=-1"),
        ("budget.keep=half", "budget.keep=half"),
        ("budget.min_keep=x", "budget.min_keep=x"),
        ("budget.channel_round=0", "budget.channel_round=0"),
        ("evaluate.batch_size=0", "evaluate.batch_size=0"),
        ("evaluate.early_stop=0.5", "evaluate.early_stop=0.5: give true or false, or auto"),
        ("evaluate.early_stop_confidence=1", "evaluate.early_stop_confidence=1: give a number in (0.5, 1)"),
        ("evaluate.calibration_images=-5", "evaluate.calibration_images=-5"),
        ("+evaluate.foo=1", "foo"),
        ("recovery.positions=0", "recovery.positions=0"),
        ("recovery.damping=x", "recovery.damping=x"),
        ("+recovery.foo=1", "foo"),
        ("training.lr=abc", "training.lr=abc"),
        ("dataset.val_images=abc", "dataset.val_images=abc"),
        ("+dataset.foo=1", "foo"),
        ("agent.sigma=-1", "agent.sigma"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], override: str, says: str) -> None:
    # ddpg's settings would be wrong for another agent, and rightly refused first
    base = BASE if not override.startswith("agent=") else BASE[:3]
    assert says in refused(capsys, override, base=base)


def test_a_refused_call_has_loaded_nothing_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def not_reached(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("amc.cli.command.load_trained", not_reached)
    for wrong in ("budget.keep=7", "budget.min_keep=0", "agent=oracle", "observation=oracle"):
        assert f"error: {wrong}: " in refused(capsys, wrong, base=BASE[:3])
    assert not list(tmp_path.iterdir())
    refused(capsys, "budget.keep=7", "hydra.run.dir=.")
    assert tmp_path.is_dir()


def test_damaged_checkpoints(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "noise.pt").write_bytes(b"no checkpoint")
    assert "noise.pt" in refused(capsys, "model.checkpoint=noise.pt")
    state = build("amc.models.cifar_resnet.resnet20", 10, (3, 8, 8)).state_dict()
    torch.save({**state, "conv1.weight": torch.zeros(7, 3, 3, 3)}, tmp_path / "other.pt")
    assert "conv1.weight" in refused(capsys, "model.checkpoint=other.pt")


def test_nan_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    state = build("amc.models.cifar_resnet.resnet20", 10, (3, 8, 8)).state_dict()
    state["conv1.weight"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pt")
    assert "NaN" in refused(capsys, "model.checkpoint=nan.pt")


def test_empty_class_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(6):
                Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / "data" / split / name / f"{i}.png")
    for picture in (tmp_path / "data" / "train" / "dog").iterdir():
        picture.unlink()
    line = refused(capsys, "dataset=imagefolder", "dataset.root=data", base=["model=resnet20", "training.epochs=1"])
    assert "dog" in line


def test_a_run_folder_is_never_overwritten(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    search("episodes=2", "verbose=false", "hydra.run.dir=run")
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert "resume=" in refused(capsys, "episodes=2", "hydra.run.dir=run")
    assert "seed=0, now it is 1" in refused(capsys, "resume=run", "seed=1", base=[])
    assert "model=resnet20, now it is resnet32" in refused(capsys, "resume=run", "model=resnet32", base=[])
    after = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert before == after
    run("search", main_from_config, ["resume=run", "verbose=false", "budget=macs", "model=resnet20"])  # as it was


def test_a_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    search("episodes=2", "verbose=false", "hydra.run.dir=a")
    search("episodes=5", "verbose=false", "hydra.run.dir=b")
    run("search", main_from_config, ["resume=a", "episodes=5", "verbose=false"])
    assert untimed(tmp_path / "a") == untimed(tmp_path / "b")


def test_a_moved_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search("episodes=2", "verbose=false", "hydra.run.dir=run")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").rename(tmp_path / "elsewhere" / "moved")
    monkeypatch.chdir(tmp_path / "elsewhere")
    run("search", main_from_config, ["resume=moved", "episodes=3", "verbose=false"])
    assert len(read_episodes(tmp_path / "elsewhere" / "moved" / "episodes.csv")) == 3


def test_a_sweep(tmp_path: Path) -> None:
    overrides = [*BASE[1:], "model=resnet20,resnet32", "episodes=1", "verbose=false", "hydra.sweep.dir=sweep"]
    run("search", main_from_config, ["--multirun", *overrides])
    names = [json.loads((tmp_path / "sweep" / job / "summary.json").read_text())["model"] for job in "01"]
    assert names == ["resnet20", "resnet32"]


def test_full_disk_while_checkpointing_loses_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    search("episodes=6", "verbose=false", "hydra.run.dir=whole")
    search("episodes=2", "verbose=false", "hydra.run.dir=run")
    size = (tmp_path / "run" / "checkpoint" / "state.pt").stat().st_size
    with full_disk(size - 1):
        assert "can't be written" in refused(capsys, "resume=run", "episodes=6", base=[])
    run("search", main_from_config, ["resume=run", "episodes=6", "verbose=false"])
    assert untimed(tmp_path / "run") == untimed(tmp_path / "whole")


def untimed(folder: Path) -> list[dict[str, float]]:
    rows = read_episodes(folder / "episodes.csv")
    return [{k: v for k, v in row.items() if not UNTIMED.search(k)} for row in rows]


def test_a_run_that_another_process_works_in_is_left_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    search("episodes=1", "verbose=false", "hydra.run.dir=run")
    with RunDir.open(tmp_path / "run"):
        for arguments in (["resume=run"], [*BASE, "hydra.run.dir=run"]):
            assert "another process" in refused(capsys, *arguments, base=[])


def test_the_same_call_goes_on_with_a_killed_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    whole = [*BASE, "episodes=2", "hydra.run.dir=run"]
    run("search", main_from_config, [*whole, "verbose=false"])
    before, summary = untimed(tmp_path / "run"), tmp_path / "run" / "summary.json"
    summary.unlink()  # as if it had been killed before that
    assert "started with seed=0, now it is 1" in refused(capsys, *whole, "seed=1", base=[])
    run("search", main_from_config, whole)
    assert "run: the run that was stopped here goes on" in capsys.readouterr().out
    assert untimed(tmp_path / "run") == before
    assert summary.is_file()


def test_a_killed_run_with_own_code_goes_on_only_by_resume(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own_reward.py").write_text("def accuracy(metrics, cost, original):\n    return metrics.accuracy\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = [*BASE, "reward=own_reward.accuracy", "episodes=2", "hydra.run.dir=run", "verbose=false"]
    run("search", main_from_config, own)
    (tmp_path / "run" / "summary.json").unlink()
    assert "was stopped; go on with it by resume=" in refused(capsys, *own, base=[])
    assert "add trust=own_reward.accuracy" in refused(capsys, "resume=run", base=[])
    run("search", main_from_config, ["resume=run", "verbose=false", "trust=own_reward.accuracy"])
    assert (tmp_path / "run" / "summary.json").is_file()
