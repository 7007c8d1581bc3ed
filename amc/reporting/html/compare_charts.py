"""Figures that compare runs, each run in one colour throughout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amc.reporting.html.chart import COLOURS, Chart, Choice, Trace, rounded, text
from amc.reporting.html.progress_chart import best_so_far
from amc.reporting.html.runs import StoredRun
from amc.reporting.html.scatter_chart import COSTS, LABELS, costs_of, front_of, split, words
from amc.reporting.words import titled
from amc.tracking.episodes import Row, value_of

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon")
ROW = 22  # pixels for one group
Runs = Mapping[str, StoredRun]


def rewards_chart(runs: Runs, name: str) -> Chart:
    """The best reward so far of each run, or the score of each of its episodes."""
    best, scores = [], []
    for place, (label, run) in enumerate(runs.items()):
        line = {"color": colour(place), "width": 2, "dash": dash(place)}
        best.append(_line(label, run, best_so_far(run.episodes), line))
        scores.append([value_of(row) for row in run.episodes])
    metric = metrics_of(runs)
    layout = {"xaxis": {"title": {"text": "episode"}}, "yaxis": {"title": {"text": "best reward so far"}}}
    choices = [
        Choice("best reward so far", {"y": [t["y"] for t in best]}, None, {"yaxis.title.text": "best reward so far"}),
        Choice(metric, {"y": [rounded(s) for s in scores]}, None, {"yaxis.title.text": f"validation {metric}"}),
    ]
    note = "Rewards are the same measure only where the reward is the same. " + (
        f"{titled(metric)} is that of each episode's plan."
    )
    return Chart(name, "Over the search", note, best, layout, 460, {"value": choices})


def scatters_chart(runs: Runs, name: str) -> Chart:
    """All plans that were scored on all images, with a Pareto front for each run."""
    full = {label: split(run.episodes)[0] for label, run in runs.items()}
    columns = costs_of([row for rows in full.values() for row in rows]) or ["macs_ratio"]
    data: list[Trace] = []
    for place, (label, rows) in enumerate(full.items()):
        data += _plans(place, label, rows, columns[0])
    choices = [Choice(LABELS[c], _positions(full, c), None, {"xaxis.title.text": COSTS[c]}) for c in columns]
    ticks = next(iter(runs.values())).tick_format
    layout = {
        "xaxis": {"title": {"text": COSTS[columns[0]]}},
        "yaxis": {
            "title": {"text": f"validation {metrics_of(runs)}"},
            "tickformat": ticks,
        },
        "hovermode": "closest",
    }
    note = "Lines are the Pareto fronts: no other plan of the run is as good and as cheap."
    return Chart(name, f"{titled(metrics_of(runs))} and cost of all plans", note, data, layout, 520, {"cost": choices})


def plans_chart(runs: Runs, name: str) -> Chart:
    """The best plans side by side: a row for each group, a mark for each run."""
    names = list(next(iter(runs.values())).plan)
    data = []
    for place, (label, run) in enumerate(runs.items()):
        kept = [run.plan[n] for n in names]
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": text(label), "y": [text(n) for n in names],
            "x": [round(k / of, 4) for k, of in kept], "text": [f"{k} of {of}" for k, of in kept],
            "hovertemplate": "%{fullData.name}<br><b>%{y}</b>: %{text} channels<extra></extra>",
            "line": {"color": colour(place), "width": 1, "dash": dash(place)},
            "marker": {"color": colour(place), "size": 9, "symbol": SYMBOLS[place % len(SYMBOLS)]},
        })  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "keep ratio"}, "range": [0, 1.04], "fixedrange": True},
        "yaxis": {"autorange": "reversed", "automargin": True, "ticksuffix": " ", "dtick": 1, "type": "category"},
        "hovermode": "closest",
    }
    models = ", ".join(dict.fromkeys(run.model for run in runs.values()))
    note = "Runs whose networks have the same layer groups."
    height = 150 + ROW * len(names) + 12 * len(runs)
    return Chart(name, f"Best plans: {models}", note, data, layout, height, {})


def metrics_of(runs: Runs) -> str:
    """The name of the runs' metric, or of all that there are."""
    return ", ".join(dict.fromkeys(run.metric for run in runs.values()))


def colour(place: int) -> str:
    """Colour of the run at this place; beyond the palette's length, dashes distinguish runs."""
    return COLOURS[place % len(COLOURS)]


def dash(place: int) -> str:
    """Dash style of the run's lines."""
    return ("solid", "dash", "dot", "dashdot")[place // len(COLOURS) % 4]


def _line(label: str, run: StoredRun, y: list[float | None], line: Mapping[str, Any]) -> Trace:
    return {
        "type": "scatter", "mode": "lines", "name": text(label), "x": [int(row["episode"]) for row in run.episodes],
        "y": rounded(y), "line": dict(line),
        "hovertemplate": "%{fullData.name}<br>episode %{x}: %{y:.4g}<extra></extra>",
    }  # fmt: skip


def _plans(place: int, label: str, rows: list[Row], column: str) -> list[Trace]:
    dots: Trace = {
        "type": "scatter", "mode": "markers", "name": text(label), "legendgroup": str(place), "showlegend": False,
        "marker": {"color": colour(place), "size": 6, "opacity": 0.45, "symbol": SYMBOLS[place % len(SYMBOLS)]},
        "hovertemplate": "%{fullData.name}<br>%{text}<extra></extra>",
    }  # fmt: skip
    line = {"shape": "hv", "color": colour(place), "width": 2, "dash": dash(place)}
    front = {**dots, "mode": "lines+markers", "showlegend": True, "line": line}
    front["marker"] = {**dots["marker"], "opacity": 1, "size": 8}
    return [{**trace, **_position(shown, column)} for trace, shown in ((dots, rows), (front, front_of(rows, column)))]


def _positions(full: Mapping[str, list[Row]], column: str) -> dict[str, list[Any]]:
    found = [_position(shown, column) for rows in full.values() for shown in (rows, front_of(rows, column))]
    return {key: [position[key] for position in found] for key in ("x", "y", "text")}


def _position(rows: list[Row], column: str) -> dict[str, Any]:
    return {
        "x": rounded([row[column] for row in rows]),
        "y": rounded([value_of(row) for row in rows]),
        "text": [words(row) for row in rows],
    }
