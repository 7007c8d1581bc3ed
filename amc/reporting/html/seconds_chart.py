"""Time by part."""

from __future__ import annotations

from amc.reporting.html.chart import COLOURS, Chart, text
from amc.reporting.html.runs import StoredRun

LEAST = 0.0005  # of the whole: what rounds to 0.0 % is left out


def seconds_chart(run: StoredRun, name: str) -> Chart:
    """A bar for each part, the longest first."""
    total = sum(run.seconds().values())
    parts = sorted(((p, s) for p, s in run.seconds().items() if s >= LEAST * total), key=lambda part: -part[1])
    bars = {
        "type": "bar", "orientation": "h", "y": [text(part) for part, _ in parts],
        "x": [round(seconds, 3) for _, seconds in parts], "marker": {"color": COLOURS[0]}, "showlegend": False,
        "text": [f"{seconds / total:.1%}" for _, seconds in parts], "textposition": "auto",
        "hovertemplate": "%{y}: %{x:.2f} s (%{text})<extra></extra>", "cliponaxis": False, "textangle": 0,
    }  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "seconds"}, "fixedrange": True, "rangemode": "tozero"},
        "yaxis": {
            "autorange": "reversed",
            "automargin": True,
            "ticksuffix": " ",
            "fixedrange": True,
            "showgrid": False,
        },
        "bargap": 0.25,
    }
    note = "forward: pruned networks on validation images; recording: rows, checkpoints and TensorBoard."
    return Chart(name, "Where the time went", note, [bars], layout, 110 + 26 * len(parts), {})
