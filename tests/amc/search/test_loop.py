"""The loop plays as many episodes as asked for, or as the agent has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import agents
from amc.core.types import Cost, Episode, Metrics, PruningPlan
from amc.search.loop import play, play_episode
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


class Place:
    """A network on which the agent plays."""

    def __init__(self, allows: bool = True) -> None:
        self.episodes: list[Episode] = []
        self.allows = allows

    @property
    def finished(self) -> int:
        return len(self.episodes)

    def play_one(self, agent: agents.Agent) -> str:
        self.episodes.append(play_episode(agent, self.finished, lambda cost: self.allows))
        return ""


@pytest.mark.parametrize(("proposals", "asked", "played"), [(3, 5, 3), (5, 5, 5), (9, 5, 5)])
def test_ends_when_the_agent_has_finished(proposals: int, asked: int, played: int) -> None:
    place = Place()
    play(Counting(proposals), [place], asked, verbose=False)
    assert [e.reward for e in place.episodes] == [float(i + 1) for i in range(played)]


def test_a_finished_agent_plays_nothing_more() -> None:
    agent, place = Counting(3), Place()
    play(agent, [place], 5, verbose=False)
    play(agent, [place], 5, verbose=False)
    assert len(place.episodes) == 3


def test_several_networks_take_turns_also_when_it_goes_on() -> None:
    agent, places = Counting(100), [Place(), Place(), Place()]
    places[0].play_one(agent)  # what an earlier part of the run played
    play(agent, places, 2, verbose=False)
    assert [[e.reward for e in place.episodes] for place in places] == [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]


def test_only_a_plan_within_the_budget_is_the_best() -> None:
    place = Place(allows=False)
    play(Counting(2), [place], 2, verbose=False)
    place.allows = True
    play(Counting(1), [place], 3, verbose=False)
    found = place.episodes
    assert [(e.reward, e.within_budget) for e in found] == [(1.0, False), (2.0, False), (1.0, True)]
    assert best_episode(found) is found[2]
