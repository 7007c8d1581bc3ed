from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from experiments.common.figures import best_so_far, search_figure, tidy


def test_tidy_axes_have_a_grid_and_no_frame_above_and_right() -> None:
    axes = Figure().subplots()
    tidy(axes, "y")
    assert [axes.spines[side].get_visible() for side in ("top", "right", "left", "bottom")] == [
        False,
        False,
        True,
        True,
    ]
    assert [line.get_visible() for line in (axes.get_xgridlines()[0], axes.get_ygridlines()[0])] == [False, True]


def test_best_so_far_over_the_shortest_seed() -> None:
    assert best_so_far([[1, 3, 2, 9], [5, 4, 6]]).tolist() == [[1, 3, 3], [5, 5, 6]]


def test_search_figure_has_mean_and_band_over_seeds() -> None:
    figure = search_figure({"ddpg": [[0, 2, 1], [2, 2, 4]], "uniform": [[1, 1, 1]]})
    (axes,) = figure.axes
    ddpg, uniform = axes.lines
    assert list(ddpg.get_ydata()) == [1, 2, 3]  # best so far: 0 2 2 and 2 2 4
    assert list(uniform.get_ydata()) == [1, 1, 1]
    (band,) = axes.collections
    deviation = 2**0.5  # of 0 and 2, and of 2 and 4, with n - 1
    assert band.get_paths()[0].get_extents().extents.tolist() == pytest.approx([1, 1 - deviation, 3, 3 + deviation])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["ddpg: 3 ± 1.4 (2 seeds)", "uniform: 1"]
