"""Settings of a sensitivity analysis, and the choice of a heuristic that turns its curves into a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amc.analysis.curves import Curves, check_keep_ratios
from amc.analysis.heuristics.size_aware import size_aware_plan
from amc.analysis.heuristics.threshold import threshold_plan, threshold_plan_for_budget
from amc.analysis.interactions import PairSample
from amc.core.errors import AmcError
from amc.core.types import PruningPlan
from amc.core.values import Kind, Nullable, OneOf, Real, Whole, check_all
from amc.pruning.budget import Budget
from amc.pruning.cost import CostModel

RULES = ("threshold", "size_aware")
# The kinds of the settings below, by their sections on the command line.
KINDS: dict[str, Kind] = {"rule": OneOf(names=RULES, also=(None,)), "accuracy_drop": Nullable(Real(high=1))}
SIZE_AWARE: dict[str, Kind] = {"choices": Whole(low=2), "time_limit_seconds": Real(ends="(]")}


@dataclass(frozen=True)
class Questions:
    """Analysis settings, validated on construction.

    Attributes:
        keep_ratios: of each group alone, descending, below 1.
        rule: heuristic that makes a plan of the curves: ``threshold`` or ``size_aware``; ``None``: no plan.
        accuracy_drop: of ``threshold``: what each group alone may lose, as a fraction; ``None``: as much as the budget
            asks for.
        choices: of ``size_aware``: counts that each group may choose from.
        time_limit_seconds: of ``size_aware``: for its solver.
        pairs: number of random pairs of groups that are cut together.
        pairs_keep_ratio: of both groups of a pair.
    """

    keep_ratios: Sequence[float] = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
    rule: str | None = None
    accuracy_drop: float | None = None
    choices: int = 16
    time_limit_seconds: float = 60.0
    pairs: int = 0
    pairs_keep_ratio: float = 0.5

    def __post_init__(self) -> None:
        check_keep_ratios(self.keep_ratios)
        check_all("", vars(self), KINDS)
        check_all("size_aware", vars(self), SIZE_AWARE)
        if self.accuracy_drop is not None and self.rule != "threshold":
            rule = "null" if self.rule is None else self.rule
            raise AmcError(f"accuracy_drop={self.accuracy_drop}: belongs to rule=threshold, not rule={rule}")
        self.sample(0)

    def sample(self, seed: int) -> PairSample:
        """The pairs of groups that are cut together."""
        return PairSample(self.pairs, self.pairs_keep_ratio, seed)

    @property
    def needs_budget(self) -> bool:
        """Whether the plan depends on a budget."""
        return self.rule is not None and self.accuracy_drop is None


def check_budget(questions: Questions, cost: str, keep: float | None) -> None:
    """Raises ``AmcError``, before anything is measured, for a budget that the heuristic can't use."""
    if cost == "latency_ms":
        raise AmcError("budget.cost=latency_ms: sensitivity counts MACs and parameters; give budget=macs or params")
    if questions.needs_budget and keep is None:
        hint = ", or accuracy_drop=0.01" if questions.rule == "threshold" else ""
        raise AmcError(
            f"budget.keep=null: rule={questions.rule} needs to know what to save; give budget.keep=0.5{hint}"
        )


@dataclass(frozen=True)
class Chosen:
    """A heuristic's plan.

    Attributes:
        rule: name of the heuristic.
        plan: the plan.
        accuracy_drop: of ``threshold``: what each group alone may lose with it, as a fraction.
        predicted_loss, lower_bound, choices, seconds: of ``size_aware``, see
            :class:`amc.analysis.heuristics.size_aware.SizeAware`.
    """

    rule: str
    plan: PruningPlan
    accuracy_drop: float | None = None
    predicted_loss: float | None = None
    lower_bound: float | None = None
    choices: int | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry for ``summary.json``: all but the plan, without other heuristics' entries."""
        names = ("rule", "accuracy_drop", "predicted_loss", "lower_bound", "choices", "seconds")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def choose(curves: Curves, questions: Questions, budget: Budget, cost_model: CostModel) -> Chosen | None:
    """The heuristic's plan; ``None`` without one. Raises ``AmcError`` for a budget that it can't use."""
    if questions.rule is None:
        return None
    if questions.rule == "size_aware":
        found = size_aware_plan(
            curves, budget, cost_model,
            choices=questions.choices, time_limit_seconds=questions.time_limit_seconds,
        )  # fmt: skip
        return Chosen(
            "size_aware", found.plan, None, found.predicted_loss, found.lower_bound, found.choices, found.seconds
        )
    if questions.accuracy_drop is None:
        return Chosen("threshold", *threshold_plan_for_budget(curves, budget, cost_model))
    plan = threshold_plan(curves, cost_model.groups, questions.accuracy_drop, budget.limits)
    return Chosen("threshold", plan, questions.accuracy_drop)
