from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_hex

from amc.core.types import LayerGroup, PruningPlan
from amc.reporting.figures import (
    COLOURS,
    FROZEN,
    kind_label,
    mean_keep_ratios,
    plan_figure,
    ratio_curves_figure,
    save_figure,
)


def group(name: str, kind: str, macs: int, residual: bool = False, frozen: str | None = None) -> LayerGroup:
    return LayerGroup(name, kind, 10, 1, residual, 3, 8, 8, 1, 3, macs, 10, (), frozen)


GROUPS = [
    group("stem", "conv3x3", 100, residual=True),
    group("a.conv1", "conv1x1", 50),
    group("a.conv2", "conv3x3", 300),
    group("fc", "linear", 50, frozen="the network's output"),
]
PLAN = PruningPlan.make(GROUPS, {"stem": 6, "a.conv1": 9, "a.conv2": 2})


def test_kinds_fall_into_families() -> None:
    kinds = ["conv3x3", "conv1x1", "conv7x7", "depthwise5x5", "grouped3x3", "linear", "linear x8", "branch"]
    assert [kind_label(kind) for kind in kinds] == [
        "3×3 convolution", "1×1 convolution", "other layers", "depthwise", "grouped", "linear", "attention",
        "residual branch",
    ]  # fmt: skip


def test_means_plain_and_by_macs_without_frozen_groups() -> None:
    # 3×3: (0.6 + 0.2) / 2; (0.6 · 100 + 0.2 · 300) / 400
    means = mean_keep_ratios(GROUPS, PLAN)
    assert means == {"3×3 convolution": pytest.approx((0.4, 0.3)), "1×1 convolution": pytest.approx((0.9, 0.9))}


def test_plan_figure_shows_ratios_shares_kinds_and_means() -> None:
    figure = plan_figure(GROUPS, PLAN, total_macs=1000, title="a title")
    top, bottom = figure.axes
    assert [bar.get_height() for bar in top.patches] == [0.6, 0.9, 0.2, 1.0]
    assert [bar.get_height() for bar in bottom.patches] == [10, 5, 30, 5]
    three, one = COLOURS["3×3 convolution"], COLOURS["1×1 convolution"]
    assert [to_hex(bar.get_facecolor()).upper() for bar in top.patches] == [three, one, three, FROZEN]
    assert [bool(bar.get_hatch()) for bar in top.patches] == [True, False, False, False]
    assert [label.get_text() for label in bottom.get_xticklabels()] == ["stem", "a.conv1", "a.conv2", "fc"]
    assert top.get_title(loc="left") == "a title\nmean keep ratio: 3×3 0.40 (0.30 by MACs), 1×1 0.90 (0.90 by MACs)"
    legend = [text.get_text() for text in top.get_legend().get_texts()]
    assert legend == ["3×3 convolution", "1×1 convolution", "residual stream", "can't be pruned"]


@pytest.mark.parametrize("count", [1, 3, 27, 150])
def test_every_number_of_groups_gives_a_picture_that_is_the_same_each_time(tmp_path: Path, count: int) -> None:
    groups = [group(f"layer{i}.conv", "conv3x3", 10) for i in range(count)]
    plan = PruningPlan.make(groups, {"layer0.conv": 3})
    for name in ("a.png", "b.png"):
        save_figure(tmp_path / name, plan_figure(groups, plan))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    height, width = matplotlib.image.imread(tmp_path / "a.png").shape[:2]
    assert 700 <= width <= 3600
    assert height == 682


def test_only_frozen_groups_still_give_a_picture() -> None:
    figure = plan_figure(GROUPS[3:], PruningPlan.make(GROUPS[3:], {}), title="t")
    assert figure.axes[0].get_title(loc="left") == "t"


def test_heat_map_is_groups_by_episodes() -> None:
    figure = ratio_curves_figure({"a": [0.1, 0.2, 0.3], "b": [1.0, 0.9, 0.8]})
    (image,) = figure.axes[0].images
    np.testing.assert_array_equal(image.get_array(), [[0.1, 0.2, 0.3], [1.0, 0.9, 0.8]])
    assert image.get_clim() == (0, 1)
