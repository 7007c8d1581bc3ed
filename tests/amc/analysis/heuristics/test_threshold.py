from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amc.analysis.heuristics.threshold import threshold_plan, threshold_plan_for_budget
from amc.core.errors import AmcError
from amc.pruning.budget import Budget
from amc.pruning.constraints import Limits
from tests.support import toys

MODEL = toys.chain([10, 10])
# l0 loses 0.1 for each channel; l1 nothing down to 5 and then 0.2 for each
CURVES = toys.curves(MODEL, [[0.5, 0.9], [0.0, 0.8]], [0.5, 0.1])


@pytest.mark.parametrize(
    ("drop", "kept"), [(0.0, [10, 5]), (0.09, [10, 5]), (0.1, [9, 5]), (0.25, [8, 4]), (0.5, [5, 3]), (1.0, [1, 1])]
)
def test_fewest_channels_within_the_drop(drop: float, kept: list[int]) -> None:
    plan = threshold_plan(CURVES, MODEL.groups, drop)
    assert [plan["l0"], plan["l1"]] == kept


def test_smallest_keep_ratio_and_rounding_are_respected() -> None:
    plan = threshold_plan(CURVES, MODEL.groups, 1.0, Limits(min_keep=0.3))
    assert [plan["l0"], plan["l1"]] == [3, 3]
    plan = threshold_plan(CURVES, MODEL.groups, 0.1, Limits(channel_round=4))
    assert [plan["l0"], plan["l1"]] == [10, 8]


def test_a_group_that_may_not_keep_enough_keeps_the_most_it_may() -> None:
    plan = threshold_plan(CURVES, MODEL.groups, 0.0, Limits(constraints={"l0": {"max_keep": 0.6}}))
    assert [plan["l0"], plan["l1"]] == [6, 5]


def test_a_bump_is_not_skipped() -> None:
    """At 5 channels the group looks fine again, but no cut passes below the drop at 8."""
    model = toys.chain([10])
    bumpy = toys.curves(model, [[0.2, 0.0, 0.9]], [0.8, 0.5, 0.1])
    assert threshold_plan(bumpy, model.groups, 0.1)["l0"] == 9


def test_for_a_budget_the_smallest_drop_that_meets_it() -> None:
    budget = Budget(MODEL, "macs", 0.5)
    plan, drop = threshold_plan_for_budget(CURVES, budget, MODEL)
    # 180 MACs: 3 · a + a · b + 5 · b ≤ 90; the drop 0.1: 9 and 5: 97; 0.2: 8 and 4: 76
    assert [plan["l0"], plan["l1"]] == [8, 4]
    assert drop == pytest.approx(0.2)
    again = threshold_plan(CURVES, MODEL.groups, drop)
    assert again == plan


@given(st.floats(0.1, 1), st.integers(0, 20), st.sampled_from(["macs", "params"]))
def test_the_plan_meets_the_budget_and_a_smaller_drop_does_not(keep: float, seed: int, cost: str) -> None:
    model = toys.stream(8, [6, 9, 4])
    curves, budget = toys.random_curves(model, seed), Budget(model, cost, keep)
    plan, drop = threshold_plan_for_budget(curves, budget, model)
    assert model.cost(plan).get(cost) <= budget.limit
    if drop > 1e-6:
        smaller = threshold_plan(curves, model.groups, drop - 1e-6)
        assert model.cost(smaller).get(cost) > budget.limit


def test_what_is_left_of_the_budget_goes_back() -> None:
    """No group loses anything, so the rule alone would cut all to a tenth and save three times what is asked for."""
    model = toys.chain([10, 10])
    flat = toys.curves(model, [[0.0], [0.0]], [0.1])
    plan, drop = threshold_plan_for_budget(flat, Budget(model, "macs", 0.5), model)
    # 3 · a + a · b + 5 · b ≤ 90 of 180 with a = b: 6 gives 84, 7 gives 105
    assert ([plan["l0"], plan["l1"]], drop) == ([6, 6], 0.0)


def test_without_a_budget_nothing_may_be_lost() -> None:
    plan, drop = threshold_plan_for_budget(CURVES, Budget(MODEL, "macs", None), MODEL)
    assert ([plan["l0"], plan["l1"]], drop) == ([10, 5], 0.0)


def test_impossible_drop() -> None:
    with pytest.raises(AmcError, match=r"accuracy_drop=1\.5"):
        threshold_plan(CURVES, MODEL.groups, 1.5)
