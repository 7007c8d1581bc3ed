"""Result of a fine-tuning: summary and table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text
from torch import nn

from amc.core.types import PruningPlan, Scored
from amc.reporting.console import show
from amc.reporting.tables import result_table, time_table
from amc.tracking.versions import versions


@dataclass(frozen=True)
class FineTuneResult:
    """Result of a fine-tuning.

    Attributes:
        model: the small network, in evaluation mode.
        plan: its plan; of several, the best.
        baseline, cut, tuned: the dense network, the one cut and recovered, and ``model``.
        history: a row for every epoch of every phase.
        phases: the result of every phase.
        wall_seconds: of the whole run, earlier parts of a resumed one included.
    """

    model: nn.Module
    plan: PruningPlan
    baseline: Scored
    cut: Scored
    tuned: Scored
    history: tuple[Mapping[str, Any], ...]
    phases: tuple[Mapping[str, Any], ...]
    wall_seconds: float


def summary_of(result: FineTuneResult, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``summary.json``; scores are fractions."""
    return {
        **facts,
        "versions": versions(),
        **{name: getattr(result, name).to_json() for name in ("baseline", "cut", "tuned")},
        "phases": result.phases,
        "history": result.history,
        "wall_seconds": result.wall_seconds,
        "training_seconds": sum(row["seconds"] for row in result.history),
    }


def print_result(result: FineTuneResult, where: str) -> None:
    """Prints a run's scores, its time by part, and its location."""
    columns = {"dense": result.baseline, "cut and recovered": result.cut, "fine-tuned": result.tuned}
    show(result_table(columns))
    training = sum(row["seconds"] for row in result.history)
    show(time_table(result.wall_seconds, {"training": training}))
    show(Text(where))
