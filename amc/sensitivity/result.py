"""Result of a sensitivity analysis: summary and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.text import Text

from amc.analysis.curves import Curves
from amc.analysis.heuristics.choose import Chosen
from amc.analysis.interactions import Independence, Interaction
from amc.core.types import Scored
from amc.evaluation.comparison import DENSE
from amc.pruning.cost import CostModel
from amc.reporting.console import show
from amc.reporting.tables import result_table, time_table
from amc.sensitivity.tables import ONE_POINT, sensitivity_table
from amc.tracking.versions import versions


@dataclass(frozen=True)
class SensitivityResult:
    """Result of a sensitivity analysis.

    Attributes:
        curves: of every prunable group.
        pairs: groups that were cut together.
        independence: how far the losses of ``pairs`` add up.
        chosen: the heuristic's plan; ``None`` without one.
        scored: ``dense``, and with a heuristic ``uniform`` (one keep ratio for all, at no more cost than its plan) and
            ``plan``: scores and costs.
        seconds: where the time went, by part.
        wall_seconds: of this call, without measurements before a resume.
    """

    curves: Curves
    pairs: tuple[Interaction, ...]
    independence: Independence
    chosen: Chosen | None
    scored: Mapping[str, Scored]
    seconds: Mapping[str, float]
    wall_seconds: float


def summary_of(result: SensitivityResult, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``summary.json``; scores are fractions."""
    curves = result.curves
    return {
        **facts,
        "versions": versions(),
        "groups": len(curves.names),
        "keep_ratio_for_one_point": {name: curves.keep_ratio_at_drop(name, ONE_POINT) for name in curves.names},
        "interactions": asdict(result.independence) | {"rows": [pair.to_json() for pair in result.pairs]},
        "rule": None if result.chosen is None else result.chosen.to_json(),
        **{"uncut" if name == DENSE else name: scored.to_json() for name, scored in result.scored.items()},
        "curve_seconds": curves.seconds,
        "wall_seconds": result.wall_seconds,
        **{f"{part}_seconds": seconds for part, seconds in result.seconds.items() if part != "curves"},
    }


def print_result(result: SensitivityResult, cost_model: CostModel, where: str) -> None:
    """Prints the groups, the heuristic's plan, where the time went, and ``where`` the run is recorded."""
    show(sensitivity_table(result.curves, cost_model))
    if result.pairs:
        found = result.independence
        ratio = "" if found.mean_ratio is None else f": loss × {found.mean_ratio:.2f} of the sum of each alone"
        correlation = "" if found.correlation is None else f", correlation {found.correlation:.3f}"
        show(Text(f"{found.pairs} pairs cut together{ratio}{correlation}"))
    chosen = result.chosen
    if chosen is not None:
        if chosen.accuracy_drop is not None:
            show(Text(f"rule=threshold: each group alone loses at most {100 * chosen.accuracy_drop:.2f} points"))
        if chosen.predicted_loss is not None and chosen.lower_bound is not None:
            gap = chosen.predicted_loss - chosen.lower_bound
            how_good = "proven the least" if gap < 1e-4 else f"at most {gap:.4f} above the least"
            predicted = f"loss {chosen.predicted_loss:.4f} if losses added up ({how_good}, {chosen.seconds:.1f} s)"
            show(Text(f"rule=size_aware: {predicted}; measured {result.scored['plan'].val.loss:.4f}"))
        show(result_table({chosen.rule if name == "plan" else name: s for name, s in result.scored.items()}))
    show(time_table(result.wall_seconds, result.seconds))
    show(Text(where))
