from __future__ import annotations

from math import e, log

import numpy as np
import pytest

from amc.core.errors import AmcError
from amc.reporting.accuracy_over_macs import accuracy_over_macs_figure, log_macs_fit


def test_a_perfect_line() -> None:
    fit = log_macs_fit([1, e, e**2], [0.1, 0.3, 0.5])
    assert (fit.slope, fit.intercept, fit.r2) == pytest.approx((0.2, 0.1, 1.0))


def test_literal_scatter() -> None:
    # ln(MACs) −1 0 1 and accuracies 0.2 0.5 0.5: slope 0.3 / 2, mean 0.4; left over 0.015 of 0.06
    fit = log_macs_fit([1 / e, 1, e], [0.2, 0.5, 0.5])
    assert (fit.slope, fit.intercept, fit.r2) == pytest.approx((0.15, 0.4, 0.75))


def test_the_unit_of_the_macs_moves_the_intercept_alone() -> None:
    ratios, accuracies = [0.3, 0.5, 0.9], [0.7, 0.8, 0.85]
    a, b = log_macs_fit(ratios, accuracies), log_macs_fit([1e9 * r for r in ratios], accuracies)
    assert (a.slope, a.r2) == pytest.approx((b.slope, b.r2))
    assert a.intercept == pytest.approx(b.intercept + b.slope * log(1e9))


def test_equal_accuracies_are_a_flat_line() -> None:
    fit = log_macs_fit([1, 2], [0.5, 0.5])
    assert (fit.slope, fit.r2) == (0, 1)


@pytest.mark.parametrize(("macs", "accuracies"), [([], []), ([1.0], [0.5]), ([1, 1], [0.5, 0.6]), ([0, 1], [0, 1])])
def test_no_line_through_this(macs: list[float], accuracies: list[float]) -> None:
    with pytest.raises(AmcError, match="at least two different"):
        log_macs_fit(macs, accuracies)


def test_accuracy_over_macs_with_its_line() -> None:
    figure = accuracy_over_macs_figure([0.5, 1.0], [0.6, 0.8], "mIoU")
    axes = figure.axes[0]
    assert axes.lines[0].get_ydata() == pytest.approx(np.array([60, 80]))
    assert axes.get_xscale() == "log"
    assert axes.get_title(loc="left").startswith("mIoU over ln(MACs)\nmIoU = ")
    assert "R² = 1.000" in axes.get_title(loc="left")
