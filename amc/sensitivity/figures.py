"""Figures of sensitivity curves. Every function returns a matplotlib ``Figure`` and touches no global state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from amc.analysis.curves import Curves
from amc.analysis.heuristics.counts import shares
from amc.analysis.interactions import Interaction, independence
from amc.pruning.cost import CostModel
from amc.reporting.figures import GRID

DIRECT_LABELS = 12  # up to so many curves are all labelled; of more, the first to fall
NAMED_OF_MANY = 5
LABEL_GAP = 0.045  # of the axis height: closer labels would overlap
SHARES = {"MACs": "#0072B2", "parameters": "#E6B000"}
DEPTH = colormaps["viridis"]


def curves_figure(curves: Curves, title: str = "Sensitivity: one group cut, the others dense") -> Figure:
    """Score over the keep ratio, a curve per group, coloured from the first layer (dark) to the last (bright).

    Up to twelve curves are labelled at their ends; of more, those that lose the most, and a colour bar shows the depth.
    """
    n = len(curves.names)
    figure = Figure(figsize=(9, 5.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    for row in range(n):
        x = np.append(1.0, curves.kept[row] / curves.channels[row])
        y = [curves.scale.drawn(score) for score in np.append(curves.dense_score, curves.score[row])]
        axes.plot(x, y, color=_colour(row, n), linewidth=1.8 if n <= DIRECT_LABELS else 1.1, alpha=0.9)
    dense = curves.scale.drawn(curves.dense_score)
    axes.axhline(dense, color="#777777", linewidth=0.9, linestyle=(0, (5, 3)))
    ends = [curves.scale.drawn(float(score)) for score in (curves.score.min(), curves.score.max())]
    low, high = min(*ends, dense), max(*ends, dense)
    margin = 0.04 * max(high - low, 1 if curves.scale.is_fraction else 0.01 * abs(dense))
    left = float(np.min(curves.kept[:, -1] / np.array(curves.channels)))
    axes.set(xlim=(1.01, left - 0.28 * (1 - left)), ylim=(low - margin, high + margin))  # room for names on the right
    _name_curves(axes, curves)
    if n > DIRECT_LABELS:
        _depth_bar(figure, axes, curves)
    axes.set_xticks([tick for tick in np.arange(1.0, left - 0.05, -0.1) if tick >= left - 1e-9])
    axes.set_xlabel("keep ratio of the group (cut harder to the right)")
    axes.set_ylabel(f"{curves.scale.axis(f'{curves.metric} on {curves.images} images')}")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{title} (dashed: dense, {curves.scale.text(curves.dense_score, ' ')})", fontsize=11, loc="left")
    return figure


def curves_and_shares_figure(
    curves: Curves,
    cost_model: CostModel,
    title: str = "What each group loses when it alone is cut, and what there is to save",
) -> Figure:
    """Heat map of points lost, groups × keep ratios, beside the MACs and parameters that depend on each group.

    A robust group with tiny bars is no saving; one with long bars that stays pale is.

    Args:
        curves: of the network.
        cost_model: of the network, for :func:`amc.analysis.heuristics.counts.shares`.
        title: above the picture.
    """
    found = shares(cost_model)
    n, ratios = curves.score.shape
    drops = _drops(curves)
    height = float(np.clip(0.19 * n + 1.7, 3.2, 30))
    figure = Figure(figsize=(10.5, height), dpi=110, layout="constrained")
    heat, macs, params = figure.subplots(1, 3, sharey=True, gridspec_kw={"width_ratios": [3, 1, 1]})
    top = max(float(np.percentile(drops, 98)), 1.0)  # a few ruined cells must not bleach all others
    drawn = heat.imshow(drops, aspect="auto", cmap="magma_r", vmin=0, vmax=top, interpolation="nearest")
    if n <= 40:
        _write_cells(heat, drops, top)
    size = float(np.clip(10 - n / 30, 6, 9))
    heat.set_yticks(range(n), curves.names, fontsize=size)
    heat.set_xticks(range(ratios), [f"{ratio:.2g}" for ratio in curves.keep_ratios])
    heat.set_xlabel("keep ratio")
    for index, (axes, (what, colour)) in enumerate(zip((macs, params), SHARES.items(), strict=True)):
        values = [100 * found[name][index] for name in curves.names]
        axes.barh(range(n), values, height=0.72, color=colour)
        axes.set_xlabel(f"{what} that\ndepend on it, %")
        axes.tick_params(axis="y", length=0, labelleft=False)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.margins(y=0)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    lost = "lost, points" if curves.scale.is_fraction else "lost"
    extend = "max" if float(drops.max()) > top else "neither"
    figure.colorbar(
        drawn, ax=params, label=f"{curves.metric} {lost}", extend=extend, extendfrac=0.03, pad=0.05, aspect=24,
        fraction=0.2, shrink=min(1.0, 5 / height), anchor=(0.0, 1.0),
    )  # fmt: skip
    return figure


def interactions_figure(
    rows: Sequence[Interaction], keep_ratio: float, title: str = "Do losses add up? Pairs of groups"
) -> Figure:
    """Loss increase of pairs cut together over the sum of each alone; on the diagonal they are independent.

    Args:
        rows: the measured pairs, at least one.
        keep_ratio: of both groups.
        title: above the picture.
    """
    figure = Figure(figsize=(6.4, 5.8), dpi=110, layout="constrained")
    axes = figure.subplots()
    apart, together = np.array([r.apart for r in rows]), np.array([r.together for r in rows])
    low, high = min(0.0, apart.min(), together.min()), max(apart.max(), together.max(), 1e-6)
    pad = 0.05 * (high - low)
    axes.plot([low - pad, high + pad], [low - pad, high + pad], color="#777777", linewidth=1, linestyle=(0, (5, 3)))
    axes.scatter(apart, together, s=26, color="#0072B2", alpha=0.75, linewidth=0)
    axes.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad), aspect="equal")
    found = independence(rows)
    facts = [f"{found.pairs} pairs at keep ratio {keep_ratio:g}"]
    facts += [] if found.correlation is None else [f"correlation {found.correlation:.3f}"]
    facts += [] if found.mean_ratio is None else [f"together ÷ sum: {found.mean_ratio:.2f}"]
    axes.set_title("\n".join((title, ", ".join(facts))), fontsize=11, loc="left")
    axes.set_xlabel("sum of each alone: loss increase, nats")
    axes.set_ylabel("both cut: loss increase, nats")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _drops(curves: Curves) -> npt.NDArray[np.float64]:
    """How far each value is behind the dense network's, positive where it is worse."""
    if curves.scale.is_fraction:
        return 100 * (curves.dense_score - curves.score)
    values = np.vectorize(curves.scale.value_of, otypes=[float])(curves.score)
    behind: npt.NDArray[np.float64] = np.sign(curves.scale.unit) * (values - curves.scale.value_of(curves.dense_score))
    return behind


def _colour(row: int, n: int) -> tuple[float, float, float, float]:
    return DEPTH(0.92 * row / max(n - 1, 1))  # the brightest yellow is hard to see on white


def _name_curves(axes: Axes, curves: Curves) -> None:
    """Names at the curves' right ends, pushed apart where they would overlap."""
    n = len(curves.names)
    ends = curves.score[:, -1]
    named = list(np.argsort(ends, kind="stable")[: n if n <= DIRECT_LABELS else NAMED_OF_MANY])
    low, high = axes.get_ylim()
    gap = LABEL_GAP * (high - low)
    drawn = {row: curves.scale.drawn(float(ends[row])) for row in named}
    named.sort(key=lambda row: drawn[row])
    places = _apart([drawn[row] for row in named], gap, low + gap / 2, high - gap / 2)
    right = float(np.min(curves.kept[:, -1] / np.array(curves.channels)))
    for row, place in zip(named, places, strict=True):
        x, y = curves.kept[row, -1] / curves.channels[row], drawn[row]
        axes.annotate(
            curves.names[row], (x, y), (right - 0.035 * (1 - right), place), va="center", fontsize=8,
            color=[0.8 * part for part in _colour(row, n)[:3]], annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": _colour(row, n), "linewidth": 0.7, "shrinkA": 1, "shrinkB": 0},
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip


def _apart(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """``values``, ascending, moved up where they are closer than ``gap``, then down from ``high`` if need be."""
    places: list[float] = []
    for value in values:
        places.append(max(value, low, places[-1] + gap if places else low))
    ceiling = high
    for index in reversed(range(len(places))):
        places[index] = min(places[index], ceiling)
        ceiling = places[index] - gap
    return places


def _depth_bar(figure: Figure, axes: Axes, curves: Curves) -> None:
    n = len(curves.names)
    mapped = ScalarMappable(Normalize(0, n - 1), DEPTH)
    bar = figure.colorbar(mapped, ax=axes, pad=0.015, aspect=30)
    ticks = np.unique(np.linspace(0, n - 1, 8).astype(int))
    bar.set_ticks(list(ticks), labels=[curves.names[i] for i in ticks], fontsize=7.5)
    bar.set_label("depth: group in walk order", fontsize=9)


def _write_cells(axes: Axes, drops: npt.NDArray[np.float64], top: float) -> None:
    for (row, column), value in np.ndenumerate(drops):
        dark = value > 0.45 * top
        axes.text(
            column, row, f"{value:.1f}".replace("-0.0", "0.0"), ha="center", va="center", fontsize=6.5,
            color="white" if dark else "#333333",
        )  # fmt: skip
