from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amc.analysis.interactions import Interaction
from amc.reporting.figures import save_figure
from amc.sensitivity.figures import _apart, curves_and_shares_figure, curves_figure, interactions_figure
from tests.support import toys


def test_a_curve_per_group_from_the_uncut_network_on() -> None:
    model = toys.chain([10, 10])
    figure = curves_figure(toys.curves(model, [[0.1, 0.2], [0.3, 0.4]], [0.5, 0.1]))
    first, second, _ = figure.axes[0].lines
    assert first.get_xydata() == pytest.approx(np.array([[1, 100], [0.5, 90], [0.1, 80]]))
    assert second.get_xydata() == pytest.approx(np.array([[1, 100], [0.5, 70], [0.1, 60]]))
    assert {text.get_text() for text in figure.axes[0].texts} == {"l0", "l1"}
    assert len(figure.axes) == 1  # so few need no bar of depths


def test_of_many_groups_the_most_sensitive_are_named_and_a_bar_tells_the_depth() -> None:
    model = toys.chain([10] * 60)
    loss = [[0.01 * i] for i in range(60)]
    figure = curves_figure(toys.curves(model, loss, [0.5]))
    assert [text.get_text() for text in figure.axes[0].texts] == ["l59", "l58", "l57", "l56", "l55"]
    assert len(figure.axes) == 2


def test_lost_points_beside_shares() -> None:
    model = toys.chain([10, 10])
    curves = toys.curves(model, [[0.1, 0.2], [0.3, 0.4]], [0.5, 0.1])
    figure = curves_and_shares_figure(curves, model)
    heat, macs, params = figure.axes[:3]
    np.testing.assert_allclose(heat.images[0].get_array(), [[10, 20], [30, 40]])
    # 3 · 10 + 10 · 10 + 10 · 5 MACs and as many weights; the middle layer depends on both
    assert [bar.get_width() for bar in macs.patches] == pytest.approx([100 * 130 / 180, 100 * 150 / 180])
    assert [bar.get_width() for bar in params.patches] == pytest.approx([100 * 130 / 180, 100 * 150 / 180])
    assert [label.get_text() for label in heat.get_yticklabels()] == ["l0", "l1"]


def test_pairs_over_the_sums_with_the_diagonal() -> None:
    rows = [Interaction("a", "b", 0.3, 0.2, 0.9), Interaction("a", "c", 0.6, 0.4, 0.8)]
    figure = interactions_figure(rows, 0.5)
    (axes,) = figure.axes
    assert np.asarray(axes.collections[0].get_offsets()) == pytest.approx(np.array([[0.2, 0.3], [0.4, 0.6]]))
    (diagonal,) = axes.lines
    assert (diagonal.get_xdata() == diagonal.get_ydata()).all()
    assert "together ÷ sum: 1.50" in axes.get_title(loc="left")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_names_never_overlap_and_stay_in_the_picture(values: list[float]) -> None:
    places = _apart(sorted(values), 0.1, 0.05, 0.95)
    assert all(b - a >= 0.1 - 1e-9 for a, b in pairwise(places))
    assert places[0] >= 0.05 - 1e-9
    assert places[-1] <= 0.95 + 1e-9


@pytest.mark.parametrize("count", [1, 3, 60])
def test_every_number_of_groups_gives_pictures(tmp_path: Path, count: int) -> None:
    model = toys.chain([10] * count)
    curves = toys.random_curves(model, 0)
    save_figure(tmp_path / "a.png", curves_figure(curves))
    save_figure(tmp_path / "b.png", curves_and_shares_figure(curves, model))
    for name in ("a.png", "b.png"):
        height, width = matplotlib.image.imread(tmp_path / name).shape[:2]
        assert 800 <= width <= 1300
        assert 300 <= height <= 3300
