"""Accuracy over ln(MACs), with a straight-line fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from amc.core.errors import AmcError
from amc.core.scores import FRACTION, Scale
from amc.reporting.figures import GRID
from amc.reporting.words import titled


@dataclass(frozen=True)
class LogFit:
    """``accuracy ≈ slope · ln(macs) + intercept``; ``r2`` is the share of the variance that it explains."""

    slope: float
    intercept: float
    r2: float


def log_macs_fit(macs: Sequence[float], accuracies: Sequence[float]) -> LogFit:
    """Least squares of accuracy over ln(MACs): the relation that a reward of −error · ln(MACs) takes for granted.

    Args:
        macs: absolute or as fractions, which changes the intercept alone; above 0.
        accuracies: as fractions, one for each.

    Raises:
        AmcError: fewer than two different MACs, or none at all for some.
    """
    if len(macs) != len(accuracies) or min(macs, default=0) <= 0 or len(set(macs)) < 2:
        raise AmcError("accuracy over ln(MACs): give as many accuracies as MACs, at least two different ones above 0")
    x, y = np.log(np.asarray(macs, dtype=float)), np.asarray(accuracies, dtype=float)
    slope = float(np.mean((x - x.mean()) * (y - y.mean())) / np.var(x))
    intercept = float(y.mean() - slope * x.mean())
    left, total = float(np.sum((y - slope * x - intercept) ** 2)), float(np.sum((y - y.mean()) ** 2))
    return LogFit(slope, intercept, 1 - left / total if total > 0 else 1.0)


def accuracy_over_macs_figure(
    macs_ratios: Sequence[float], scores: Sequence[float], metric: str, scale: Scale = FRACTION
) -> Figure:
    """A search's episodes: score over MACs on a logarithmic axis, with the least-squares line.

    Args:
        macs_ratios: of every episode, as a fraction of the dense network's.
        scores: values of the metric, accuracies as fractions.
        metric: its name.
        scale: of its values.

    Raises:
        AmcError: all episodes have the same MACs, so that there is no line.
    """
    fit, factor = log_macs_fit(macs_ratios, scores), 100 if scale.is_fraction else 1
    figure = Figure(figsize=(7.6, 4.8), dpi=110, layout="constrained")
    axes = figure.subplots()
    order = np.arange(len(macs_ratios))
    drawn = axes.scatter(
        macs_ratios, factor * np.asarray(scores), c=order, cmap="viridis", s=16, alpha=0.8, linewidth=0
    )
    ends = np.array([min(macs_ratios), max(macs_ratios)])
    line = factor * (fit.slope * np.log(ends) + fit.intercept)
    axes.plot(ends, line, color="#D55E00", linewidth=1.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.set_xlabel("MACs as a fraction of the dense network's (logarithmic)")
    axes.set_ylabel(f"validation {scale.axis(metric)}")
    parts = f"{factor * fit.slope:.2f} · ln(MACs ratio) + {factor * fit.intercept:.2f}{' %' * scale.is_fraction}"
    fitted = f"{metric} = {parts},  R² = {fit.r2:.3f}"
    axes.set_title(f"{titled(metric)} over ln(MACs)\n{fitted}", fontsize=11, loc="left")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.colorbar(drawn, ax=axes, label="episode", pad=0.015)
    return figure
