"""The episode loop: each network in turn, until all episodes are played or the agent is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import agents
from amc.core.progress import Progress
from amc.core.types import Cost, Episode


class Player(Protocol):
    """A network's search, as far as the loop needs it."""

    @property
    def finished(self) -> int:
        """Number of episodes played on it."""

    def play_one(self, agent: agents.Agent) -> str:
        """Plays and records the next episode; returns a line for the progress."""


def play(agent: agents.Agent, networks: Sequence[Player], episodes: int, verbose: bool) -> None:
    """Plays the remaining episodes, up to ``episodes`` on each network; each is recorded when it ends."""
    done, total = sum(network.finished for network in networks), episodes * len(networks)
    with Progress("episode", verbose, start=done) as progress:
        for index in range(done, total):
            if agent.finished:
                break
            progress.update(index + 1, total, networks[index % len(networks)].play_one(agent))


def play_episode(agent: agents.Agent, index: int, allows: Callable[[Cost], bool]) -> Episode:
    """One timed episode of the agent. Time outside the evaluator counts as the agent's."""
    started = time.perf_counter()
    outcome = agent.run_episode()
    elapsed = time.perf_counter() - started
    metrics = outcome.info["metrics"]
    timed = replace(metrics, seconds={**metrics.seconds, "agent": elapsed - sum(metrics.seconds.values())})
    plan, cost = outcome.info["plan"], outcome.info["cost"]
    return Episode(index, outcome.reward, plan, timed, cost, elapsed, dict(outcome.scalars), allows(cost))
