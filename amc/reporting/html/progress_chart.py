"""Reward, score and cost over the episodes, one above the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from amc.reporting.html.chart import COLOURS, GREY, Chart, Trace, rounded
from amc.reporting.html.runs import StoredRun
from amc.tracking.episodes import Row, value_of

BLUE, ORANGE, GREEN = COLOURS[:3]


def progress_chart(run: StoredRun, name: str) -> Chart:
    """Three panels over the same episodes; dashed: the dense network and the budget."""
    rows = run.episodes
    x = [int(row["episode"]) for row in rows]
    data = [
        _dots("reward", x, [row["reward"] for row in rows], "y"),
        _line("best reward so far", x, best_so_far(rows), BLUE, "y"),
        _dots(run.metric, x, [value_of(row) for row in rows], "y2", ORANGE),
        *(
            _line(label, x, [row.get(column) for row in rows], colour, "y3")
            for label, column, colour in (("MACs", "macs_ratio", GREEN), ("parameters", "params_ratio", COLOURS[3]))
        ),
    ]
    latency = (run.summary.get("baseline") or {}).get("latency_ms")
    if latency and all("latency_ms" in row for row in rows):
        data.append(_line("latency", x, [row["latency_ms"] / latency for row in rows], COLOURS[5], "y3"))
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "episode"}, "anchor": "y3"},
        "yaxis": {"title": {"text": "reward"}, "domain": [0.70, 1]},
        "yaxis2": {"title": {"text": run.metric}, "domain": [0.35, 0.65], "tickformat": run.tick_format},
        "yaxis3": {"title": {"text": "cost / dense"}, "domain": [0, 0.30]},
        "hovermode": "x unified",
        "shapes": _marks(run),
    }
    note = "Dots: each episode; a plan that racing stopped early is scored on fewer images. Dashed: the dense " + (
        f"network's {run.metric}, and the budget."
    )
    return Chart(name, f"Reward, {run.metric} and cost", note, data, layout, 640, {})


def best_so_far(rows: Sequence[Row]) -> list[float | None]:
    """The highest reward of plans that can be the result: within the budget, and scored on all images."""
    most = max((row.get("images", 0) for row in rows), default=0)
    counted = [
        row["reward"] if row.get("within_budget", 1) and row.get("images", most) == most else None for row in rows
    ]
    return list(accumulate(counted, _larger))


def _larger(best: float | None, value: float | None) -> float | None:
    return best if value is None else value if best is None else max(best, value)


def _marks(run: StoredRun) -> list[dict[str, Any]]:
    dense = run.score("baseline", "val")
    budget = run.fact("budget") or {}
    keep = budget.get("keep") if isinstance(budget, dict) else None
    return [
        {
            "type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": axis, "y0": value, "y1": value,
            "line": {"color": GREY, "width": 1.3, "dash": "dash"},
        }
        for axis, value in (("y2", dense), ("y3", keep))
        if value is not None
    ]  # fmt: skip


def _dots(label: str, x: Sequence[int], y: Sequence[float | None], axis: str, colour: str = GREY) -> Trace:
    marker = {"size": 5, "color": colour, "opacity": 0.7}
    return {
        "type": "scatter", "mode": "markers", "name": label, "x": x, "y": rounded(y), "yaxis": axis, "marker": marker,
    }  # fmt: skip


def _line(label: str, x: Sequence[int], y: Sequence[float | None], colour: str, axis: str) -> Trace:
    line = {"color": colour, "width": 1.8}
    return {"type": "scatter", "mode": "lines", "name": label, "x": x, "y": rounded(y), "yaxis": axis, "line": line}
