from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from amc.core.errors import AmcError
from amc.core.types import Cost, Episode, LayerGroup, Metrics, PruningPlan
from amc.tracking import Board
from amc.tracking.board import HPARAMS, hparam_metrics

GROUPS = [
    LayerGroup("conv1", "conv3x3", 8, 1, False, 3, 8, 8, 1, 3, 100, 10),
    LayerGroup("layer1.0.conv1", "conv1x1", 4, 1, False, 8, 8, 8, 1, 1, 100, 10),
]
ORIGINAL = Cost(200, 40)


def episode(index: int, reward: float) -> Episode:
    plan = PruningPlan.make(GROUPS, {"conv1": 2})
    return Episode(index, reward, plan, Metrics(0.75, 1.0, 100), Cost(50, 30), 1.0, {"sigma": 0.5})


def events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()


def points(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(e.step, e.value) for e in events(folder).Scalars(tag)]


def test_scalars_are_on_disk_before_the_board_is_closed(tmp_path: Path) -> None:
    board = Board(tmp_path, GROUPS)
    board.episode(episode(0, -2.0), ORIGINAL, -2.0)
    board.episode(episode(1, -3.0), ORIGINAL, -2.0)
    expected = {
        "search/reward": [-2.0, -3.0],
        "search/best_reward": [-2.0, -2.0],
        "search/accuracy": [0.75, 0.75],
        "search/macs_ratio": [0.25, 0.25],
        "search/params_ratio": [0.75, 0.75],
        "agent/sigma": [0.5, 0.5],
        "keep_ratio_by_kind/conv3x3": [0.25, 0.25],
        "keep_ratio_by_kind/conv1x1": [1.0, 1.0],
        "keep_ratio/conv1": [0.25, 0.25],
        "keep_ratio/layer1.0.conv1": [1.0, 1.0],
    }
    assert sorted(events(tmp_path).Tags()["scalars"]) == sorted(expected)
    for tag, values in expected.items():
        assert points(tmp_path, tag) == list(enumerate(values))
    board.close()


def test_resuming_takes_back_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    with closing(Board(tmp_path, GROUPS)) as killed:
        for index in range(4):
            killed.episode(episode(index, float(index)), ORIGINAL, float(index))
    with closing(Board(tmp_path, GROUPS, purge_step=2)) as resumed:
        resumed.episode(episode(2, 20.0), ORIGINAL, 20.0)
    assert points(tmp_path, "search/reward") == [(0, 0.0), (1, 1.0), (2, 20.0)]


def test_a_run_killed_before_its_first_checkpoint_starts_over(tmp_path: Path) -> None:
    for reward in (1.0, 2.0):
        with closing(Board(tmp_path, GROUPS, purge_step=0)) as board:
            board.episode(episode(0, reward), ORIGINAL, reward)
    assert points(tmp_path, "search/reward") == [(0, 2.0)]


def test_a_full_disk_is_one_line_and_loses_nothing(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    with closing(Board(tmp_path, GROUPS)) as board:
        board.episode(episode(0, 1.0), ORIGINAL, 1.0)
        (size,) = (path.stat().st_size for path in tmp_path.iterdir())
        with full_disk(size), pytest.raises(AmcError, match=r"tfevents\S+: can't be written"):
            board.episode(episode(1, 2.0), ORIGINAL, 2.0)
    assert points(tmp_path, "search/reward")[0] == (0, 1.0)


def charts(folder: Path) -> dict[str, dict[str, list[str]]]:
    layout = layout_pb2.Layout()
    layout.ParseFromString(events(folder).Tensors(CONFIG_SUMMARY_TAG)[0].tensor_proto.string_val[0])
    return {c.title: {chart.title: list(chart.multiline.tag) for chart in c.chart} for c in layout.category}


def matched(folder: Path, patterns: list[str]) -> list[str]:
    return [tag for tag in events(folder).Tags()["scalars"] if any(re.match(pattern, tag) for pattern in patterns)]


def test_a_chart_has_the_kinds_and_each_stage_has_one_of_its_groups(tmp_path: Path) -> None:
    with closing(Board(tmp_path, GROUPS)) as board:
        board.episode(episode(0, 0.0), ORIGINAL, 0.0)
    found = charts(tmp_path)
    kinds = found["keep ratios by kind"]["mean of each kind"]
    assert matched(tmp_path, kinds) == ["keep_ratio_by_kind/conv3x3", "keep_ratio_by_kind/conv1x1"]
    stages = found["keep ratios by stage"]
    assert list(stages) == ["conv1", "layer1"]
    assert matched(tmp_path, stages["layer1"]) == ["keep_ratio/layer1.0.conv1"]
    assert matched(tmp_path, stages["conv1"]) == ["keep_ratio/conv1"]
    assert found["search"]["reward"] == ["search/reward", "search/best_reward"]


def test_a_kinds_value_is_the_mean_of_its_groups_that_can_be_pruned(tmp_path: Path) -> None:
    def group(name: str, kind: str, frozen: str | None = None) -> LayerGroup:
        return LayerGroup(name, kind, 4, 1, False, 3, 8, 8, 1, 3, 10, 10, (), frozen)

    groups = [
        group("a", "conv3x3"), group("b", "depthwise5x5"), group("c", "conv3x3"), group("d", "conv3x3", "the output"),
        group("e", "linear"), group("f", "conv7x7"),
    ]  # fmt: skip
    plan = PruningPlan.make(groups, {"a": 1, "b": 3, "c": 2, "e": 2, "f": 1})
    played = Episode(0, 0.0, plan, Metrics(0.5, 1.0, 10), Cost(1, 1), 1.0)
    with closing(Board(tmp_path, groups)) as board:
        board.episode(played, Cost(2, 2), 0.0)
    by_kind = {tag: points(tmp_path, tag)[0][1] for tag in matched(tmp_path, ["keep_ratio_by_kind/.*"])}
    assert by_kind == {
        "keep_ratio_by_kind/conv3x3": 0.375,  # (1/4 + 2/4) / 2
        "keep_ratio_by_kind/depthwise": 0.75,
        "keep_ratio_by_kind/linear": 0.5,
        "keep_ratio_by_kind/other": 0.25,
    }


def test_figures_become_images_of_their_size(tmp_path: Path) -> None:
    with closing(Board(tmp_path, GROUPS)) as board:
        board.figure("best_plan", Figure(figsize=(2, 1), dpi=50), 3)
    (image,) = events(tmp_path).Images("best_plan")
    assert (image.step, image.width, image.height) == (3, 100, 50)


def test_hparams_are_always_the_same_keys(tmp_path: Path) -> None:
    values = {**dict.fromkeys(HPARAMS, "x"), "budget.keep": None}
    results = {**dict.fromkeys(hparam_metrics("accuracy"), 0.5), "best/test_accuracy": None}
    with closing(Board(tmp_path, GROUPS)) as board:
        board.hparams(values, results)
        with pytest.raises(ValueError, match="need exactly"):
            board.hparams({**values, "extra": 1}, results)
        with pytest.raises(ValueError, match="need exactly"):
            board.hparams(values, {})
    content = events(tmp_path).SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    shown = HParamsPluginData.FromString(content).session_start_info.hparams
    assert sorted(shown) == sorted(HPARAMS)
    assert shown["budget.keep"].string_value == "none"
    assert points(tmp_path, "best/reward") == [(0, 0.5)]
    assert len(list(tmp_path.iterdir())) == 1
