"""The search's loop: play an episode, write it down, show it, and go on where an earlier run was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import agents
from amc.core.errors import AmcError
from amc.core.progress import Progress
from amc.core.types import Cost, Episode
from amc.evaluation.evaluator import Evaluator
from amc.search.recorder import Recorder
from amc.tracking.plans import best_episode

Record = Callable[[Episode, Episode], None]  # (finished, best so far)


@dataclass(frozen=True)
class Played:
    """All episodes of a search; ``recording_seconds`` is what writing them down took in this process."""

    episodes: tuple[Episode, ...]
    recording_seconds: float


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
            evaluator.load_state(checkpoint["evaluator"])
        except (ValueError, KeyError, RuntimeError) as error:
            raise AmcError(f"resume: the checkpoint does not fit ({error}); start a new run") from error
    return episodes


def recording(recorder: Recorder | None, agent: agents.Agent, evaluator: Evaluator) -> Record | None:
    """Writes an episode down with all that the next one depends on; ``None`` without a recorder."""
    if recorder is None:
        return None
    return lambda episode, best: recorder.episode(episode, best, agent.state(), evaluator.state())


def play(
    agent: agents.Agent,
    before: Sequence[Episode],
    episodes: int,
    original: Cost,
    allows: Callable[[Cost], bool],
    record: Record | None,
    verbose: bool,
) -> Played:
    """Plays the episodes that are still missing, each recorded as soon as it is finished.

    Ends early when the agent has nothing more to propose.

    Args:
        agent: plays and learns.
        before: finished episodes of an earlier part of the run.
        episodes: how many there may be in all.
        original: the uncut network's cost.
        allows: whether a plan of this cost is within the budget; only then can it be the best.
        record: writes a finished episode down, given it and the best so far; none for a search that leaves nothing.
        verbose: show the progress.
    """
    played = list(before)
    best = best_episode(played) if played else None
    recording = 0.0
    with Progress("episode", verbose, start=len(played)) as progress:
        for index in range(len(played), episodes):
            if agent.finished:
                break
            episode = play_episode(agent, index, allows)
            played.append(episode)
            best = episode if best is None else best_episode((best, episode))
            finished = time.perf_counter()
            if record is not None:
                record(episode, best)
            recording += time.perf_counter() - finished
            progress.update(index + 1, episodes, _status(episode, best, original))
    return Played(tuple(played), recording)


def play_episode(agent: agents.Agent, index: int, allows: Callable[[Cost], bool]) -> Episode:
    """One walk of the agent over all groups, timed. What the evaluator did not take counts as the agent's."""
    started = time.perf_counter()
    outcome = agent.run_episode()
    elapsed = time.perf_counter() - started
    metrics = outcome.info["metrics"]
    timed = replace(metrics, seconds={**metrics.seconds, "agent": elapsed - sum(metrics.seconds.values())})
    plan, cost = outcome.info["plan"], outcome.info["cost"]
    return Episode(index, outcome.reward, plan, timed, cost, elapsed, dict(outcome.scalars), allows(cost))


def _status(episode: Episode, best: Episode, original: Cost) -> str:
    ratio = episode.cost.macs / original.macs
    return (
        f"best {best.reward:.4f} ({best.metrics.accuracy:.2%})  last MACs {ratio:.3f}, "
        f"accuracy {episode.metrics.accuracy:.2%}"
    )
