"""Score over cost: all plans of a search, and those that no other beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amc.reporting.html.chart import FRONT, GREY, Chart, Choice, Trace, rounded
from amc.reporting.html.runs import StoredRun
from amc.reporting.pareto import pareto_front
from amc.reporting.words import titled
from amc.tracking.episodes import Row, metric_of, score_of, text_of, value_of

COSTS = {"macs_ratio": "MACs / dense", "params_ratio": "parameters / dense", "latency_ms": "latency, ms"}
LABELS = {"macs_ratio": "MACs", "params_ratio": "parameters", "latency_ms": "latency"}
NARROW = 1.05  # where the largest cost is no more than this times the smallest, a budget held all plans to it


def scatter_chart(run: StoredRun, name: str) -> Chart:
    """Plans scored on all images with their Pareto front; those that racing stopped early apart, as estimates."""
    full, early = split(run.episodes)
    best = _best_row(run, full)
    columns = costs_of(run.episodes)
    first = columns[0]
    marked = [] if best is None else [best]
    groups: list[Sequence[Row]] = [early, full, front_of(full, first), marked]
    data = [
        {**_dots(early, first, "stopped early: an estimate", {"color": GREY, "size": 6, "symbol": "circle-open"})},
        _dots(full, first, "plan", _by_time(full)),
        {
            **_dots(groups[2], first, "Pareto front", {"color": FRONT, "size": 7}), "mode": "lines+markers",
            "line": {"shape": "hv", "color": FRONT, "width": 2},
        },
        _dots(marked, first, "best plan", {"color": FRONT, "size": 15, "symbol": "star", "line": {"width": 1}}),
    ]  # fmt: skip
    choices = [_choice(column, early, full, marked) for column in columns]
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": COSTS[first]}},
        "yaxis": {"title": {"text": f"validation {run.metric}"}, "tickformat": run.tick_format},
        "hovermode": "closest",
    }
    dense = run.score("baseline", "val")
    if dense is not None:
        layout |= _dense_line(dense, run.text(dense))
    note = "Each dot is a plan, later ones lighter. The front: no other plan is as good and as cheap."
    return Chart(name, f"{titled(run.metric)} and cost of all plans", note, data, layout, 480, {"cost": choices})


def split(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Episodes scored on all images, and those stopped early."""
    most = max((row.get("images", 0) for row in rows), default=0)
    full = [row for row in rows if row.get("images", most) == most]
    return full, [row for row in rows if row.get("images", most) != most]


def costs_of(rows: Sequence[Row]) -> list[str]:
    """The costs that every episode has; those that a budget held to one value last."""
    found = [column for column in COSTS if rows and all(column in row for row in rows)]
    return sorted(found, key=lambda column: _is_narrow([row[column] for row in rows]))


def front_of(rows: Sequence[Row], column: str) -> list[Row]:
    """The Pareto front of the episodes, in score and that cost."""
    return [rows[i] for i in pareto_front([row[column] for row in rows], [score_of(row) for row in rows])]


def _is_narrow(values: Sequence[float]) -> bool:
    return max(values) <= NARROW * min(values)


def _best_row(run: StoredRun, rows: Sequence[Row]) -> Row | None:
    """The episode of the best plan: the first of its costs and keep ratios."""
    ratios = {f"keep_ratio/{name}": kept / of for name, (kept, of) in run.plan.items()}
    return next((r for r in rows if all(r.get(key, value) == value for key, value in ratios.items())), None)


def _choice(column: str, early: Sequence[Row], full: Sequence[Row], marked: Sequence[Row]) -> Choice:
    shown = [early, full, front_of(full, column), marked]
    values: Mapping[str, Sequence[Any]] = {
        "x": [rounded([row[column] for row in rows]) for rows in shown],
        "y": [rounded([value_of(row) for row in rows]) for rows in shown],
        "text": [[words(row) for row in rows] for rows in shown],
    }
    return Choice(LABELS[column], values, None, {"xaxis.title.text": COSTS[column]})


def _dots(rows: Sequence[Row], column: str, label: str, marker: Mapping[str, Any]) -> Trace:
    return {
        "type": "scatter", "mode": "markers", "name": label, "x": rounded([row[column] for row in rows]),
        "y": rounded([value_of(row) for row in rows]), "text": [words(row) for row in rows],
        "hovertemplate": "%{text}<extra></extra>", "marker": dict(marker),
    }  # fmt: skip


def words(row: Row) -> str:
    """Hover text of an episode."""
    lines = [
        f"<b>episode {int(row['episode'])}</b>",
        f"{metric_of(row)} {text_of(row)}",
        f"reward {row['reward']:.4g}",
    ]
    lines += [f"{label} × {row[column]:.3f}" for column, label in list(LABELS.items())[:2] if column in row]
    lines += [f"latency {row['latency_ms']:.3g} ms"] if "latency_ms" in row else []
    lines += [] if row.get("within_budget", 1) else ["over the budget"]
    return "<br>".join(lines)


def _by_time(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "color": [int(row["episode"]) for row in rows], "colorscale": "Viridis", "size": 7, "opacity": 0.85,
        "line": {"width": 0.5, "color": "rgba(255, 255, 255, 0.6)"},
    }  # fmt: skip


def _dense_line(score: float, shown: str) -> dict[str, Any]:
    line = {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": score, "y1": score,
        "line": {"color": GREY, "width": 1.3, "dash": "dash"},
    }  # fmt: skip
    words = {
        "xref": "paper", "x": 1, "xanchor": "right", "y": score, "yanchor": "bottom", "showarrow": False,
        "text": f"dense: {shown}",
    }  # fmt: skip
    return {"shapes": [line], "annotations": [words]}
