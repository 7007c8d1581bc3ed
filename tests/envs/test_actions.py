from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amc.pruning.budget import Budget
from envs.actions import STEPS, asked_channels, keep_ratio, uniform_action, uniform_plan
from tests.support import toys
from tests.support.chains import chain


def test_keep_ratio_spans_min_keep_to_one() -> None:
    assert [keep_ratio(a, 0.2) for a in (0.0, 0.5, 1.0)] == pytest.approx([0.2, 0.6, 1.0])


def test_no_budget_means_everything_is_kept() -> None:
    model = chain([8, 8])
    assert uniform_action(Budget(model, keep=None)) == 1.0
    assert uniform_action(Budget(model, keep=1.0)) == 1.0


def test_uniform_action_of_one_layer() -> None:
    # One group of 100 channels: (3 + 5) · kept ≤ 0.5 · 800, so 50 are kept: keep ratio < 50.5 %, action < 0.405 / 0.9.
    model = chain([100])
    budget = Budget(model, keep=0.5, min_keep=0.1)
    assert uniform_action(budget) == pytest.approx(0.405 / 0.9, abs=2e-6)


@given(
    widths=st.lists(st.integers(4, 40), min_size=1, max_size=6),
    keep=st.floats(0.3, 0.99),
    min_keep=st.sampled_from([0.05, 0.1, 0.25]),
)
def test_uniform_action_fits_unclipped_and_the_next_does_not(widths: list[int], keep: float, min_keep: float) -> None:
    model = chain(widths)
    budget = Budget(model, keep=max(keep, 0.5), min_keep=min_keep)
    action = uniform_action(budget)
    assert float(np.float32(action)) == action, "the action space must hold it exactly"
    partial: dict[str, int] = {}
    for group in budget.groups:
        asked = max(asked_channels(group, action, budget), budget.floor[group.name])
        assert budget.clip(group, asked, partial) == asked
        partial[group.name] = asked
    assert model.macs(model.counts(partial)) <= budget.limit
    if action < 1:
        more = {g.name: max(asked_channels(g, action + 1 / STEPS, budget), budget.floor[g.name]) for g in budget.groups}
        assert model.macs(model.counts(more)) > budget.limit


def test_the_uniform_plan_is_the_largest_that_fits() -> None:
    model = toys.chain([10, 10], inputs=1, classes=1)  # 10 · 1 + 10 · 10 + 1 · 10 = 120 MACs; 7: 63, 8: 80
    budget = Budget(model, "macs", None)
    assert [uniform_plan(budget, limit)["l0"] for limit in (79, 80, 63)] == [7, 8, 7]
    assert uniform_plan(budget, 120)["l0"] == 10
    assert uniform_plan(Budget(model, "macs", None, min_keep=0.3), 1)["l1"] == 3


@pytest.mark.parametrize("cost", ["macs", "params"])
def test_uniform_on_a_residual_stream(cost: str) -> None:
    model = toys.stream(8, [6, 4])
    limit = 0.5 * model.cost().get(cost)
    plan = uniform_plan(Budget(model, cost, None), limit)
    assert 0.35 * model.cost().get(cost) < model.cost(plan).get(cost) <= limit
