"""A search's result shows itself."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from amc.core.errors import AmcError
from amc.core.types import Cost, Episode, LayerGroup, Metrics, PruningPlan, Scored
from amc.search.result import SearchResult
from amc.tracking import EpisodeLog
from amc.tracking.plans import PARTS

GROUPS = (
    LayerGroup("conv1", "conv3x3", 8, 1, False, 3, 8, 8, 1, 3, 100, 10),
    LayerGroup("<b>", "conv1x1", 4, 1, False, 8, 8, 8, 1, 1, 100, 10),
    LayerGroup("fc", "linear", 10, 1, False, 4, 1, 1, 1, 1, 10, 10, (), "the network's output"),
)
PLAN = PruningPlan.make(GROUPS, {"conv1": 4, "<b>": 3})
DENSE = Scored(Metrics(0.95, 0.1, 100), Metrics(0.94, 0.1, 100), Cost(1000, 100, 2.0))
BEST = Scored(Metrics(0.90, 0.1, 100), Metrics(0.91, 0.1, 100), Cost(400, 50, 1.0))


def episode(index: int, reward: float, images: int = 100) -> Episode:
    metrics = Metrics(0.9 - 0.01 * index, 0.1, images, {"forward": 0.5})
    return Episode(index, reward, PLAN, metrics, Cost(400 + index, 50), 1.0)


EPISODES = (episode(0, 0.5), episode(1, 0.9), episode(2, 0.95, images=50))


def result(model: nn.Module | None = None, **changed: Any) -> SearchResult:
    given: Mapping[str, Any] = {
        "plan": PLAN, "model": model or nn.Identity(), "baseline": DENSE, "best": BEST, "episodes": EPISODES,
        "groups": GROUPS, "seconds": {}, "wall_seconds": 65.0, **changed,
    }  # fmt: skip
    return SearchResult(**given)


def test_printed_it_is_a_few_lines() -> None:
    assert repr(result()).splitlines() == [
        "SearchResult of Identity",
        "  validation accuracy  95.00% → 90.00% (-5.00 points)",
        "  test accuracy        94.00% → 91.00% (-3.00 points)",
        "  MACs                 1.00 k → 400 (× 0.400)",
        "  parameters           100 → 50 (× 0.500)",
        "  latency              2 ms → 1 ms (× 0.500)",
        "  episodes             3 in 0:01:05",
    ]


def test_what_was_not_measured_is_left_out() -> None:
    untested = {
        side: Scored(scored.val, None, Cost(scored.cost.macs, scored.cost.params))
        for side, scored in (("baseline", DENSE), ("best", BEST))
    }
    assert [line.split()[0] for line in repr(result(**untested)).splitlines()[1:]] == [
        "validation", "MACs", "parameters", "episodes",
    ]  # fmt: skip


def test_a_notebook_gets_tables_with_names_escaped() -> None:
    shown = result()._repr_html_()
    assert "<td class=number>95.00%</td><td class=number>90.00%</td>" in shown
    assert "<td>&lt;b&gt;</td><td>conv1x1</td><td class=number>3</td><td class=number>4</td>" in shown
    assert "<b>" not in shown


@pytest.mark.parametrize(
    ("what", "titles"),
    [
        ("plan", ["Best plan"]),
        (
            "curves",
            ["Reward, and the best so far", "Validation accuracy; dashed: dense", "Mean keep ratio of each kind"],
        ),
        ("scatter", ["Accuracy and MACs of all plans"]),
    ],
)
def test_figures_show_what_was_asked_for(what: Any, titles: Sequence[str]) -> None:
    figure = result().plot(what)
    assert [axes.get_title(loc="left") for axes in figure.axes] == titles
    assert len(result().plot().axes) == 5
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_the_curves_are_the_episodes() -> None:
    axes = result().plot("curves").axes
    dots, best = (list(line.get_ydata()) for line in axes[0].lines)
    assert dots == [0.5, 0.9, 0.95]
    assert best == [0.5, 0.9, 0.9]  # the last was stopped early
    assert [list(line.get_ydata()) for line in axes[2].lines] == [[0.5] * 3, [0.75] * 3]


def test_an_unknown_figure_is_one_line() -> None:
    with pytest.raises(AmcError, match="what=pie: unknown; give one of all, plan, curves, scatter"):
        result().plot("pie")  # type: ignore[arg-type]


def test_the_data_frame_has_the_columns_and_numbers_of_the_csv(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    log = EpisodeLog(tmp_path / "episodes.csv", ["conv1", "<b>"], DENSE.cost, PARTS)
    for played in EPISODES:
        log.append(played)
    frame = result().to_dataframe()
    assert list(frame["keep_ratio/conv1"]) == [0.5, 0.5, 0.5]
    assert list(frame["macs_ratio"]) == [0.4, 0.401, 0.402]
    pandas.testing.assert_frame_equal(frame, pandas.read_csv(tmp_path / "episodes.csv"))


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AmcError, match=r"pip install 'amc-pruning\[notebook\]'"):
        result().to_dataframe()
