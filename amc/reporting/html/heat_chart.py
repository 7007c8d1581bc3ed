"""Keep ratios over the episodes as a heat map: stripes where the search has settled."""

from __future__ import annotations

from amc.reporting.html.chart import Chart, Trace, rounded, text
from amc.reporting.html.runs import StoredRun
from amc.tracking.episodes import KEEP

ROW = 14  # pixels for one group


def heat_chart(run: StoredRun, name: str) -> Chart:
    """A row for each group in walk order, a column for each episode."""
    names = run.groups
    cells: Trace = {
        "type": "heatmap", "x": [int(row["episode"]) for row in run.episodes], "y": [text(n) for n in names],
        "z": [rounded([row.get(f"{KEEP}{n}") for row in run.episodes], 3) for n in names],
        "zmin": 0, "zmax": 1, "colorscale": "Viridis", "colorbar": {"thickness": 12, "outlinewidth": 0},
        "hovertemplate": "<b>%{y}</b><br>episode %{x}: %{z:.3f}<extra></extra>",
    }  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "episode"}},
        "yaxis": {"autorange": "reversed", "automargin": True, "ticksuffix": " ", "dtick": 1, "type": "category"},
    }
    note = "The same, a row for each group: stripes that still flip late mean that the agent has not decided."
    return Chart(name, "All groups at a glance", note, [cells], layout, 150 + ROW * len(names), {})
