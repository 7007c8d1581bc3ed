"""What a group's cut costs the outputs within a budget, and what searches and transfers make of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amc.analysis.prices import measure_prices
from amc.analysis.responses import measure_responses
from amc.core.errors import AmcError
from amc.core.types import PruningPlan
from amc.pruning.counting import count_macs
from amc.search.run import search
from amc.task.problem import Problem
from amc.task.settings import Settings
from amc.transfer.run import transfer
from tests.support.small import QUICK, equal_layers, images, noise_problem

SEEING = replace(QUICK, rule="project", observation="price", agent={"hidden": [8, 8], "warmup_episodes": 4})


def problem(settings: Settings = QUICK, width: int = 8, budget: float | None = 0.5, recovery: str = "none") -> Problem:
    return noise_problem(equal_layers(4, width), settings, budget=budget, recovery=recovery)


def prices(own: Problem) -> dict[str, float]:
    return measure_prices(own)


def run(width: int = 8, **arguments: Any) -> Any:
    given = {"train": images(32, 1), "val": images(32, 2), "settings": SEEING, "episodes": 6, "verbose": False}
    return search(equal_layers(4, width), **{**given, **arguments})


@pytest.mark.parametrize("budget", [0.5, None])
def test_a_price_is_divergence_over_macs(budget: float | None) -> None:
    """Against networks that are really cut, their outputs and MACs counted anew."""
    own = problem(replace(QUICK, rule="project"), budget=budget)
    found, x = prices(own), own.task.train.normalised()
    uniform = dict(own.uniform_plan().kept)
    with torch.no_grad():
        uncut = own.network.model(x).log_softmax(1)

        def scored(kept: dict[str, int]) -> tuple[float, int]:
            model = own.evaluator.pruner.cut(PruningPlan.make(own.network.groups, kept))
            loss = torch.nn.functional.kl_div(model(x).log_softmax(1), uncut, log_target=True, reduction="batchmean")
            return float(loss), count_macs(model, x[:1])

        before, macs = scored(uniform)
        halved = {name: scored({**uniform, name: round(uniform[name] / 2)}) for name in found}
    lost = {name: loss - before for name, (loss, _) in halved.items()}
    least = 0.1 * float(np.median(list(lost.values())))
    assert len(found) == 4
    assert max(lost.values()) > 10 * least > 0
    for name, price in found.items():
        saved = 1 - halved[name][1] / macs
        assert price == pytest.approx(math.sqrt(max(lost[name], least) / saved), rel=1e-3)


def test_where_nothing_reaches_the_outputs_prices_are_equal_but_for_what_is_saved() -> None:
    own = problem()
    with torch.no_grad():
        own.network.model.fc.weight.zero_()  # type: ignore[union-attr, operator]
    found = list(prices(own).values())
    assert max(found) < 0.01
    assert found[1] == found[2] > 0  # of equal width between equal neighbours


def test_a_group_that_can_not_be_halved_has_the_mean_price() -> None:
    own = problem(width=2)
    kept, found = dict(own.uniform_plan().kept), prices(own)
    ones, others = ([found[name] for name, channels in kept.items() if channels == n] for n in (1, 2))
    assert ones
    assert others
    assert ones == pytest.approx([math.exp(float(np.mean(np.log(others))))] * len(ones))


def test_outputs_that_are_no_numbers_are_refused() -> None:
    own = problem()
    with torch.no_grad():
        own.network.model.fc.bias[0] = float("nan")  # type: ignore[union-attr, index, operator]
    with pytest.raises(AmcError, match="outputs of the network: NaN or infinite; check the weights"):
        prices(own)


def prices_of(monkeypatch: pytest.MonkeyPatch, lost: list[float], own: Problem | None = None) -> list[float]:
    """The prices where halving each group moves the outputs so much farther away."""
    own = own or problem(width=64)
    found = dict(zip((g.name for g in own.budget.groups), lost, strict=True))
    monkeypatch.setattr("amc.analysis.prices.CutOneByOne.measure", lambda *_, **__: found)
    return list(prices(own).values())


@pytest.mark.parametrize(
    ("lost", "floored"),
    [
        ([-0.01, 0.001, 0.4, 0.8], [0.0205, 0.0205, 0.4, 0.8]),  # a tenth of the median of the changes
        ([-0.5, -0.01, -0.4, 0.8], [0.045, 0.045, 0.045, 0.8]),  # most outputs get better
        ([0.0, 0.0, 0.0, 0.0], [1e-6] * 4),
    ],
)
def test_what_can_not_be_told_from_nothing_has_a_floor(
    monkeypatch: pytest.MonkeyPatch, lost: list[float], floored: list[float]
) -> None:
    ones = prices_of(monkeypatch, [1.0] * 4)
    expected = [one * math.sqrt(floor) for one, floor in zip(ones, floored, strict=True)]
    assert prices_of(monkeypatch, lost) == pytest.approx(expected)


@pytest.mark.parametrize("residue", [0.0, 1e-6])  # MACs
def test_a_group_that_saves_nothing_is_dear(monkeypatch: pytest.MonkeyPatch, residue: float) -> None:
    """Of latency tables some stretches are flat, up to rounding."""
    own = problem(width=64, budget=None)
    costs, macs = own.network.cost_model, own.network.cost_model.value
    first = next(i for i, group in enumerate(costs.groups) if group.name == own.budget.groups[0].name)

    def value(name: str, counts: Any) -> float:
        flat = counts.copy()
        flat[first] = 64
        return macs(name, flat) + residue * counts[first]

    usual = prices_of(monkeypatch, [1.0] * 4, own)
    monkeypatch.setattr(costs, "value", value)
    found = prices_of(monkeypatch, [1.0] * 4, own)
    assert found[1:] == pytest.approx(usual[1:])
    assert found[0] == pytest.approx(min(found) * math.sqrt(1000))
    monkeypatch.setattr(costs, "value", lambda name, counts: 7.0)
    assert prices_of(monkeypatch, [1.0] * 4, own) == [1.0] * 4


@pytest.mark.parametrize("budget", [0.5, 0.25])
def test_what_is_measured_is_the_price_within_the_budget(budget: float) -> None:
    own = problem(replace(QUICK, prices=True, responses=True), 64, budget, "least_squares")
    whole = replace(own, budget=problem(width=64, budget=0.9).budget)
    assert own.measured["price"] == prices(own)
    assert own.measured["price"] != pytest.approx(prices(whole))
    assert own.measured["response"] == measure_responses(own)


def test_the_rule_takes_one_evaluation_and_keeps_what_is_dear() -> None:
    result = run(64, agent="price", settings=replace(QUICK, rule="project"))
    assert len(result.episodes) == 1
    found = problem(replace(QUICK, prices=True), 64, recovery="least_squares").measured["price"]
    ratios = np.array([result.plan.keep_ratios()[name] for name in sorted(found, key=lambda n: found[n])])
    assert (np.diff(ratios) >= -1 / 64).all()  # the budget's rest goes to some as one more channel
    assert ratios[0] < ratios[-1]
    assert result.best.cost.macs <= 0.5 * result.baseline.cost.macs


def test_a_policy_that_sees_prices_walks_on_another_network_and_budget(tmp_path: Path) -> None:
    run(run_dir=tmp_path)
    policy = json.loads((tmp_path / "policy" / "policy.json").read_text())
    assert policy["observation"]["features"] == ["price", "macs"]
    given: dict[str, Any] = {"train": images(32, 1), "val": images(32, 2), "settings": QUICK, "verbose": False}
    result = transfer(equal_layers(6), tmp_path, budget=0.4, **given)
    assert result.policy.cost.macs <= 0.4 * result.uncut.cost.macs
    assert set(result.tried) == {0, 0.25, 0.5, 0.75, 1}
