"""Result of a transfer: summary and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text
from torch import nn

from amc.core.types import LayerGroup, PruningPlan, Scored
from amc.reporting.figures import plan_figure, save_figure
from amc.tracking import RunDir
from amc.tracking.versions import versions


@dataclass(frozen=True)
class TransferResult:
    """Result of a policy on a network that it may never have seen.

    Attributes:
        plan: the policy's.
        model: the network cut by it and recovered; not fine-tuned.
        uncut, uniform, policy: scores and costs of the dense network, the uniform plan (same budget) and ``plan``.
        groups: the network's layer groups.
        strength: of the policy in ``plan``, see :mod:`amc.policies.plans`.
        strength_by: criterion that chose it.
        tried: strength → the criterion's value for its plan: accuracy, or divergence (of logits in nats).
        wall_seconds: of the whole call.
    """

    plan: PruningPlan
    model: nn.Module
    uncut: Scored
    uniform: Scored
    policy: Scored
    groups: tuple[LayerGroup, ...]
    strength: float
    strength_by: str
    tried: Mapping[float, float]
    wall_seconds: float


def strengths_line(result: TransferResult) -> Text:
    by_accuracy, dense = result.strength_by == "accuracy", result.uncut.val
    tried = ", ".join(
        f"{s:g}: {dense.scale.text(found) if by_accuracy else format(found, '.3f')}"
        for s, found in result.tried.items()
    )
    uniform = ", the uniform plan: the policy brings nothing here" if result.strength == 0 else ""
    what = f"validation {dense.metric}" if by_accuracy else "divergence from the dense outputs"
    return Text(f"{what} by the policy's strength: {tried}; taken: {result.strength:g}{uniform}")


def record(folder: RunDir, result: TransferResult, facts: Mapping[str, Any]) -> None:
    """Writes figure and plan, and last the summary, which makes the run a finished one."""
    share = result.policy.cost.macs / result.uncut.cost.macs
    title = f"Policy without search: {result.policy.val} at {share:.1%} of the MACs"
    figure = plan_figure(result.groups, result.plan, result.uncut.cost.macs, title)
    save_figure(folder.path / "best_plan.png", figure)
    folder.write_plan(result.plan)
    scored = {name: getattr(result, name).to_json() for name in ("uncut", "uniform", "policy")}
    tried = {f"{strength:g}": found for strength, found in result.tried.items()}
    walked = {"strength": result.strength, "strength_by": result.strength_by, "strengths": tried}
    folder.write_summary({**facts, "versions": versions(), **scored, **walked, "wall_seconds": result.wall_seconds})
