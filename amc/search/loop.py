"""One agent's episodes: each network in turn, until there are enough or the agent has nothing more to propose."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import agents
from amc.core.progress import Progress
from amc.core.types import Cost, Episode


class Player(Protocol):
    """A network's part of the search, as the loop sees it."""

    @property
    def finished(self) -> int:
        """How many episodes were played on it."""

    def play_one(self, agent: agents.Agent) -> str:
        """The next episode, recorded; a line about it for the progress."""


def play(agent: agents.Agent, networks: Sequence[Player], episodes: int, verbose: bool) -> None:
    """Plays the episodes that are still missing, ``episodes`` on each network in all, each recorded when it ends."""
    done, total = sum(network.finished for network in networks), episodes * len(networks)
    with Progress("episode", verbose, start=done) as progress:
        for index in range(done, total):
            if agent.finished:
                break
            progress.update(index + 1, total, networks[index % len(networks)].play_one(agent))


def play_episode(agent: agents.Agent, index: int, allows: Callable[[Cost], bool]) -> Episode:
    """One walk of the agent over all groups, timed. What the evaluator did not take counts as the agent's."""
    started = time.perf_counter()
    outcome = agent.run_episode()
    elapsed = time.perf_counter() - started
    metrics = outcome.info["metrics"]
    timed = replace(metrics, seconds={**metrics.seconds, "agent": elapsed - sum(metrics.seconds.values())})
    plan, cost = outcome.info["plan"], outcome.info["cost"]
    return Episode(index, outcome.reward, plan, timed, cost, elapsed, dict(outcome.scalars), allows(cost))
