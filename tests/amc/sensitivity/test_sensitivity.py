"""``amc.sensitivity`` from Python and from the command line: results, files, refusals, resume."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from amc.analysis.curves import Curves
from amc.analysis.heuristics.choose import Questions
from amc.cli.run import run
from amc.core.errors import AmcError
from amc.core.types import Metrics, PruningPlan
from amc.evaluation.evaluator import Evaluator
from amc.finetune import __main__ as finetune
from amc.pruning.counting import count_macs
from amc.sensitivity.__main__ import main_from_config
from amc.sensitivity.result import SensitivityResult
from amc.sensitivity.run import sensitivity
from amc.task.settings import Settings
from tests.support import commands, nets

Loader = DataLoader[tuple[torch.Tensor, ...]]
QUICK = Settings(images=48, calibration_images=48, precision="fp32")
QUESTIONS = Questions(keep_ratios=[0.75, 0.5, 0.25], rule="threshold", pairs=2)
BASE = ["model=resnet20", "dataset=digits", "training.epochs=1", "device=cpu", "verbose=false", "seed=3"]
FEW = ["keep_ratios=[0.6,0.2]", "evaluate.images=60", "evaluate.calibration_images=32", "recovery=bn"]
UNTIMED = re.compile("seconds|latency")


def loader(seed: int) -> Loader:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (48,), generator=generator)
    patterns = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(99))
    return DataLoader(TensorDataset(patterns[labels] + torch.randn(48, 3, 6, 6, generator=generator), labels), 16)


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    torch.manual_seed(0)
    model = nets.residual()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(8):
        for x, y in loader(0):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimiser.step()
    return model.eval()


pytestmark = pytest.mark.usefixtures("own_folder")


def analyse(model: nn.Module, **arguments: Any) -> SensitivityResult:
    defaults = {
        "train": loader(0), "val": loader(1), "test": loader(2), "questions": QUESTIONS, "settings": QUICK,
        "importance": "l2", "recovery": "bn", "cache_dir": Path("cache"), "verbose": False,
    }  # fmt: skip
    return sensitivity(model, **{**defaults, **arguments})


def read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def untimed(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: untimed(value) for key, value in data.items() if not UNTIMED.search(key)}
    return data


def test_own_network_and_loaders(trained: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    result = analyse(trained, budget=0.6)
    assert result.curves.names == ("features.0.0", "features.1.conv1", "features.2.conv1")
    assert result.curves.kept.tolist() == [[6, 4, 2], [4, 3, 2], [4, 3, 2]]
    assert len(result.pairs) == result.independence.pairs == 2
    assert result.chosen is not None
    uncut, uniform, planned = (result.scored[name] for name in ("dense", "uniform", "plan"))
    assert uncut.cost.macs == count_macs(trained, torch.zeros(1, 3, 6, 6))
    assert uniform.cost.macs <= planned.cost.macs <= 0.6 * uncut.cost.macs
    assert uncut.test is not None
    assert planned.test is not None
    assert uncut.test.images == 48
    assert all(torch.equal(before[n], t) for n, t in trained.state_dict().items()), "the original must stay"


def test_without_a_rule_there_is_no_plan(trained: nn.Module) -> None:
    result = analyse(trained, questions=Questions(keep_ratios=[0.5]), test=None)
    assert result.chosen is None
    assert list(result.scored) == ["dense"]
    assert result.scored["dense"].test is None


def test_test_images_decide_nothing(trained: nn.Module) -> None:
    one, other = analyse(trained), analyse(trained, test=loader(7), cache_dir=Path("other"))
    assert one.chosen is not None
    assert other.chosen is not None
    assert one.chosen.plan == other.chosen.plan
    assert one.scored["plan"].val == other.scored["plan"].val


def test_the_reported_scores_are_those_of_the_plan(trained: nn.Module) -> None:
    """The interpolated curves are not what is reported: the plan's own network is cut and scored."""
    questions = Questions(keep_ratios=[0.75, 0.5], rule="threshold", accuracy_drop=1.0)
    settings = Settings(images=48, calibration_images=48, precision="fp32", min_keep=0.5)
    result = analyse(trained, questions=questions, settings=settings)
    assert result.chosen is not None
    assert set(result.chosen.plan.keep_ratios().values()) == {0.5, 1.0}  # 1: the network's output
    uniform, planned = result.scored["uniform"], result.scored["plan"]
    assert (uniform.val, uniform.cost.macs) == (planned.val, planned.cost.macs)  # here the same plan


@pytest.fixture(scope="module")
def recorded(trained: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SensitivityResult]:
    """The folder of a finished run, not to be changed, and its result."""
    place = tmp_path_factory.mktemp("recorded")
    return place / "run", analyse(trained, run_dir=place / "run", cache_dir=place / "cache", facts={"model": "own"})


@pytest.fixture
def finished(recorded: tuple[Path, SensitivityResult], tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(recorded[0], tmp_path / "run"))


def go_on(model: nn.Module, folder: Path, **arguments: Any) -> SensitivityResult:
    return analyse(model, run_dir=folder, facts={"model": "own"}, resume=True, **arguments)


def test_a_recorded_run(trained: nn.Module, recorded: tuple[Path, SensitivityResult]) -> None:
    folder, result = recorded
    names = {p.name for p in folder.iterdir()}
    pictures = {f"{name}.png" for name in ("sensitivity", "sensitivity_and_shares", "interactions", "plan")}
    assert pictures | {"sensitivity.csv", "summary.json", "plan.json", "config.json", "curves.json"} <= names
    assert result.chosen is not None
    assert read(folder / "plan.json") == result.chosen.plan.to_json()
    summary = read(folder / "summary.json")
    assert summary["rule"] == result.chosen.to_json()
    assert summary["plan"]["val"]["accuracy"] == result.scored["plan"].val.score
    assert summary["interactions"]["rows"] == [pair.to_json() for pair in result.pairs]
    assert summary["curve_seconds"] > 0
    rows = list(csv.DictReader((folder / "sensitivity.csv").open()))
    assert len(rows) == 1 + 3 * 3
    assert [float(row["loss"]) for row in rows[1:]] == result.curves.loss.ravel().tolist()
    assert (Curves.from_json(read(folder / "curves.json")).kept == result.curves.kept).all()
    assert str(folder.parent) not in "".join(p.read_text() for p in folder.glob("*.json"))
    events = EventAccumulator(str(folder)).Reload()
    (first, *_) = events.Scalars("accuracy/features.0.0")
    assert (first.step, first.value) == (25, np.float32(result.curves.score[0, 2]))
    assert set(events.Tags()["images"]) == {"sensitivity", "sensitivity_and_shares", "interactions", "plan"}
    with pytest.raises(AmcError, match="resume="):
        analyse(trained, run_dir=folder)


class Killed(BaseException):
    """Stops a run at any moment, as a kill would, but in this process."""


@pytest.mark.parametrize("evaluations", [0, 1, 5, 10])  # before the first, among the curves, among the pairs
def test_a_killed_run_ends_as_if_it_had_not_been(
    trained: nn.Module,
    recorded: tuple[Path, SensitivityResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    evaluations: int,
) -> None:
    score, count = Evaluator._evaluate, [0]

    def counted(self: Evaluator, plan: PruningPlan, race: None) -> Metrics:
        if count[0] == evaluations:
            raise Killed
        count[0] += 1
        return score(self, plan, race)

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "_evaluate", counted)
        with pytest.raises(Killed):
            analyse(trained, run_dir=tmp_path / "killed", cache_dir=tmp_path / "b", facts={"model": "own"})
    assert not (tmp_path / "killed" / "summary.json").exists()
    go_on(trained, tmp_path / "killed", cache_dir=tmp_path / "elsewhere")
    whole, killed = recorded[0], tmp_path / "killed"
    for name in ("plan.json", "sensitivity.csv", "sensitivity.png", "interactions.png"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    assert untimed(read(whole / "summary.json")) == untimed(read(killed / "summary.json"))


def test_a_resumed_run_measures_only_what_is_missing(
    trained: nn.Module, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[PruningPlan] = []
    score = Evaluator._evaluate
    monkeypatch.setattr(
        Evaluator, "_evaluate", lambda self, plan, race: (seen.append(plan), score(self, plan, race))[1]
    )
    result = go_on(trained, finished, cache_dir=Path("empty"))
    assert result.chosen is not None
    assert len(seen) == 2  # the rule's plan and the uniform one
    assert result.chosen.plan in seen


def test_a_run_goes_on_only_with_what_it_was_started_with(trained: nn.Module, finished: Path) -> None:
    before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    with pytest.raises(AmcError, match="seed=0, now it is 1"):
        go_on(trained, finished, seed=1)
    with pytest.raises(AmcError, match="validation images changed"):
        go_on(trained, finished, val=loader(5))
    other = nets.residual().eval()
    with pytest.raises(AmcError, match="weights changed"):
        go_on(other, finished)
    assert before == {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}


def test_a_refused_run_leaves_the_folder_free(trained: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(AmcError, match="smallest reachable value"):
        analyse(trained, run_dir=tmp_path / "run", budget=0.001)
    few = Questions(keep_ratios=[0.5])
    assert analyse(trained, run_dir=tmp_path / "run", questions=few).curves.kept.tolist() == [[4], [3], [3]]


def command(folder: str, *overrides: str) -> dict[str, Any]:
    run("sensitivity", main_from_config, [*BASE, *FEW, f"hydra.run.dir={folder}", *overrides])
    return read(Path(folder) / "summary.json")


@pytest.mark.slow
def test_command_line_with_a_plan_that_can_be_fine_tuned(capsys: pytest.CaptureFixture[str]) -> None:
    summary = command("run", "rule=size_aware", "importance=l2", "interactions.pairs=3", "verbose=true")
    out = capsys.readouterr().out
    for text in (
        "sensitivity: ",
        "MACs saved",
        "3 pairs cut together",
        "proven the least",
        "measured",
        "uniform",
        "size_aware",
    ):
        assert text in out
    assert summary["plan"]["macs"] <= 0.5 * summary["uncut"]["macs"]
    assert summary["plan"]["val"]["images"] == 60
    assert summary["plan"]["test"]["images"] == 360
    tuned = ["plan=run/plan.json", "epochs=1", "calibration_images=32", "recovery=bn", "verbose=false", "device=cpu"]
    run("finetune", finetune.main_from_config, [*tuned, "hydra.run.dir=tuned"])
    after = read(Path("tuned/summary.json"))
    assert (after["model"], after["seed"], after["settings"]["importance"]) == ("resnet20", 3, "l2")
    assert after["tuned"]["macs"] == summary["plan"]["macs"]


def test_another_command_takes_the_curves_from_the_cache(capsys: pytest.CaptureFixture[str]) -> None:
    first = command("a", "rule=threshold")
    capsys.readouterr()
    again = command("b", "rule=size_aware", "verbose=true", "budget=params")
    assert "sensitivity: " not in capsys.readouterr().out  # no progress: there was nothing to measure
    assert again["curve_seconds"] == first["curve_seconds"] > 0
    assert (Path("a") / "sensitivity.csv").read_bytes() == (Path("b") / "sensitivity.csv").read_bytes()


def refused(capsys: pytest.CaptureFixture[str], *overrides: str, base: list[str] = BASE) -> str:
    return commands.refused(capsys, "sensitivity", main_from_config, [*base, *overrides])


def test_a_run_folder_is_never_overwritten_and_can_be_gone_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    command("run", "rule=threshold")
    assert "resume=" in refused(capsys, *FEW, "hydra.run.dir=run")
    assert "rule=threshold, now it is size_aware" in refused(capsys, "resume=run", "rule=size_aware", base=[])
    before = untimed(read(Path("run/summary.json")))
    run("sensitivity", main_from_config, ["resume=run", "verbose=false"])
    assert untimed(read(Path("run/summary.json"))) == before
    with pytest.raises(SystemExit):
        run("search", main_from_config, ["resume=run"])
    assert "no run of python -m amc.search" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["keep_ratios=[]"], "keep_ratios="),
        (["keep_ratios=[0.5,0.9]"], "descending"),
        (["keep_ratios=[1.0,0.5]"], "keep_ratios=1.0"),
        (["rule=best"], "rule=best"),
        (["rule=size_aware", "accuracy_drop=0.01"], "belongs to rule=threshold"),
        (["rule=threshold", "accuracy_drop=2"], "accuracy_drop=2"),
        (["rule=threshold", "budget=none"], "accuracy_drop=0.01"),
        (["rule=size_aware", "budget=none"], "budget.keep=0.5"),
        (["rule=size_aware", "budget.keep=0.001"], "smallest reachable value"),
        (["budget=latency"], "give budget=macs or params"),
        (["interactions.pairs=-1"], "interactions.pairs=-1"),
        (["interactions.keep_ratio=1.5"], "interactions.keep_ratio=1.5"),
        (["+interactions.foo=1"], "interactions.foo"),
        (["size_aware.choices=1"], "size_aware.choices=1"),
        (["evaluate.images=0"], "evaluate.images=0"),
        (["+evaluate.foo=1"], "foo"),
        (["importance=best"], "importance=best: unknown; give one of activation, "),
        (["seed=-1"], "seed=-1"),
        (["freeze=['*']"], "zero prunable groups"),
        (["resume=nowhere"], "holds no run"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], overrides: list[str], says: str
) -> None:
    assert says in refused(capsys, *overrides, "hydra.run.dir=refused")
    assert not Path("refused/config.json").exists()
