"""The search's loop: play an episode, write it down, show it, and go on where an earlier run was stopped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import agents
from amc.errors import AmcError
from amc.evaluate import Evaluator
from amc.progress import Progress
from amc.recorder import Recorder
from amc.types import Cost, Episode


@dataclass(frozen=True)
class Played:
    """All episodes of a search; ``recording_seconds`` is what writing them down took in this process."""

    episodes: tuple[Episode, ...]
    recording_seconds: float


def best_episode(episodes: Sequence[Episode]) -> Episode:
    """The one with the highest reward of those that were not stopped early; the first of equals."""
    return max(seen_in_full(episodes), key=lambda episode: episode.reward)


def seen_in_full(episodes: Sequence[Episode]) -> list[Episode]:
    """Those whose plan was scored on all images. The first always is: there is nothing to compare it with."""
    most = max(episode.metrics.images for episode in episodes)
    return [episode for episode in episodes if episode.metrics.images == most]


def restore(agent: agents.Agent, evaluator: Evaluator, recorder: Recorder | None) -> list[Episode]:
    """The episodes of an earlier part of the run, with agent and evaluator as they were after them.

    Raises:
        AmcError: the run is damaged, or it is of another network, other images or another agent.
    """
    episodes, checkpoint = recorder.restore() if recorder else ([], None)
    evaluator.remember({e.plan: e.metrics for e in episodes})
    if checkpoint is not None:
        try:
            agent.load_state(checkpoint["agent"])
            evaluator.load_state(checkpoint.get("evaluator", {}))  # runs from before early stopping have none
        except (ValueError, KeyError, RuntimeError) as error:
            raise AmcError(f"resume: the checkpoint does not fit ({error}); start a new run") from error
    return episodes


def play(
    agent: agents.Agent,
    evaluator: Evaluator,
    before: Sequence[Episode],
    episodes: int,
    original: Cost,
    recorder: Recorder | None,
    verbose: bool,
) -> Played:
    """Plays the episodes that are still missing, each recorded as soon as it is finished.

    Args:
        agent: plays and learns.
        evaluator: what the agent's environment scores plans with; its state is recorded.
        before: finished episodes of an earlier part of the run.
        episodes: how many there shall be in all.
        original: the uncut network's cost.
        recorder: writes every episode down; none for a search that leaves nothing behind.
        verbose: show the progress.
    """
    played = list(before)
    best = best_episode(played) if played else None
    recording = 0.0
    with Progress("episode", verbose, start=len(played)) as progress:
        for index in range(len(played), episodes):
            episode = play_episode(agent, index)
            played.append(episode)
            best = episode if best is None else best_episode((best, episode))
            finished = time.perf_counter()
            if recorder:
                recorder.episode(episode, best, agent.state(), evaluator.state())
            recording += time.perf_counter() - finished
            progress.update(index + 1, episodes, _status(episode, best, original))
    return Played(tuple(played), recording)


def play_episode(agent: agents.Agent, index: int) -> Episode:
    """One walk of the agent over all groups, timed. What the evaluator did not take counts as the agent's."""
    started = time.perf_counter()
    outcome = agent.run_episode()
    elapsed = time.perf_counter() - started
    metrics = outcome.info["metrics"]
    timed = replace(metrics, seconds={**metrics.seconds, "agent": elapsed - sum(metrics.seconds.values())})
    plan, cost = outcome.info["plan"], outcome.info["cost"]
    return Episode(index, outcome.reward, plan, timed, cost, elapsed, dict(outcome.scalars))


def _status(episode: Episode, best: Episode, original: Cost) -> str:
    ratio = episode.cost.macs / original.macs
    return (
        f"best {best.reward:.4f} ({best.metrics.accuracy:.2%})  last MACs {ratio:.3f}, "
        f"accuracy {episode.metrics.accuracy:.2%}"
    )
