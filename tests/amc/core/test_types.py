from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amc.core.errors import AmcError
from amc.core.places import ChannelSlice
from amc.core.types import Cost, LayerGroup, Metrics, PruningPlan


def group(name: str = "a", channels: int = 12, step: int = 1, frozen: str | None = None) -> LayerGroup:
    return LayerGroup(name, "conv3x3", channels, step, False, 3, 8, 8, 1, 3, 100, 10, frozen=frozen)


GROUPS = (group("a", 12), group("b", 12, step=4), group("c", 5, frozen="network output"))


@pytest.mark.parametrize(
    ("channels", "step", "channel_round", "ratio", "kept"),
    [
        (12, 1, 1, 0.5, 6),
        (12, 1, 1, 0.01, 1),
        (12, 1, 4, 0.5, 8),  # 6 lies between 4 and 8; 1.5 units are rounded to 2
        (12, 4, 1, 0.3, 4),
        (12, 4, 8, 0.5, 8),
        (12, 4, 3, 0.2, 12),  # the unit is lcm(4, 3) = 12
        (10, 1, 4, 0.99, 8),
        (10, 1, 4, 1.0, 10),  # keeping all needs no rounding
        (6, 1, 8, 0.5, 6),
    ],
)
def test_keep_ratios_become_whole_units(channels: int, step: int, channel_round: int, ratio: float, kept: int) -> None:
    assert group(channels=channels, step=step).round_channels(ratio, channel_round) == kept


@pytest.mark.parametrize(
    ("channels", "step", "channel_round", "min_keep", "fewest"),
    [(12, 1, 1, 0.1, 2), (10, 1, 1, 0.1, 1), (12, 4, 1, 0.1, 4), (12, 1, 8, 0.7, 12), (10, 1, 4, 0.3, 4)],
)
def test_min_channels(channels: int, step: int, channel_round: int, min_keep: float, fewest: int) -> None:
    assert group(channels=channels, step=step).min_channels(min_keep, channel_round) == fewest


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 9), st.floats(0.001, 1), st.floats(0.001, 1))
def test_rounding_stays_in_range_and_keeps_order(
    width: int, step: int, channel_round: int, small: float, large: float
) -> None:
    g = group(channels=width * step, step=step)
    small, large = sorted((small, large))
    low, high = (g.round_channels(r, channel_round) for r in (small, large))
    assert 1 <= low <= high <= g.channels
    assert low % step == 0
    assert high % step == 0
    assert g.min_channels(small, channel_round) >= small * g.channels - 1e-6


def test_a_group_checks_itself() -> None:
    with pytest.raises(ValueError, match="12 channels in steps of 5"):
        group(channels=12, step=5)
    with pytest.raises(ValueError, match="2 positions for 1 channels"):
        ChannelSlice("fc", "in", np.array([0, 1]), np.array([0]))


def test_plan_holds_every_group() -> None:
    plan = PruningPlan.make(GROUPS, {"a": 3})
    assert list(plan) == ["a", "b", "c"]
    assert (plan["a"], plan["b"], plan["c"]) == (3, 12, 5)
    assert plan.keep_ratios() == {"a": 0.25, "b": 1.0, "c": 1.0}


def test_equal_plans_are_one_key() -> None:
    first, second = PruningPlan.make(GROUPS, {"b": 4}), PruningPlan.make(GROUPS, {"a": 12, "b": 4})
    assert {first: 1}[second] == 1
    assert first != PruningPlan.make(GROUPS, {"b": 8})


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"x": 1}, "no group 'x'"),
        ({"a": 0}, "keeps 0 of 12"),
        ({"a": 13}, "keeps 13 of 12"),
        ({"b": 6}, "multiple of 4"),
        ({"c": 4}, "can't be pruned (network output)"),
    ],
)
def test_wrong_plans_are_refused(kept: dict[str, int], message: str) -> None:
    with pytest.raises(AmcError) as caught:
        PruningPlan.make(GROUPS, kept)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.integers(1, 12), st.sampled_from([4, 8, 12]))
def test_plan_json_round_trip(a: int, b: int) -> None:
    plan = PruningPlan.make(GROUPS, {"a": a, "b": b})
    assert PruningPlan.from_json(json.loads(json.dumps(plan.to_json())), GROUPS) == plan


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "is this a plan.json?"),
        ({"format": 99, "groups": {}}, "is this a plan.json?"),
        ({"format": 1, "groups": []}, "is this a plan.json?"),
        ({"format": 1, "groups": {"a": 3}}, "integers 'keep' and 'of'"),
        ({"format": 1, "groups": {"a": {"keep": 2.5, "of": 12}}}, "integers 'keep' and 'of'"),
        ({"format": 1, "groups": {"a": {"keep": 3, "of": 16}}}, "16 channels in the plan and 12 in the model"),
        ({"format": 1, "groups": {"z": {"keep": 3, "of": 16}}}, "no group 'z'"),
    ],
)
def test_damaged_plans_are_refused(data: object, message: str) -> None:
    with pytest.raises(AmcError) as caught:
        PruningPlan.from_json(data, GROUPS)
    assert message in str(caught.value)


def test_plan_files(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with pytest.raises(AmcError, match=r"plan\.json: can't be read"):
        PruningPlan.load(path, GROUPS)
    path.write_text('{"format": 1, "gro')
    with pytest.raises(AmcError, match="no valid JSON"):
        PruningPlan.load(path, GROUPS)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AmcError, match="no valid JSON"):
        PruningPlan.load(path, GROUPS)
    plan = PruningPlan.make(GROUPS, {"a": 7})
    path.write_text(json.dumps(plan.to_json()))
    assert PruningPlan.load(path, GROUPS) == plan


def test_costs_and_metrics_check_themselves() -> None:
    with pytest.raises(ValueError, match="negative"):
        Cost(-1, 0)
    assert Cost(7, 3).get("macs") == 7.0
    with pytest.raises(AmcError, match="no latency table"):
        Cost(7, 3).get("latency_ms")
    with pytest.raises(ValueError, match="not a fraction"):
        Metrics(score=93.0, loss=0.1, images=10)
    with pytest.raises(ValueError, match="not a fraction"):
        Metrics(score=float("nan"), loss=0.1, images=10)
    assert Metrics(0.75, 0.1, 4).error == 0.25
    assert Metrics(0.75, 0.1, 4, {"cut": 1.0}) == Metrics(0.75, 0.1, 4)


def test_a_frozen_group_may_keep_all() -> None:
    assert PruningPlan.make([replace(GROUPS[2])], {"c": 5})["c"] == 5
