from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from amc.analysis.curves import Curves
from amc.analysis.heuristics import size_aware
from amc.analysis.heuristics.counts import allowed_counts
from amc.analysis.heuristics.integer_program import Solution
from amc.analysis.heuristics.size_aware import size_aware_plan
from amc.analysis.heuristics.threshold import threshold_plan_for_budget
from amc.core.errors import AmcError
from amc.pruning.budget import Budget
from amc.pruning.cost import CostModel, Rest
from amc.pruning.latency import GRID, LatencyCostModel
from amc.pruning.network import Network
from tests.support import toys


def brute_force(curves: Curves, budget: Budget, model: CostModel, most: int) -> float:
    """The least summed loss of all plans on the grid."""
    grids = [allowed_counts(budget.bounds[g.name], most) for g in budget.groups]
    best = float("inf")
    for counts in product(*grids):
        kept = {g.name: int(n) for g, n in zip(budget.groups, counts, strict=True)}
        if model.value(budget.cost, model.counts(kept)) <= budget.limit:
            loss = sum(float(curves.loss_increase(g.name, kept[g.name] / g.channels)) for g in budget.groups)
            best = min(best, loss)
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("cost", ["macs", "params"])
@pytest.mark.parametrize("model", [toys.chain([6, 8, 5]), toys.stream(7, [6, 5])], ids=["chain", "stream"])
def test_as_good_as_trying_everything(model: CostModel, cost: str, seed: int) -> None:
    keep = (0.3, 0.5, 0.7)[seed % 3]
    curves, budget = toys.random_curves(model, seed), Budget(model, cost, keep)
    found = size_aware_plan(curves, budget, model)
    assert found.predicted_loss == pytest.approx(brute_force(curves, budget, model, 16))
    assert found.lower_bound == pytest.approx(found.predicted_loss, abs=1e-5)
    assert model.cost(found.plan).get(cost) <= budget.limit


def test_a_coarse_grid_on_a_longer_chain() -> None:
    model = toys.chain([16, 32, 32, 64, 64])
    curves, budget = toys.random_curves(model, 3), Budget(model, "macs", 0.4)
    coarse, fine = (size_aware_plan(curves, budget, model, choices=n) for n in (4, 16))
    assert coarse.predicted_loss == pytest.approx(brute_force(curves, budget, model, 4))
    assert fine.predicted_loss <= coarse.predicted_loss
    assert all(coarse.plan[g.name] in allowed_counts(budget.bounds[g.name], 4) for g in model.groups)


def test_it_cuts_what_saves_much_before_what_loses_little() -> None:
    """Two groups with the same curve: all the budget's cut goes to the one that costs a hundred times as much."""
    model = toys.chain([100, 10], inputs=100, classes=1)
    curves = toys.curves(model, [[0.1, 0.3], [0.1, 0.3]], [0.5, 0.1])
    plan = size_aware_plan(curves, Budget(model, "macs", 0.5), model, choices=100).plan
    assert plan["l0"] < 60
    assert plan["l1"] == 10


@pytest.mark.parametrize("seed", range(4))
def test_never_worse_than_the_threshold_rule_by_its_own_measure(seed: int) -> None:
    model = toys.stream(16, [12, 10, 8])
    curves, budget = toys.random_curves(model, seed), Budget(model, "macs", 0.5)
    found = size_aware_plan(curves, budget, model)
    plan, _ = threshold_plan_for_budget(curves, budget, model)
    simple = sum(float(curves.loss_increase(name, ratio)) for name, ratio in plan.keep_ratios().items())
    assert found.predicted_loss <= simple + 1e-9


@pytest.mark.parametrize(("name", "choices"), [("resnet18", 8), ("mobilenet_v2", 6)])
@pytest.mark.parametrize("cost", ["macs", "params"])
def test_real_networks_keep_to_the_budget_and_are_solved(
    get_ready: Callable[[str], Network], name: str, choices: int, cost: str
) -> None:
    model = get_ready(name).cost_model
    budget = Budget(model, cost, 0.5)
    free = [g for g in model.groups if g.frozen is None]
    found = size_aware_plan(toys.random_curves(CostModel(free, model.layers), 0), budget, model, choices=choices)
    assert 0.45 * model.cost().get(cost) < model.cost(found.plan).get(cost) <= budget.limit
    assert found.gap < 1e-4


def test_rounding_and_the_smallest_keep_ratio() -> None:
    model = toys.chain([16, 24])
    budget = Budget(model, "macs", 0.5, min_keep=0.5, channel_round=8)
    plan = size_aware_plan(toys.random_curves(model, 1), budget, model).plan
    assert plan["l0"] in (8, 16)
    assert plan["l1"] in (16, 24)


def test_frozen_groups_count_with_their_size() -> None:
    whole = toys.chain([6, 8, 5])
    frozen = toys.group("l1", 8, [("l1", "out"), ("l2", "in")])
    object.__setattr__(frozen, "frozen", "frozen by the user")
    model = CostModel([whole.groups[0], frozen, whole.groups[2]], whole.layers)
    curves, budget = toys.random_curves(whole, 2), Budget(model, "macs", 0.6)
    found = size_aware_plan(curves, budget, model)
    assert found.plan["l1"] == 8
    assert found.predicted_loss == pytest.approx(brute_force(curves, budget, model, 16))


def test_a_budget_that_is_met_to_the_last_multiplication() -> None:
    model = toys.chain([10], inputs=1, classes=1)  # 20 MACs, 2 for each channel
    curves = toys.curves(model, [[0.5]], [0.5])
    assert size_aware_plan(curves, Budget(model, "macs", 0.5), model).plan["l0"] == 5
    assert size_aware_plan(curves, Budget(model, "macs", 0.49), model).plan["l0"] == 4
    assert size_aware_plan(curves, Budget(model, "macs", 1.0), model).plan["l0"] == 10


def test_without_a_solution_in_time_there_is_still_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_aware, "solve", lambda program, seconds: Solution(None, 0.0))
    model = toys.stream(8, [6, 5])
    budget = Budget(model, "macs", 0.5)
    found = size_aware_plan(toys.random_curves(model, 0), budget, model)
    assert model.cost(found.plan).macs <= budget.limit
    assert found.gap == pytest.approx(found.predicted_loss) != 0


def test_a_plan_beyond_the_budget_is_solved_again_more_tightly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver takes limits within a tolerance; here one that ignores them at first."""
    solve, calls = size_aware.solve, []

    def careless(program: object, seconds: float) -> Solution:
        calls.append(program)
        if len(calls) == 1:
            return Solution(tuple(len(values) - 1 for values in program.values), 0.0)  # type: ignore[attr-defined]
        return solve(program, seconds)  # type: ignore[arg-type]

    monkeypatch.setattr(size_aware, "solve", careless)
    model = toys.chain([10], inputs=1, classes=1)
    budget = Budget(model, "macs", 0.9)
    found = size_aware_plan(toys.curves(model, [[0.5]], [0.5]), budget, model)
    assert len(calls) == 2
    assert model.cost(found.plan).macs <= budget.limit


def test_many_couplings_get_a_coarser_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    model = toys.stream(16, [16] * 5)
    monkeypatch.setattr(size_aware, "PAIR_VARIABLES", 5 * 6**2)  # the stream with each of five blocks
    found = size_aware_plan(toys.random_curves(model, 0), Budget(model, "macs", 0.5), model)
    assert found.choices == 6


def test_refusals() -> None:
    model = toys.chain([6, 8])
    curves = toys.random_curves(model, 0)
    with pytest.raises(AmcError, match="needs a budget"):
        size_aware_plan(curves, Budget(model, "macs", None), model)
    with pytest.raises(AmcError, match="choices=1"):
        size_aware_plan(curves, Budget(model, "macs", 0.5), model, choices=1)
    flat = np.ones((len(GRID), len(GRID))).tolist()
    timed = LatencyCostModel(model.groups, model.layers, Rest(), {"l0": flat}, 1.0)
    with pytest.raises(AmcError, match="give macs or params"):
        size_aware_plan(curves, Budget(timed, "latency_ms", 1.0), timed)
