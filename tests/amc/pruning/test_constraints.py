"""What is asked of all groups and of some, as each group's bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from amc.core.errors import AmcError
from amc.core.types import LayerGroup
from amc.pruning.budget import Budget
from amc.pruning.constraints import Limits
from tests.support import toys


def group(name: str, channels: int, kind: str = "conv3x3", frozen: str | None = None, step: int = 1) -> LayerGroup:
    """Its channels are made by ``name``, normed by ``name.bn`` and read by ``name.reader``."""
    slices = [(name, "out"), (f"{name}.bn", "out"), (f"{name}.reader", "in")]
    return replace(toys.group(name, channels, slices, step), kind=kind, frozen=frozen)


GROUPS = [group("a.0", 10), group("a.1", 64), group("b", 16, "linear"), group("c", 8, frozen="network output")]


def bounds(**limits: Any) -> dict[str, tuple[int, int, int]]:
    """Name of a group → fewest and most channels, and the unit."""
    return {name: (b.lowest, b.highest, b.unit) for name, b in Limits(**limits).of(GROUPS).items()}


def test_of_all_groups() -> None:
    assert bounds() == {"a.0": (1, 10, 1), "a.1": (7, 64, 1), "b": (2, 16, 1)}
    assert bounds(min_channels=12) == {"a.0": (10, 10, 1), "a.1": (12, 64, 1), "b": (12, 16, 1)}
    assert bounds(min_channels=12, channel_round=8) == {"a.0": (10, 10, 8), "a.1": (16, 64, 8), "b": (16, 16, 8)}


def test_rounding_by_kind() -> None:
    assert bounds(channel_round={"linear": 8}) == {"a.0": (1, 10, 1), "a.1": (7, 64, 1), "b": (8, 16, 8)}
    assert bounds(channel_round={"*": 2, "conv*": 4})["a.1"] == (8, 64, 4)
    assert bounds(channel_round={"conv*": 4, "*": 2})["a.1"] == (8, 64, 2)


def test_of_some_groups() -> None:
    # 0.25 of 10 is 3 in whole channels, 0.9 of 64 is 57
    found = bounds(constraints={"a.*": {"min_keep": 0.25, "max_keep": 0.9}, "b": {"min_channels": 5}})
    assert found == {"a.0": (3, 9, 1), "a.1": (16, 57, 1), "b": (5, 16, 1)}
    assert bounds(constraints={"a.1": {"channel_round": 8, "max_keep": 0.9}})["a.1"] == (8, 56, 8)
    assert bounds(constraints={"a.1": {"min_keep": 0.01}})["a.1"] == (1, 64, 1)  # in place of budget.min_keep


def test_later_patterns_win_key_by_key() -> None:
    constraints = {"*": {"min_keep": 0.5, "max_keep": 0.75}, "a.1": {"min_keep": 0.25}}
    assert bounds(constraints=constraints) == {"a.0": (5, 7, 1), "a.1": (16, 48, 1), "b": (8, 12, 1)}
    turned = dict(reversed(constraints.items()))
    assert bounds(constraints=turned)["a.1"] == (32, 48, 1)


def test_a_given_ratio_is_rounded_and_takes_the_place_of_what_all_groups_share() -> None:
    assert bounds(constraints={"a.1": {"keep": 0.05}}, min_keep=0.5)["a.1"] == (3, 3, 1)  # 3.2
    assert bounds(constraints={"a.1": {"keep": 0.05}}, channel_round=8, min_channels=16)["a.1"] == (8, 8, 8)
    assert bounds(constraints={"a.1": {"keep": 1.0}})["a.1"] == (64, 64, 1)
    assert bounds(constraints={"*": {"min_keep": 0.5}, "b": {"keep": 0.75}})["b"] == (12, 12, 1)


def test_a_group_is_known_by_the_layers_that_have_its_channels() -> None:
    assert bounds(constraints={"a.0.bn": {"max_keep": 0.5}})["a.0"] == (1, 5, 1)
    with pytest.raises(AmcError, match=r"constraints: 'a\.0\.reader' matches no layer"):
        bounds(constraints={"a.0.reader": {"max_keep": 0.5}})


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (
            {"constraints": {"d.*": {"keep": 0.5}}},
            "constraints: 'd.*' matches no layer; give names or patterns such as",
        ),
        (
            {"constraints": {"c": {"keep": 0.5}}},
            "constraints: 'c' matches only what can't be pruned (group c: network output); leave it out",
        ),
        (
            {"constraints": {"a.*": {"min_keep": 0.9}, "a.1": {"max_keep": 0.5}}},
            "constraints.a.*.min_keep=0.9 asks for at least 58 of the 64 channels of group a.1, but "
            "constraints.a.1.max_keep=0.5 allows 32; raise max_keep, or ask for fewer there",
        ),
        (
            {"constraints": {"a.1": {"max_keep": 0.05}}},
            "budget.min_keep=0.1 asks for at least 7 of the 64 channels of group a.1, but "
            "constraints.a.1.max_keep=0.05 allows 3; raise max_keep, or ask for fewer there",
        ),
        (
            {"constraints": {"b": {"max_keep": 0.9}}, "channel_round": 16},
            "budget.min_keep=0.1 asks for at least 16 of the 16 channels in units of 16 of group b, but "
            "constraints.b.max_keep=0.9 allows none; raise max_keep, or ask for fewer there",
        ),
        (
            {"constraints": {"a.1": {"keep": 0.5, "min_channels": 40}}},
            "constraints.a.1.keep=0.5 gives 32 of the 64 channels of group a.1, but constraints.a.1.min_channels=40 "
            "asks for at least 40; give one of them",
        ),
        (
            {"constraints": {"a.1": {"keep": 0.5, "max_keep": 0.25}}},
            "constraints.a.1.keep=0.5 gives 32 of the 64 channels of group a.1, but constraints.a.1.max_keep=0.25 "
            "allows 16; give one of them",
        ),
        (
            {"channel_round": {"liner": 8}},
            "budget.channel_round: 'liner' matches no kind; this network has conv3x3, linear",
        ),
    ],
)
def test_what_cannot_be_is_one_line(limits: dict[str, Any], says: str) -> None:
    with pytest.raises(AmcError) as caught:
        bounds(**limits)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"channel_round": 65}, "budget.channel_round=65: no layer group has more than 64 channels"),
        ({"channel_round": {"linear": 32}}, "budget.channel_round.linear=32: no layer group that this is for has more"),
        ({"constraints": {"b": {"channel_round": 32}}}, "constraints.b.channel_round=32: no layer group that this is"),
    ],
)
def test_a_rounding_beyond_the_groups_that_it_is_for(limits: dict[str, Any], says: str) -> None:
    with pytest.raises(AmcError) as caught:
        Limits(**limits).check_rounding(GROUPS)
    assert str(caught.value).startswith(says)
    Limits(channel_round={"conv*": 64}, constraints={"b": {"channel_round": 16}}).check_rounding(GROUPS)


def test_in_words() -> None:
    limits = Limits(channel_round={"linear": 8}, constraints={"a.0": {"keep": 0.5}})
    assert limits.words(GROUPS) == {"a.0": "5", "a.1": "7 … 64", "b": "8 … 16 by 8"}
    assert Limits().words(GROUPS) == {}


def test_a_budget_below_the_floors_names_what_holds_them_up() -> None:
    model = toys.chain([10, 10])  # 3 · 10 + 10 · 10 + 10 · 5 = 180 MACs
    constraints = {"l0": {"min_keep": 0.8}}
    # 3 · 8 + 8 · 2 + 2 · 5 = 50 with at least two channels of l1
    with pytest.raises(AmcError) as caught:
        Budget(model, keep=0.27, min_channels=2, constraints=constraints)
    assert str(caught.value) == (
        "budget.keep=0.27: can't be reached; with min_keep=0.1 and min_channels=2 and the constraints the smallest "
        "reachable value is 0.2778 of the macs. Raise budget.keep or lower min_keep or min_channels or the constraints."
    )
    assert Budget(model, keep=0.28, min_channels=2, constraints=constraints).smallest == pytest.approx(50 / 180)


def test_ceilings_below_the_budget_are_no_error() -> None:
    budget = Budget(toys.chain([10]), keep=0.9, constraints={"l0": {"max_keep": 0.5}})
    assert [budget.clip(budget.groups[0], n, {}) for n in (1, 5, 10)] == [1, 5, 5]


def test_the_smallest_action_asks_for_the_least_of_any_group() -> None:
    model = toys.chain([10, 10])
    assert Budget(model).least_keep == 0.1
    assert Budget(model, constraints={"l0": {"min_keep": 0.05}}).least_keep == 0.05
    assert Budget(model, constraints={"l0": {"keep": 0.01}}).least_keep == 0.1  # nothing is searched there
    assert Budget(model, keep=None, constraints={"*": {"min_keep": 0.5}}).least_keep == 0.5
