"""Every agent, heuristic and enforcement obeys floors, ceilings, units and given ratios, and the budget."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agents
from agents.base import play_actions
from amc.analysis.heuristics.hints import hints_of
from amc.analysis.heuristics.threshold import threshold_plan
from amc.core.types import Metrics, PruningPlan
from amc.pruning.budget import Budget
from amc.pruning.cost import CostModel
from amc.rewards import accuracy
from envs.actions import uniform_plan
from envs.channel_pruning import ChannelPruningEnv
from envs.projection import ask_for, project
from tests.support.bounded import bounded, obeys
from tests.support.toys import chain, random_curves

EPISODES = 6
SMALL: dict[str, Any] = {"hidden": [4], "batch_size": 4, "warmup_episodes": 2}
SETTINGS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("ddpg", "amc", "td3", "sac"), SMALL),
    "ppo": {"hidden": [4], "rollout_episodes": 2, "batch_episodes": 2},
    "netadapt": {"steps": 2},
}


def walk(model: CostModel, budget: Budget, enforcement: str) -> ChannelPruningEnv:
    """With all heuristics; more channels are better, of the first group most."""

    def evaluate(plan: PruningPlan) -> Metrics:
        ratios = list(plan.keep_ratios().values())
        return Metrics(sum(r / (i + 1) for i, r in enumerate(ratios)) / len(ratios), 1.0, 10)

    amounts = {g.name: 1.0 + i for i, g in enumerate(budget.groups)}
    return ChannelPruningEnv(
        model, budget, evaluate, accuracy,
        enforcement=enforcement,  # type: ignore[arg-type]
        plans=hints_of(random_curves(model, 0), budget, model).plans,
        measured={"response": amounts, "price": amounts},
    )  # fmt: skip


@pytest.mark.parametrize("name", agents.NAMES)
@settings(max_examples=12)
@given(case=bounded(), enforcement=st.sampled_from(["project", "clip"]))
def test_every_agents_plans(name: str, case: tuple[CostModel, dict[str, Any]], enforcement: str) -> None:
    model, arguments = case
    budget = Budget(model, **arguments)
    free = agents.has_free_budget(name)
    agent = agents.make(
        name, walk(model, budget, "free" if free else enforcement), 0, EPISODES, **SETTINGS.get(name, {})
    )
    for episode in range(EPISODES):
        if agent.finished:
            assert episode > 0
            break
        info = agent.run_episode().info
        assert obeys(dict(info["plan"].kept), model, arguments)
        assert free or info["cost"].macs <= budget.limit


def test_where_ceilings_save_enough_netadapt_plays_the_largest_plan() -> None:
    model = chain([10, 10])
    budget = Budget(model, keep=0.9, constraints={"*": {"max_keep": 0.5}})
    agent = agents.make("netadapt", walk(model, budget, "free"), 0, EPISODES, steps=2)
    assert not agent.finished
    assert dict(agent.run_episode().info["plan"].kept) == {"l0": 5, "l1": 5}
    assert agent.finished


@settings(max_examples=150)
@given(case=bounded(limited=False), data=st.data())
def test_every_enforcement_of_any_actions(case: tuple[CostModel, dict[str, Any]], data: st.DataObject) -> None:
    model, arguments = case
    budget = Budget(model, **arguments)
    n = len(budget.groups)
    actions = data.draw(st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n))
    for enforcement in ("project", "clip", "free"):
        walked = ChannelPruningEnv(
            model, budget, lambda plan: Metrics(0.5, 1.0, 10), accuracy,
            enforcement=enforcement,  # type: ignore[arg-type]
        )  # fmt: skip
        info = play_actions(walked, actions).info
        assert obeys(dict(info["plan"].kept), model, arguments)
        assert enforcement == "free" or info["cost"].macs <= budget.limit
    kept = project(actions, budget)
    assert play_actions(walked, ask_for(kept, budget)).info["plan"] == PruningPlan.make(model.groups, kept)


@settings(max_examples=100)
@given(case=bounded(), seed=st.integers(0, 9), drop=st.floats(0, 1))
def test_every_heuristics_plan(case: tuple[CostModel, dict[str, Any]], seed: int, drop: float) -> None:
    model, arguments = case
    budget = Budget(model, **arguments)
    curves = random_curves(model, seed)
    for kept in hints_of(curves, budget, model).plans.values():
        assert obeys(kept, model, arguments)
        assert budget.fits(kept)
    assert obeys(dict(threshold_plan(curves, model.groups, drop, budget.limits).kept), model, arguments)
    uniform = uniform_plan(budget, budget.limit)
    assert obeys(uniform, model, arguments)
    assert budget.fits(uniform)
