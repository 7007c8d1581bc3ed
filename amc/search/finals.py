"""Finals: the best plans of a search, scored again on all validation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from amc.core.progress import Progress
from amc.core.types import Cost, Episode, Metrics, PruningPlan
from amc.evaluation.evaluator import Evaluation, Evaluator
from amc.rewards import Reward
from amc.task.problem import Problem
from amc.tracking.plans import different

LEAST_DISTANCE = 0.03  # mean absolute difference of two finalists' keep ratios
CALIBRATION_IMAGES = 2048  # at least, if the finals have their own recovery


@dataclass(frozen=True)
class Finalist:
    """One plan twice: ``searched``, as the search saw it, and ``again``, with the finals' metrics and reward."""

    searched: Episode
    again: Episode

    def to_json(self) -> dict[str, Any]:
        """The entry for ``summary.json``; metrics as people read them, accuracies as fractions."""
        looks = {"searched": self.searched, "again": self.again}
        return {
            "episode": self.searched.index,
            **{
                n: {
                    "reward": e.reward,
                    e.metrics.metric: e.metrics.value,
                    "loss": e.metrics.loss,
                    "images": e.metrics.images,
                }
                for n, e in looks.items()
            },
        }


@dataclass(frozen=True)
class Finals:
    """Result of the finals: finalists, best first, and the evaluator that scored them."""

    finalists: tuple[Finalist, ...]
    evaluator: Evaluator

    def line(self) -> str:
        """One line: the best plan's accuracy on the finals' images and on the search's."""
        best = self.finalists[0]
        return (
            f"finals: {len(self.finalists)} plans on {self.evaluator.dense.images} validation images; the best one has "
            f"{best.again.metrics} there, {best.searched.metrics} on the search's "
            f"{best.searched.metrics.images}"
        )


def hold_finals(
    problem: Problem, episodes: Sequence[Episode], reward_of: Callable[[Evaluator], Reward], *, verbose: bool = True
) -> Finals | None:
    """Scores the best ``settings.finalists`` plans again, on all validation images.

    The best of many plans owes part of its score to the few images that it was chosen on; more images tell which of
    several good ones is best (measured in ``experiments/faster_looks``). The finals race if the search does.

    Args:
        problem: the search's; its pruner is used unless the finals have their own recovery.
        episodes: of the search.
        reward_of: evaluator → the search's reward, which may compare with the dense network on the same images.
        verbose: show the progress.

    Returns:
        ``None`` where finals would tell nothing new: no finalists asked for, no plan within the budget, or, without
        their own recovery, a single plan or a search that used all images.
    """
    settings, evaluator = problem.settings, problem.evaluator
    chosen, own = best_different(episodes, settings.finalists), settings.finals_recovery
    if not chosen or (own is None and (len(chosen) < 2 or evaluator.dense.images == len(problem.task.val))):
        return None
    judge = _same_judge(problem) if own is None else _own_judge(problem, own)
    return Finals(judged(chosen, judge, reward_of(judge), problem.network.cost_model.cost(), verbose), judge)


def _same_judge(problem: Problem) -> Evaluator:
    """Evaluator on all validation images, with the search's recovery."""
    settings = problem.settings
    return Evaluator(
        problem.pruner,
        problem.task.val,
        Evaluation(
            settings.batch_size, _precision(problem), early_stop=settings.stop_rule, criterion=problem.task.criterion
        ),
    )


def _own_judge(problem: Problem, recovery: str) -> Evaluator:
    """Evaluator on all validation images, with the finals' own recovery by its default settings."""
    settings, method = problem.settings, problem.method
    images = max(method.calibration_images, CALIBRATION_IMAGES)
    own = replace(method, recovery=recovery, calibration_images=images, recovery_settings={})
    whole = replace(settings, images=None, early_stop=False, precision=_precision(problem))
    return replace(problem, method=own, settings=whole).evaluator


def _precision(problem: Problem) -> str:
    return "bf16" if problem.evaluator.dtype == torch.bfloat16 else "fp32"


def judged(
    chosen: Sequence[Episode],
    evaluate: Callable[[PruningPlan], Metrics],
    reward: Reward,
    original: Cost,
    verbose: bool = True,
) -> tuple[Finalist, ...]:
    """Each episode's plan evaluated again: by reward, best first, but plans that were stopped early last.

    Args:
        chosen: the finalists.
        evaluate: plan → metrics on the finals' images.
        reward: the search's.
        original: the dense network's cost.
        verbose: show the progress.
    """
    found = []
    with Progress("finals: plan", verbose) as progress:
        for number, episode in enumerate(chosen, 1):
            metrics = evaluate(episode.plan)
            again = replace(episode, metrics=metrics, reward=reward(metrics, episode.cost, original))
            found.append(Finalist(episode, again))
            progress.update(number, len(chosen), f"{metrics.metric} {metrics}")
    return tuple(sorted(found, key=lambda f: (-f.again.metrics.images, -f.again.reward)))


def best_different(episodes: Sequence[Episode], most: int) -> list[Episode]:
    """The best eligible episodes (:func:`amc.tracking.plans.eligible`) by reward, with plans unlike each other.

    A converged agent plays many variants of one plan, which share its luck with the search's images. So a plan whose
    keep ratios are near those of a better one is taken only if there are too few others.
    """
    chosen: list[Episode] = []
    near: list[Episode] = []
    for episode in different(episodes):
        if len(chosen) == most:
            break
        unlike = all(_distance(episode.plan, other.plan) >= LEAST_DISTANCE for other in chosen)
        (chosen if unlike else near).append(episode)
    return sorted([*chosen, *near[: most - len(chosen)]], key=lambda e: -e.reward)


def _distance(one: PruningPlan, other: PruningPlan) -> float:
    """Mean absolute difference of the keep ratios, over the groups that either plan cuts."""
    pairs = zip(one.keep_ratios().values(), other.keep_ratios().values(), strict=True)
    differences = [abs(a - b) for a, b in pairs if min(a, b) < 1]
    return sum(differences) / len(differences) if differences else 0.0
