from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amc.pruning.budget import Budget
from envs.actions import asked_channels, uniform_action
from envs.projection import ask_for, project, ramp
from tests.support.chains import chain


def test_one_layer() -> None:
    # One group of 100 channels: (3 + 5) · kept ≤ 0.5 · 800, so 50 are kept, whatever was asked for.
    model = chain([100])
    budget = Budget(model, keep=0.5)
    assert [project([action], budget) for action in (0.0, 0.3, 1.0)] == [{"0": 50}] * 3


def test_without_a_budget_the_actions_count() -> None:
    model = chain([10, 20])
    budget = Budget(model, keep=None, min_keep=0.1)
    # 0.1 + 0.9 · 0 = 0.1 of 10; 0.1 + 0.9 / 3 = 0.4 of 20
    assert project([0.0, 1 / 3], budget) == {"0": 1, "1": 8}


def test_equal_actions_give_the_uniform_plan_or_a_little_more() -> None:
    model = chain([16, 16, 32, 32])
    budget = Budget(model, keep=0.5)
    action = uniform_action(budget)
    uniform = {g.name: asked_channels(g, action, budget) for g in budget.groups}
    projected = project([0.5] * 4, budget)
    assert all(0 <= projected[name] - uniform[name] <= 1 for name in uniform)


@given(data=st.data(), widths=st.lists(st.integers(4, 40), min_size=1, max_size=6), keep=st.floats(0.3, 1.0))
def test_within_the_budget_and_nothing_more_fits(data: st.DataObject, widths: list[int], keep: float) -> None:
    model = chain(widths)
    budget = Budget(model, keep=max(keep, 0.5), channel_round=data.draw(st.sampled_from([1, 2])))
    actions = data.draw(st.lists(st.floats(0, 1), min_size=len(widths), max_size=len(widths)))
    kept = project(actions, budget)
    assert model.macs(model.counts(kept)) <= budget.limit
    for group in budget.groups:
        assert budget.floor[group.name] <= kept[group.name] <= group.channels
        more = budget.bounds[group.name].more(kept[group.name])
        assert more == kept[group.name] or model.macs(model.counts({**kept, group.name: more})) > budget.limit


@given(widths=st.lists(st.integers(1, 300), min_size=1, max_size=5), min_keep=st.sampled_from([0.05, 0.1, 0.5, 1.0]))
def test_actions_ask_for_just_these_channels(widths: list[int], min_keep: float) -> None:
    model = chain(widths)
    budget = Budget(model, keep=None, min_keep=min_keep)
    for kept in (budget.floor, {g.name: (g.channels + budget.floor[g.name]) // 2 for g in budget.groups}):
        asked = ask_for(kept, budget)
        assert {g.name: asked_channels(g, a, budget) for g, a in zip(budget.groups, asked, strict=True)} == kept


def test_ramps() -> None:
    assert ramp(3, rising=True) == pytest.approx((0.25, 0.5, 0.75))
    assert ramp(3, rising=False) == pytest.approx((0.75, 0.5, 0.25))
