"""Plans beside the uncut network: each cut, recovered and scored in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from amc.data import ImageSet
from amc.preparation import Problem
from amc.report import Scored
from amc.result import score_networks
from amc.types import PruningPlan

UNCUT = "uncut"


@dataclass(frozen=True)
class Compared:
    """Scores of the uncut network (first, as ``uncut``) and of each plan's network, and these networks."""

    scored: Mapping[str, Scored]
    models: Mapping[str, nn.Module]


def compare(problem: Problem, plans: Mapping[str, PruningPlan], test: ImageSet | None) -> Compared:
    """The networks of ``plans``, not fine-tuned, beside the uncut one.

    Args:
        problem: the network, and the evaluator whose validation images and recovery count.
        plans: name → plan.
        test: images for the report only.
    """
    network, evaluator = problem.network, problem.evaluator
    vals = {name: evaluator.in_full(plan) for name, plan in plans.items()}
    models = {name: evaluator.cutter.cut(plan) for name, plan in plans.items()}
    costs = [network.cost_model.cost(plan) for plan in plans.values()]
    scored = score_networks(
        [network.model, *models.values()],
        [network.cost_model.cost(), *costs],
        [evaluator.dense, *vals.values()],
        test,
        network.example,
    )
    return Compared(dict(zip((UNCUT, *plans), scored, strict=True)), models)
