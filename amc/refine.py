"""A second, closer look at a search's best plans: better recovery, more images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from amc.loop import eligible
from amc.progress import Progress
from amc.rewards import Reward
from amc.types import Cost, Episode, Metrics, PruningPlan

RECOVERY = "sequential"
CALIBRATION_IMAGES = 2048


@dataclass(frozen=True)
class Refined:
    """One plan twice: ``searched``, as the search saw it, and ``again``, with the closer look's metrics and reward."""

    searched: Episode
    again: Episode

    def to_json(self) -> dict[str, Any]:
        """The entry for ``summary.json``; accuracies are fractions."""
        looks = {"searched": self.searched, "again": self.again}
        return {
            "episode": self.searched.index,
            **{
                n: {"reward": e.reward, "accuracy": e.metrics.accuracy, "loss": e.metrics.loss}
                for n, e in looks.items()
            },
        }


def refine(
    episodes: Sequence[Episode],
    most: int,
    evaluate: Callable[[PruningPlan], Metrics],
    reward: Reward,
    original: Cost,
    verbose: bool = True,
) -> tuple[Refined, ...]:
    """The best different plans that a search saw in full judged again, the best by the second look first.

    Args:
        episodes: of the search.
        most: how many plans.
        evaluate: the closer look.
        reward: the search's.
        original: the uncut network's cost.
        verbose: show the progress.
    """
    best: dict[PruningPlan, Episode] = {}
    for episode in sorted(eligible(episodes), key=lambda e: -e.reward):
        best.setdefault(episode.plan, episode)
    refined = []
    with Progress("judging the best plans again:", verbose) as progress:
        chosen = list(best.values())[:most]
        for number, episode in enumerate(chosen, 1):
            metrics = evaluate(episode.plan)
            again = replace(episode, metrics=metrics, reward=reward(metrics, episode.cost, original))
            refined.append(Refined(episode, again))
            progress.update(number, len(chosen), f"accuracy {metrics.accuracy:.2%}")
    return tuple(sorted(refined, key=lambda r: -r.again.reward))
