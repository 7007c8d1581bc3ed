"""Printed tables: the groups before a search, dense network against best plan after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO

from rich import box
from rich.table import Table
from rich.text import Text

from amc.core.progress import duration
from amc.core.types import Cost, LayerGroup, Metrics, Scored, Uncounted
from amc.reporting.console import count, show


def group_table(groups: Sequence[LayerGroup], total: Cost, bounds: Mapping[str, str] | None = None) -> Table:
    """All layer groups in walk order with their share of the dense network's cost ``total``.

    Why a group can't be pruned is a numbered note below: reasons are long and mostly shared. ``bounds``: group name →
    how many channels it may keep, if that is to be shown.
    """
    reasons = list(dict.fromkeys(g.frozen for g in groups if g.frozen is not None))
    free = sum(g.frozen is None for g in groups)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.title, table.title_justify = f"{len(groups)} layer groups, {free} can be pruned", "left"
    table.add_column("group", overflow="fold")
    table.add_column("kind", no_wrap=True)
    for header in ("channels", *(["may keep"] if bounds else []), "step", "MACs", "share", "params"):
        table.add_column(header, justify="right", no_wrap=True)
    for g in groups:
        share = f"{100 * g.macs / total.macs:.1f} %" if total.macs else ""
        kind = f"{g.kind} +" if g.residual else g.kind
        name = g.name if g.frozen is None else f"{g.name} ({reasons.index(g.frozen) + 1})"
        may = [bounds.get(g.name, "")] if bounds else []
        cells = (name, kind, str(g.channels), *may, str(g.step), count(g.macs), share, count(g.params))
        table.add_row(*map(Text, cells), style="dim" if g.frozen else None)
    notes = [f"whole network: {count(total.macs)} MACs, {count(total.params)} parameters"]
    notes += ["+ marks a residual stream"] if any(g.residual for g in groups) else []
    notes += (
        ["x8: so many outputs of the layer are one channel, as of a head"]
        if any(" x" in g.kind for g in groups)
        else []
    )
    notes += [f"({number}) can't be pruned: {reason}" for number, reason in enumerate(reasons, 1)]
    table.caption, table.caption_justify = Text("\n".join(notes)), "left"
    return table


def uncounted_note(uncounted: Mapping[str, Uncounted]) -> str:
    """What no budget knows of: operations whose MACs can't be counted, with their share of the time."""
    found = ", ".join(
        f"{name} ({entry.calls} × in a forward pass, {entry.time_share:.0%} of its time)"
        for name, entry in uncounted.items()
    )
    return f"not in the MACs, since nobody counts them: {found}"


def result_table(columns: Mapping[str, Scored]) -> Table:
    """Networks side by side, the dense one first: scores, costs, and the last one's change against the first."""
    table = Table(box=box.SIMPLE_HEAD)
    for header in ("", *columns, "change"):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    scored = list(columns.values())
    metric = scored[0].val.metric
    for name, metrics in (
        (f"validation {metric}", [s.val for s in scored]),
        (f"test {metric}", [s.test for s in scored]),
    ):
        found = [m for m in metrics if m is not None]
        if len(found) == len(scored):
            change = found[0].scale.change(found[0].score, found[-1].score)
            table.add_row(name, *map(_value, found), change)
    for name, costs in (("MACs", [s.cost.macs for s in scored]), ("parameters", [s.cost.params for s in scored])):
        table.add_row(name, *map(count, costs), _ratio(costs[-1], costs[0]))
    latencies_ms = [s.cost.latency_ms for s in scored if s.cost.latency_ms is not None]
    if len(latencies_ms) == len(scored):
        table.add_row("latency", *(f"{ms:.3g} ms" for ms in latencies_ms), _ratio(latencies_ms[-1], latencies_ms[0]))
    return table


def networks_table(rows: Mapping[str, tuple[Scored, Scored, Scored]]) -> Table:
    """A row for each network: name → its scores dense, uniformly pruned and with the best plan."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("network", no_wrap=True)
    for images in ("validation", "test"):
        for plan in ("dense", "uniform", "best"):
            table.add_column(f"{images}\n{plan}", justify="right", no_wrap=True)
    for header in ("MACs", "parameters"):
        table.add_column(f"{header}\nbest", justify="right", no_wrap=True)
    for name, scored in rows.items():
        scores = [_value(s.val) for s in scored]
        scores += ["" if s.test is None else _value(s.test) for s in scored]
        before, after = scored[0].cost, scored[-1].cost
        table.add_row(name, *scores, _ratio(after.macs, before.macs), _ratio(after.params, before.params))
    return table


def time_table(wall_seconds: float, seconds: Mapping[str, float]) -> Table:
    """Where ``wall_seconds`` went: each part of ``seconds``, largest first, and the rest as *other*."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("time", no_wrap=True)
    table.add_column(duration(wall_seconds), justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    parts = sorted(seconds.items(), key=lambda part: -part[1])
    for name, value in [*parts, ("other", max(0.0, wall_seconds - sum(seconds.values())))]:
        share = f"{100 * value / wall_seconds:.0f} %" if wall_seconds > 0 else ""
        table.add_row(name, f"{value:.1f} s", share)
    return table


def print_result(
    baseline: Scored,
    best: Scored,
    wall_seconds: float,
    seconds: Mapping[str, float],
    where: str,
    file: TextIO | None = None,
) -> None:
    """Prints a run's results, its seconds by part, and its location."""
    show(result_table({"baseline": baseline, "best plan": best}), file)
    show(time_table(wall_seconds, seconds), file)
    show(Text(where), file)


def _value(metrics: Metrics) -> str:
    return metrics.scale.text(metrics.score, " ")


def _ratio(after: float, before: float) -> str:
    return f"× {after / before:.3f}" if before else ""
