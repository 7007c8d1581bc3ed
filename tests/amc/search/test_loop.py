"""The loop plays as many episodes as asked for, or as the agent has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import agents
from amc.core.types import Cost, Metrics, PruningPlan
from amc.search.loop import play
from amc.tracking.plans import best_episode

COST = Cost(macs=100, params=10)


class Counting(agents.Agent):
    """Has ``proposals`` plans to propose."""

    name = "counting"

    def __init__(self, proposals: int) -> None:
        self.proposals, self.played = proposals, 0

    @property
    def finished(self) -> bool:
        return self.played >= self.proposals

    def run_episode(self) -> agents.EpisodeOutcome:
        self.played += 1
        info = {"metrics": Metrics(0.5, 1.0, 10), "plan": PruningPlan((), ()), "cost": COST}
        return agents.EpisodeOutcome(info, float(self.played))

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def save_policy(self, folder: str | Path) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(("proposals", "asked", "played"), [(3, 5, 3), (5, 5, 5), (9, 5, 5)])
def test_ends_when_the_agent_has_finished(proposals: int, asked: int, played: int) -> None:
    found = play(Counting(proposals), (), asked, COST, lambda cost: True, record=None, verbose=False)
    assert [e.reward for e in found.episodes] == [float(i + 1) for i in range(played)]


def test_a_finished_agent_plays_nothing_more() -> None:
    agent = Counting(3)
    before = play(agent, (), 5, COST, lambda cost: True, record=None, verbose=False).episodes
    assert play(agent, before, 5, COST, lambda cost: True, record=None, verbose=False).episodes == before


def test_only_a_plan_within_the_budget_is_the_best() -> None:
    before = play(Counting(2), (), 2, COST, lambda cost: False, record=None, verbose=False).episodes
    found = play(Counting(1), before, 3, COST, lambda cost: True, record=None, verbose=False).episodes
    assert [(e.reward, e.within_budget) for e in found] == [(1.0, False), (2.0, False), (1.0, True)]
    assert best_episode(found) is found[2]
