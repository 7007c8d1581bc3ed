"""What the studies' figures share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from amc.reporting.figures import CURVES, GRID


def tidy(axes: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """A pale grid, and no frame at the top and at the right."""
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def search_figure(
    runs: Mapping[str, Sequence[Sequence[float]]],
    ylabel: str = "best reward so far",
    title: str = "Search",
) -> Figure:
    """Best value so far per episode, one curve per label: mean over seeds, with a band of one standard deviation.

    Args:
        runs: label → for each seed the values per episode (``reward`` or ``accuracy`` of ``episodes.csv``). Seeds of
            unlike length are compared over the shortest.
        ylabel: name of the values.
        title: above the picture.
    """
    figure = Figure(figsize=(8, 4.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    ends = []
    for index, (label, seeds) in enumerate(runs.items()):
        best = best_so_far(seeds)
        mean, episodes = best.mean(axis=0), np.arange(1, best.shape[1] + 1)
        deviation = best.std(axis=0, ddof=1) if len(best) > 1 else np.zeros_like(mean)
        colour = CURVES[index % len(CURVES)]
        text = f"{label}: {mean[-1]:.4g}" + (f" ± {deviation[-1]:.2g} ({len(best)} seeds)" if len(best) > 1 else "")
        axes.plot(episodes, mean, color=colour, linewidth=1.8, label=text)
        if len(best) > 1:
            axes.fill_between(episodes, mean - deviation, mean + deviation, color=colour, alpha=0.18, linewidth=0)
        ends.append(best)
    _bound_by_late_values(axes, ends)
    tidy(axes)
    axes.set(xlabel="episode", ylabel=ylabel)
    axes.margins(x=0.01)
    axes.set_title(title, fontsize=11)
    axes.legend(loc="lower right", fontsize=9, frameon=False)
    return figure


def best_so_far(seeds: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
    """Running maximum of each seed, ``[seeds, episodes]``, over the length of the shortest."""
    length = min(map(len, seeds))
    return np.maximum.accumulate(np.array([seed[:length] for seed in seeds], dtype=float), axis=1)


def _bound_by_late_values(axes: Axes, curves: Sequence[npt.NDArray[np.float64]]) -> None:
    # The first, random episodes are far below everything that follows and would flatten what is to be compared.
    late = np.concatenate([curve[:, curve.shape[1] // 20 :].ravel() for curve in curves])
    low, high = float(late.min()), max(float(curve.max()) for curve in curves)
    if high > low:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
