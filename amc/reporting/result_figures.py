"""A search's result as matplotlib figures that a notebook shows by itself."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from amc.core.types import Episode, LayerGroup, PruningPlan, Scored
from amc.reporting.figures import COLOURS, CURVES, FROZEN, GRID, kind_label
from amc.reporting.pareto import pareto_front
from amc.reporting.words import titled
from amc.tracking.plans import best_episode, eligible

GREY = "#9AA0A6"
HEIGHTS = {"plan": (4.2,), "curves": (2.5, 2.5, 2.5), "scatter": (4.8,)}  # inches, of each row
Groups = Sequence[LayerGroup]
What = Literal["all", "plan", "curves", "scatter"]


class ShownFigure(Figure):
    """A figure that needs no pyplot, and no setting of the notebook, to be seen there."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        FigureCanvasAgg(self).print_png(buffer)
        return buffer.getvalue()


def result_figure(what: What, groups: Groups, plan: PruningPlan, episodes: Sequence[Episode], dense: Scored) -> Figure:
    """A figure of a search.

    Args:
        what: ``plan``: the keep ratio of every group; ``curves``: reward, score and mean keep ratios over the
            episodes; ``scatter``: score over MACs with the Pareto front; ``all``: these above each other.
        groups: in walk order.
        plan: the best.
        episodes: all of them.
        dense: scores and cost of the dense network.
    """
    heights = {part: HEIGHTS[part] for part in HEIGHTS if what in ("all", part)}
    rows = [height for part in heights.values() for height in part]
    width = _width(groups) if "plan" in heights else 9.0
    figure = ShownFigure(figsize=(width, sum(rows)), dpi=100, layout="constrained")
    axes = list(figure.subplots(len(rows), 1, squeeze=False, gridspec_kw={"height_ratios": rows})[:, 0])
    if "plan" in heights:
        _plan(axes.pop(0), groups, plan)
    if "curves" in heights:
        _curves([axes.pop(0) for _ in range(3)], groups, episodes, dense)
    if "scatter" in heights:
        _scatter(axes.pop(0), episodes, dense)
    return figure


def _plan(axes: Axes, groups: Groups, plan: PruningPlan) -> None:
    ratios = plan.keep_ratios()
    colours = [FROZEN if g.frozen is not None else COLOURS[kind_label(g.kind)] for g in groups]
    axes.bar(range(len(groups)), [ratios[g.name] for g in groups], color=colours, width=0.8)
    axes.set_xticks(range(len(groups)), [g.name for g in groups], rotation=90, fontsize=8)
    _dress(axes, "keep ratio", "Best plan")
    axes.set(ylim=(0, 1.02), xlim=(-0.7, len(groups) - 0.3))
    present = {kind_label(g.kind) for g in groups if g.frozen is None}
    handles = [Patch(color=colour, label=label) for label, colour in COLOURS.items() if label in present]
    if any(g.frozen is not None for g in groups):
        handles.append(Patch(color=FROZEN, label="can't be pruned"))
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)


def _curves(axes: Sequence[Axes], groups: Groups, episodes: Sequence[Episode], dense: Scored) -> None:
    x = [episode.index for episode in episodes]
    counted = {episode.index for episode in eligible(episodes)}
    rewards = [episode.reward if episode.index in counted else -np.inf for episode in episodes]
    best = np.array(list(accumulate(rewards, max)))
    axes[0].plot(x, [episode.reward for episode in episodes], ".", color=GREY, markersize=4)
    axes[0].plot(x, np.where(np.isfinite(best), best, np.nan), color=CURVES[0])
    _dress(axes[0], "reward", "Reward, and the best so far")
    axes[1].plot(
        x, [dense.val.scale.drawn(episode.metrics.score) for episode in episodes], ".", color=CURVES[1], markersize=4
    )
    axes[1].axhline(dense.val.scale.drawn(dense.val.score), color=GREY, linestyle="--", linewidth=1)
    metric = dense.val.metric
    _dress(axes[1], dense.val.scale.axis(metric), f"Validation {metric}; dashed: dense")
    ratios = [episode.plan.keep_ratios() for episode in episodes]
    for label, colour in COLOURS.items():
        names = [g.name for g in groups if g.frozen is None and kind_label(g.kind) == label]
        if names:
            means = [sum(row[name] for name in names) / len(names) for row in ratios]
            axes[2].plot(x, means, color=colour, label=f"{label} ({len(names)})", linewidth=1.4)
    _dress(axes[2], "keep ratio", "Mean keep ratio of each kind")
    axes[2].set(ylim=(0, 1.02), xlabel="episode")
    axes[2].legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)


def _scatter(axes: Axes, episodes: Sequence[Episode], dense: Scored) -> None:
    most = max((episode.metrics.images for episode in episodes), default=0)
    full = [episode for episode in episodes if episode.metrics.images == most]
    early = [episode for episode in episodes if episode.metrics.images != most]
    x, y = _points(early, dense)
    axes.plot(x, y, "o", color=GREY, markersize=4, fillstyle="none", label="stopped early: an estimate")
    x, y = _points(full, dense)
    axes.plot(x, y, "o", color=CURVES[0], markersize=4, alpha=0.7, label="plan")
    front = pareto_front(x, [episode.metrics.score for episode in full])
    axes.step(
        [x[i] for i in front], [y[i] for i in front], "o-", where="post", color=CURVES[1], markersize=4,
        label="Pareto front",
    )  # fmt: skip
    if episodes:
        x, y = _points([best_episode(episodes)], dense)
        axes.plot(x, y, "*", color=CURVES[1], markersize=14, label="best reward")
    axes.axhline(dense.val.scale.drawn(dense.val.score), color=GREY, linestyle="--", linewidth=1, label="dense")
    metric = dense.val.metric
    _dress(axes, dense.val.scale.axis(metric), f"{titled(metric)} and MACs of all plans")
    axes.set_xlabel("MACs / dense")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)


def _points(episodes: Sequence[Episode], dense: Scored) -> tuple[list[float], list[float]]:
    costs = [episode.cost.macs / dense.cost.macs for episode in episodes]
    return costs, [dense.val.scale.drawn(episode.metrics.score) for episode in episodes]


def _dress(axes: Axes, ylabel: str, title: str) -> None:
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=11, loc="left")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _width(groups: Groups) -> float:
    return float(np.clip(0.22 * len(groups) + 3, 9, 24))
