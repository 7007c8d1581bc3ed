"""Sensitivity curves for a search: the heuristics' plans, and a sensitivity prior for each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from amc.analysis.curve_cache import curves_for
from amc.analysis.curves import Curves
from amc.analysis.heuristics.choose import RULES, Questions, check_budget, choose
from amc.core.checks import number, text, whole
from amc.core.errors import damaged
from amc.core.files import read_json, write_json
from amc.core.types import LayerGroup, PruningPlan
from amc.pruning.budget import Budget
from amc.pruning.cost import CostModel
from amc.task.problem import Problem

HALF = 0.5  # the keep ratio at which groups are compared


@dataclass(frozen=True)
class Hints:
    """Results of the sensitivity analysis before the first episode.

    Attributes:
        plans: heuristic → group name → kept channels, each within the budget.
        prior: group name → sensitivity in [0, 1], see :func:`prior_of`.
        evaluations: number of plans evaluated for the curves; a fair comparison counts them.
        seconds: time that they took, cached ones included.
    """

    plans: Mapping[str, Mapping[str, int]]
    prior: Mapping[str, float]
    evaluations: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain data, read back by :meth:`from_json`."""
        plans = {name: dict(plan) for name, plan in self.plans.items()}
        return {"plans": plans, "prior": dict(self.prior), "evaluations": self.evaluations, "seconds": self.seconds}

    @classmethod
    def from_json(cls, data: Any, groups: Sequence[LayerGroup]) -> Hints:
        """Checks ``data`` against ``groups``.

        Raises:
            AmcError: a plan of another network.
            TypeError, LookupError, ValueError: something else.
        """
        plans = {text(rule): {text(g): whole(n, 1) for g, n in plan.items()} for rule, plan in data["plans"].items()}
        for plan in plans.values():
            PruningPlan.make(groups, plan)
        prior = {text(group): number(value, 0, 1) for group, value in data["prior"].items()}
        if missing := {g.name for g in groups if g.frozen is None} - set(prior):
            raise ValueError(f"no sensitivity of {min(missing)}")
        return cls(plans, prior, whole(data["evaluations"]), number(data["seconds"], 0))


def prior_of(curves: Curves) -> dict[str, float]:
    """Group → its loss increase at half its channels, d, as d / (d + the median group's): ½ for the median group.

    A fraction, so that it means the same on every network; 0 for a group that loses nothing.
    """
    harm = {name: float(curves.loss_increase(name, HALF)) for name in curves.names}
    median = float(np.median(list(harm.values())))
    return {name: d / (d + median) if d > 0 else 0.0 for name, d in harm.items()}


def hints_of(curves: Curves, budget: Budget, cost_model: CostModel) -> Hints:
    """The heuristics' plans under ``budget``, and each group's sensitivity."""
    chosen = [choose(curves, Questions(rule=rule), budget, cost_model) for rule in RULES]
    plans = {found.rule: found.plan for found in chosen if found is not None}
    evaluations = len({(row, int(kept)) for row, counts in enumerate(curves.kept) for kept in counts})
    return Hints({name: dict(plan.kept) for name, plan in plans.items()}, prior_of(curves), evaluations, curves.seconds)


def hints_for(
    problem: Problem, *, cache_dir: str | Path | None = None, file: Path | None = None, verbose: bool = True
) -> Hints:
    """Measures the curves, or takes them from the cache, and makes the heuristics' plans.

    Args:
        problem: of the search.
        cache_dir: see :func:`amc.core.files.cache_folder`.
        file: where they are stored, and read from on resume: a solver that runs into its time limit may not find the
            same plan twice.
        verbose: show the progress.

    Raises:
        AmcError: the file is damaged, or the heuristics can't use the budget.
    """
    budget = problem.budget
    check_budget(Questions(rule=RULES[0]), budget.cost, budget.keep)
    if file is not None and file.exists():
        with damaged(file, "no hints", "the file is damaged, start a new run"):
            return Hints.from_json(read_json(file), problem.network.groups)
    curves = curves_for(problem, Questions().keep_ratios, cache_dir=cache_dir, verbose=verbose)
    hints = hints_of(curves, budget, problem.network.cost_model)
    if file is not None:
        write_json(file, hints.to_json())
    return hints
