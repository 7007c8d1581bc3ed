"""Curves are measured once; whatever they depend on makes them other curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from amc.analysis.curve_cache import curves_for
from amc.analysis.curves import Curves, Point
from amc.core.errors import AmcError
from amc.core.types import Metrics, PruningPlan
from amc.data import ImageSet
from amc.evaluation.evaluator import Evaluator
from amc.pruning.budget import Budget
from amc.pruning.network import Network, trace_network
from amc.task.method import Method
from amc.task.problem import Problem
from amc.task.settings import Settings
from amc.task.task import Task
from tests.support import nets

SETTINGS = Settings(images=32, calibration_images=16, precision="fp32")
TRAIN, VAL = (
    ImageSet.from_loader([(torch.randn(32, 3, 6, 6, generator=g), torch.randint(0, 4, (32,), generator=g))])
    for g in (torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    images = TRAIN.normalised()
    return trace_network(nets.enliven(nets.chain(), images), images[:1])


class Counting:
    """An evaluator that counts what is measured, and can be stopped."""

    def __init__(self, evaluator: Evaluator, most: int = 1000) -> None:
        self.dense, self.dtype = evaluator.dense, evaluator.dtype
        self._evaluator, self._most, self.count = evaluator, most, 0

    def in_full(self, plan: PruningPlan) -> Metrics:
        if self.count == self._most:
            raise KeyboardInterrupt
        self.count += 1
        return self._evaluator.in_full(plan)

    def free_memory(self) -> None:
        self._evaluator.free_memory()


def problem(network: Network, settings: Settings = SETTINGS, importance: str = "l1", seed: int = 0) -> Problem:
    method = Method(importance, "bn", seed, settings.calibration_images)
    return Problem(Task("chain", network.model, TRAIN, VAL), method, settings, network, Budget(network.cost_model))


def measured(
    network: Network,
    cache: Path,
    settings: Settings = SETTINGS,
    importance: str = "l1",
    seed: int = 0,
    ratios: Sequence[float] = (0.75, 0.5),
    most: int = 1000,
    known: Sequence[Point] = (),
    on_point: list[Point] | None = None,
) -> tuple[int, Curves]:
    """How many values were measured, and the curves."""
    whole = problem(network, settings, importance, seed)
    counting = Counting(whole.evaluator, most)
    whole.evaluator = counting  # type: ignore[assignment]
    curves = curves_for(
        whole, ratios,
        cache_dir=cache, known=known, on_point=None if on_point is None else on_point.append, verbose=False,
    )  # fmt: skip
    return counting.count, curves


def test_measured_once(network: Network, tmp_path: Path) -> None:
    points: list[Point] = []
    first, made = measured(network, tmp_path)
    again, found = measured(network, tmp_path, on_point=points)
    assert (first, again) == (4, 0)
    assert found.to_json() == made.to_json()
    assert found.seconds == made.seconds > 0  # what they took when they were measured
    assert [(p.group, p.kept) for p in points] == [
        ("features.0.0", 6), ("features.0.0", 4), ("features.1.0", 4), ("features.1.0", 3),
    ]  # fmt: skip


def test_other_ratios_add_to_what_is_there(network: Network, tmp_path: Path) -> None:
    assert measured(network, tmp_path)[0] == 4
    assert measured(network, tmp_path, ratios=(0.75, 0.25))[0] == 2
    assert measured(network, tmp_path, ratios=(0.75, 0.5, 0.25))[0] == 0


def test_an_interrupted_measurement_goes_on(network: Network, tmp_path: Path) -> None:
    _, whole = measured(network, tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        measured(network, tmp_path, most=3)
    count, curves = measured(network, tmp_path)
    assert count == 1
    assert {**curves.to_json(), "seconds": 0} == {**whole.to_json(), "seconds": 0}


def test_what_a_run_knows_needs_no_cache(network: Network, tmp_path: Path) -> None:
    points: list[Point] = []
    measured(network, tmp_path / "a", on_point=points)
    assert measured(network, tmp_path / "b", known=points)[0] == 0


def test_whatever_changes_the_values_makes_other_curves(network: Network, tmp_path: Path) -> None:
    measured(network, tmp_path)
    assert measured(network, tmp_path, importance="l2")[0] == 4
    assert measured(network, tmp_path, seed=1)[0] == 4
    assert measured(network, tmp_path, replace(SETTINGS, images=31))[0] == 4
    assert measured(network, tmp_path, replace(SETTINGS, calibration_images=15))[0] == 4
    assert measured(network, tmp_path, replace(SETTINGS, precision="bf16"))[0] == 4
    frozen = trace_network(network.model, network.example, freeze=["features.0.0"])
    assert measured(frozen, tmp_path)[0] == 2
    with torch.no_grad():
        network.model.fc.bias[0] += 1  # type: ignore[index, operator, union-attr]
    assert measured(network, tmp_path)[0] == 4
    with torch.no_grad():
        network.model.fc.bias[0] -= 1  # type: ignore[index, operator, union-attr]


def test_a_budget_does_not(network: Network, tmp_path: Path) -> None:
    measured(network, tmp_path)
    other = replace(SETTINGS, cost="params", min_keep=0.3, channel_round=2, finalists=3, batch_size=7)
    assert measured(network, tmp_path, other)[0] == 0


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-20], lambda text: "[]", lambda text: text.replace('"points"', '"p"')]
)
def test_a_damaged_cache_is_measured_again(network: Network, tmp_path: Path, damage: object) -> None:
    measured(network, tmp_path)
    (file,) = (tmp_path / "curves").iterdir()
    file.write_text(damage(file.read_text()))  # type: ignore[operator]
    assert measured(network, tmp_path)[0] == 4
    assert measured(network, tmp_path)[0] == 0


def test_values_of_a_network_that_scores_otherwise_now_mean_nothing(network: Network, tmp_path: Path) -> None:
    measured(network, tmp_path)
    (file,) = (tmp_path / "curves").iterdir()
    loss = problem(network).evaluator.dense.loss
    text = file.read_text()
    assert str(loss) in text
    file.write_text(text.replace(str(loss), str(2 * loss)))
    assert measured(network, tmp_path)[0] == 4


def test_a_cache_that_cannot_be_written_is_done_without(network: Network, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the folder's place")
    assert measured(network, tmp_path / "cache")[0] == 4


def test_wrong_ratios(network: Network, tmp_path: Path) -> None:
    with pytest.raises(AmcError, match="keep_ratios"):
        measured(network, tmp_path, ratios=(0.5, 0.75))
