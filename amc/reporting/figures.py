"""Pictures of plans and searches. Everything returns a matplotlib ``Figure`` and touches no global state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from amc.core.files import write_bytes
from amc.core.kinds import FAMILIES, family_of
from amc.core.types import LayerGroup, Metrics, PruningPlan

# Okabe and Ito's palette: told apart with any colour vision. 3×3 and 1×1 get the strongest contrast.
COLOURS = {
    "3×3 convolution": "#D55E00",
    "1×1 convolution": "#0072B2",
    "depthwise": "#009E73",
    "grouped": "#CC79A7",
    "linear": "#E6B000",
    "attention": "#7A5195",
    "other layers": "#56B4E9",
    "residual branch": "#8C6D46",
}
CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E6B000", "#56B4E9", "#000000")
FROZEN = "#C4C4C4"
GRID = "#E4E4E4"


def kind_label(kind: str) -> str:
    """The legend entry for a group's ``kind``: its family, with 3×3 and 1×1 convolutions apart."""
    return FAMILIES[family_of(kind)]


def mean_keep_ratios(groups: Sequence[LayerGroup], plan: PruningPlan) -> dict[str, tuple[float, float]]:
    """Kind label → mean keep ratio of its groups, plain and weighted by their original MACs. Frozen groups left out."""
    ratios = plan.keep_ratios()
    means = {}
    for label in COLOURS:
        members = [g for g in groups if g.frozen is None and kind_label(g.kind) == label]
        if members:
            kept = np.array([ratios[g.name] for g in members])
            macs = np.array([g.macs for g in members], dtype=float)
            weighted = float(kept @ macs / macs.sum()) if macs.sum() else float(kept.mean())
            means[label] = (float(kept.mean()), weighted)
    return means


def plan_figure(
    groups: Sequence[LayerGroup], plan: PruningPlan, total_macs: int | None = None, title: str = "Best plan"
) -> Figure:
    """Keep ratio of every group in walk order, above its share of the dense network's MACs.

    Colour is the layer kind, hatching a residual stream, grey a group that can't be pruned. Dashed lines and the
    subtitle give the mean keep ratios of 3×3 and of 1×1 convolutions: AMC's finding (§4.2) is that the first are
    cut hard and the second hardly.

    Args:
        groups: in walk order.
        plan: which channels are kept.
        total_macs: of the dense network; the groups' sum by default.
        title: first line above the picture.
    """
    n = len(groups)
    figure = Figure(figsize=(float(np.clip(0.27 * n + 3.2, 7.5, 32)), 6.2), dpi=110, layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [2.4, 1]})
    means = mean_keep_ratios(groups, plan)
    _keep_bars(top, groups, plan, means)
    _share_bars(bottom, groups, total_macs or sum(g.macs for g in groups))
    top.set_title("\n".join(filter(None, (title, _means_line(means)))), fontsize=11, loc="left")
    top.legend(
        handles=_legend(groups), loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0, fontsize=9, frameon=False
    )
    return figure


def ratio_curves_figure(
    keep_ratios: Mapping[str, Sequence[float]], title: str = "Keep ratios over the search"
) -> Figure:
    """Heat map, episodes × groups: how the search settles.

    Args:
        keep_ratios: group name in walk order → keep ratio per episode.
        title: above the picture.
    """
    names = list(keep_ratios)
    image = np.array([keep_ratios[name] for name in names], dtype=float)  # [groups, episodes]
    figure = Figure(figsize=(8.5, float(np.clip(0.16 * len(names) + 1.6, 3, 16))), dpi=110, layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(image, aspect="auto", cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    axes.set_yticks(range(len(names)), names, fontsize=_label_size(len(names)))
    axes.set_xlabel("episode")
    axes.set_title(title, fontsize=11)
    figure.colorbar(drawn, ax=axes, label="keep ratio", pad=0.015)
    return figure


def save_figure(path: str | Path, figure: Figure) -> None:
    """Writes a PNG, atomically. Raises ``AmcError`` if it can't be written."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def _keep_bars(
    axes: Axes, groups: Sequence[LayerGroup], plan: PruningPlan, means: Mapping[str, tuple[float, float]]
) -> None:
    ratios = [plan.keep_ratios()[g.name] for g in groups]
    _bars(axes, groups, ratios, [_colour(g) for g in groups])
    if len(groups) <= 30:
        halo = [withStroke(linewidth=2.2, foreground="white")]
        for x, ratio in enumerate(ratios):
            text = f"{ratio:.2f}".lstrip("0")
            axes.text(x, ratio + 0.012, text, ha="center", fontsize=7.5, color="#333333", path_effects=halo, zorder=4)
    for label in list(COLOURS)[:2]:
        if label in means:
            axes.axhline(means[label][0], color=COLOURS[label], linestyle=(0, (5, 3)), linewidth=1.3, zorder=3)
    axes.set(ylabel="keep ratio", ylim=(0, 1.09), xlim=(-0.7, len(groups) - 0.3))
    axes.set_yticks(np.arange(0, 1.01, 0.2))


def training_figure(history: Sequence[Mapping[str, Any]], dense: Metrics) -> Figure:
    """Validation score over the epochs of all phases, each phase with the MACs that it was cut to.

    Args:
        history: a row per epoch with ``phase``, ``epoch`` (0: cut and recovered, not trained), ``macs_ratio`` and
            ``val_<metric>``.
        dense: the dense network's.
    """
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    metric, factor = dense.metric, 100 if dense.scale.is_fraction else 1
    axes.axhline(factor * dense.value, color="#777777", linewidth=1, linestyle="--", label="uncut")
    phases = list(dict.fromkeys(row["phase"] for row in history))
    position = 0
    for number, phase in enumerate(phases):
        rows = [row for row in history if row["phase"] == phase]
        places = [position + i for i in range(len(rows))]
        label = f"{phase}: MACs × {rows[0]['macs_ratio']:.3f}"
        colour = CURVES[number % len(CURVES)]
        axes.plot(
            places, [factor * row[f"val_{metric}"] for row in rows], "o-", markersize=3, color=colour, label=label
        )
        if number:
            axes.axvline(position - 0.5, color=GRID, linewidth=1)
        position = places[-1] + 1
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epochs (the first point of each curve: cut and recovered, not trained)")
    axes.set_ylabel(f"validation {dense.scale.axis(metric)}")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


SIDE_BY_SIDE = 80  # characters that fit below an axis


def _share_bars(axes: Axes, groups: Sequence[LayerGroup], total_macs: int) -> None:
    shares = [100 * g.macs / total_macs for g in groups]
    _bars(axes, groups, shares, [_colour(g) for g in groups])
    axes.set_ylabel("share of MACs\nbefore pruning, %")
    size = _label_size(len(groups))
    names = [g.name for g in groups]
    crowded = len(groups) > 6 or max(map(len, names)) * len(groups) > SIDE_BY_SIDE
    axes.set_xticks(range(len(groups)), names, rotation=90 if crowded else 0, fontsize=size)


def _bars(axes: Axes, groups: Sequence[LayerGroup], heights: Sequence[float], colours: Sequence[str]) -> None:
    hatches = ["////" if g.residual else "" for g in groups]
    axes.bar(
        range(len(groups)), heights, width=0.78, color=colours, hatch=hatches, edgecolor="white", linewidth=0, zorder=2
    )
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _colour(group: LayerGroup) -> str:
    return FROZEN if group.frozen is not None else COLOURS[kind_label(group.kind)]


def _legend(groups: Sequence[LayerGroup]) -> list[Patch]:
    present = {kind_label(g.kind) for g in groups if g.frozen is None}
    handles = [Patch(color=colour, label=label) for label, colour in COLOURS.items() if label in present]
    if any(g.residual for g in groups):
        handles.append(Patch(facecolor="#888888", edgecolor="white", hatch="////", label="residual stream"))
    if any(g.frozen is not None for g in groups):
        handles.append(Patch(color=FROZEN, label="can't be pruned"))
    return handles


def _means_line(means: Mapping[str, tuple[float, float]]) -> str:
    shown = list(means.items())[:2]
    parts = [
        f"{label.removesuffix(' convolution')} {plain:.2f} ({by_macs:.2f} by MACs)" for label, (plain, by_macs) in shown
    ]
    return "mean keep ratio: " + ", ".join(parts) if parts else ""


def _label_size(count: int) -> float:
    return float(np.clip(10 - count / 30, 5, 9))
