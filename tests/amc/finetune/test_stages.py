from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from amc.core.errors import AmcError
from amc.core.types import PruningPlan
from amc.finetune.stages import doomed_channels, stage_plans
from amc.pruning.network import Network, trace_network


def chain() -> Network:
    model = nn.Sequential(
        nn.Conv2d(3, 40, 3, padding=1), nn.ReLU(), nn.Conv2d(40, 20, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 4),
    )  # fmt: skip
    return trace_network(model, torch.randn(1, 3, 8, 8))


NETWORK = chain()
TOTAL = NETWORK.cost_model.cost().macs


def plan(first: int, second: int) -> PruningPlan:
    return PruningPlan.make(NETWORK.groups, {"0": first, "2": second})


def ratio(plan: PruningPlan) -> float:
    return NETWORK.cost_model.cost(plan).macs / TOTAL


def test_without_stages_there_is_the_plan_alone() -> None:
    assert stage_plans(plan(10, 10), NETWORK.cost_model, []) == (plan(10, 10),)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 20), st.integers(2, 10), st.floats(0.05, 0.95))
def test_a_stage_lies_between_the_uncut_network_and_the_plan(first: int, second: int, share: float) -> None:
    last = plan(first, second)
    asked = ratio(last) + share * (1 - ratio(last))
    between, end = stage_plans(last, NETWORK.cost_model, [asked]) if share > 0.1 else (last, last)
    assert end == last
    assert ratio(last) <= ratio(between) <= asked + 1e-9 or share <= 0.1
    for group in NETWORK.groups:
        assert last[group.name] <= between[group.name] <= group.channels


def test_a_stage_uses_what_it_is_given_as_far_as_whole_channels_go() -> None:
    between, _ = stage_plans(plan(10, 5), NETWORK.cost_model, [0.6])
    assert 0.56 < ratio(between) <= 0.6
    kept = between.keep_ratios()
    assert abs(kept["0"] - kept["2"]) < 0.05  # both plans' ratios are 1/4: so are the shares of the way


def test_the_plans_own_ratio_may_be_written_down() -> None:
    last = plan(20, 10)
    assert stage_plans(last, NETWORK.cost_model, [0.8, round(ratio(last), 2)]) == stage_plans(
        last, NETWORK.cost_model, [0.8]
    )


@pytest.mark.parametrize("stages", [[0.8, 0.9], [0.1], [0.5, 0.5]])
def test_ratios_have_to_fall_to_the_plans(stages: list[float]) -> None:
    with pytest.raises(AmcError, match="stages="):
        stage_plans(plan(20, 10), NETWORK.cost_model, stages)


@pytest.mark.parametrize("stages", [[1.0], [0.0], ["half"], [float("nan")]])
def test_ratios_are_numbers_between_0_and_1(stages: list[float]) -> None:
    with pytest.raises(AmcError, match="stages="):
        stage_plans(plan(20, 10), NETWORK.cost_model, stages)


def test_doomed_are_the_lowest_ranked_that_the_next_plan_drops() -> None:
    ranking = {"0": np.arange(40)[::-1], "2": np.arange(20)}
    doomed = doomed_channels(plan(38, 20), ranking)
    assert list(doomed) == ["0"]  # group 2 keeps everything
    assert doomed["0"].tolist() == [0, 1]
