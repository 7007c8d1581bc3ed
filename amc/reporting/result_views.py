"""Views of a search's result: text, notebook table, figure, data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, get_args

from matplotlib.figure import Figure
from torch import nn

from amc.core.checks import one_of
from amc.core.errors import AmcError
from amc.core.progress import duration
from amc.core.types import Episode, LayerGroup, Metrics, PruningPlan, Scored
from amc.reporting.console import count
from amc.reporting.html.tables import table
from amc.reporting.result_figures import What, result_figure
from amc.tracking.episodes import columns_of, row_of
from amc.tracking.plans import PARTS

if TYPE_CHECKING:
    import pandas


class Found(Protocol):
    """Result of a search; see :class:`amc.search.result.SearchResult`."""

    @property
    def plan(self) -> PruningPlan: ...
    @property
    def model(self) -> nn.Module: ...
    @property
    def baseline(self) -> Scored: ...
    @property
    def best(self) -> Scored: ...
    @property
    def episodes(self) -> tuple[Episode, ...]: ...
    @property
    def groups(self) -> tuple[LayerGroup, ...]: ...
    @property
    def wall_seconds(self) -> float: ...


def as_text(found: Found) -> str:
    """A few lines: dense network → pruned one."""
    lines = [f"{name:<20} {before} → {after} ({change})" for name, before, after, change in _rows(found)]
    return "\n  ".join(
        [f"SearchResult of {type(found.model).__name__}", *lines, f"{'episodes':<20} {_episodes(found)}"]
    )


def as_html(found: Found) -> str:
    """The same as a table, and the plan below it, folded."""
    rows = [(*row,) for row in _rows(found)] + [("episodes", "", _episodes(found), "")]
    ratios, plan = found.plan.keep_ratios(), dict(found.plan.kept)
    groups = [
        (g.name, g.kind, plan[g.name], g.channels, f"{ratios[g.name]:.2f}", count(g.macs), count(g.params))
        for g in found.groups
    ]
    header = ("group", "kind", "kept", "of", "keep ratio", "MACs", "parameters")
    return (
        table(("", "dense", "pruned", "change"), rows)
        + f"<details><summary>plan of {len(groups)} layer groups</summary>{table(header, groups, left=2)}</details>"
    )


def as_figure(found: Found, what: What) -> Figure:
    """See :func:`amc.reporting.result_figures.result_figure`. Raises ``AmcError`` for another ``what``."""
    one_of("what", what, get_args(What))
    return result_figure(what, found.groups, found.plan, found.episodes, found.baseline)


def as_dataframe(found: Found) -> pandas.DataFrame:
    """A row per episode, with the columns of ``episodes.csv``; what was not measured is NaN.

    Raises:
        AmcError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise AmcError("to_dataframe: pandas is not installed; pip install 'amc-pruning[notebook]'") from error
    names = [g.name for g in found.groups if g.frozen is None]
    rows = [row_of(episode, found.baseline.cost, PARTS, names) for episode in found.episodes]
    frame = pandas.DataFrame(rows, columns=list(columns_of(PARTS, names, _metric(found), found.baseline.val.scale)))
    return frame.astype({"latency_ms": float})


def _rows(found: Found) -> list[tuple[str, str, str, str]]:
    """Name, dense, pruned, change."""
    rows = []
    sides = (found.baseline, found.best)
    scored: Mapping[str, Sequence[Metrics | None]] = {
        f"validation {_metric(found)}": [side.val for side in sides],
        f"test {_metric(found)}": [side.test for side in sides],
    }
    for name, (before, after) in scored.items():
        if before is not None and after is not None:
            rows.append((name, str(before), str(after), before.scale.change(before.score, after.score)))
    dense, small = (side.cost for side in sides)
    rows.append(("MACs", count(dense.macs), count(small.macs), f"× {small.macs / dense.macs:.3f}"))
    rows.append(("parameters", count(dense.params), count(small.params), f"× {small.params / dense.params:.3f}"))
    if dense.latency_ms and small.latency_ms:
        change = f"× {small.latency_ms / dense.latency_ms:.3f}"
        rows.append(("latency", f"{dense.latency_ms:.3g} ms", f"{small.latency_ms:.3g} ms", change))
    return rows


def _metric(found: Found) -> str:
    return found.baseline.val.metric


def _episodes(found: Found) -> str:
    return f"{len(found.episodes)} in {duration(found.wall_seconds)}"
