"""Keep ratios over the episodes: a line for each group, and one for the mean of each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from amc.core.kinds import FAMILIES, family_of
from amc.reporting.figures import COLOURS as KIND_COLOURS
from amc.reporting.html.chart import Chart, Choice, Trace, depth_colours, rounded, text
from amc.reporting.html.runs import StoredRun
from amc.tracking.episodes import KEEP
from amc.tracking.stages import stages

LONG = 100  # so many episodes of noise hide where the lines go: their running mean is shown first
FEW = 3


def curves_chart(run: StoredRun, name: str) -> Chart:
    """A legend entry is a stage or a kind, so that it stays short; a click on one hides its groups."""
    names = run.groups
    episodes = [int(row["episode"]) for row in run.episodes]
    values = {n: [row.get(f"{KEEP}{n}") for row in run.episodes] for n in names}
    colours = depth_colours(len(names))
    depth_of = {n: stage for stage, members in _legend_stages(names).items() for n in members}
    lines = [_line(n, episodes, values[n], colour, depth_of[n]) for n, colour in zip(names, colours, strict=True)]
    middle = {s: colours[_middle([i for i, n in enumerate(names) if depth_of[n] == s])] for s in depth_of.values()}
    entries = [_entry(stage, colour) for stage, colour in middle.items()]
    data, choices = [*lines, *entries], {}
    kinds = {n: FAMILIES[family_of(run.facts[n].kind)] for n in names if n in run.facts}
    if kinds and len(kinds) == len(names):
        kind_entries = [_entry(kind, KIND_COLOURS[kind]) for kind in KIND_COLOURS if kind in kinds.values()]
        means = _means(episodes, values, kinds)
        for trace in (*kind_entries, *means):
            trace["visible"] = False
        data += [*kind_entries, *means]
        sizes = (len(lines), len(entries), len(kind_entries), len(means))
        choices["colour"] = _choices(sizes, colours, [depth_of[n] for n in names], [kinds[n] for n in names])
    layout = {
        "xaxis": {"title": {"text": "episode"}},
        "yaxis": {"title": {"text": "keep ratio"}, "range": [0, 1.03]},
        "hovermode": "closest",
    }
    note = "Point at a line for its group; click on a legend entry to hide its groups, twice to see them alone."
    smooth: Literal["on", "off"] = "on" if len(episodes) > LONG else "off"
    return Chart(name, "Keep ratios over the search", note, data, layout, 520, choices, smooth)


def _legend_stages(names: Sequence[str]) -> dict[str, list[str]]:
    """The network's own stages, or six of about the same size where its layers have names of one or two stems only."""
    own = stages(names, most=len(names) or 1)
    return own if len(own) >= FEW else stages(names, most=max(1, -(-len(names) // 6)))


def _choices(
    sizes: tuple[int, int, int, int], colours: Sequence[str], depths: Sequence[str], kinds: Sequence[str]
) -> list[Choice]:
    """By depth, by kind, and the kinds' means; of so many lines, stages, kinds and means, which are seen."""

    def choice(label: str, seen: tuple[bool, bool, bool, bool], line: Sequence[str], group: Sequence[str]) -> Choice:
        visible = [one for size, one in zip(sizes, seen, strict=True) for _ in range(size)]
        own = {"line.color": list(line), "legendgroup": [text(entry) for entry in group]}
        return Choice(label, own, tuple(range(sizes[0])), visible=visible)

    return [
        choice("by depth", (True, True, False, False), colours, depths),
        choice("by kind", (True, False, True, False), [KIND_COLOURS[kind] for kind in kinds], kinds),
        choice("mean of each kind", (False, False, False, True), colours, depths),
    ]


def _line(name: str, episodes: Sequence[int], values: Sequence[float | None], colour: str, legendgroup: str) -> Trace:
    return {
        "type": "scatter", "mode": "lines", "x": episodes, "y": rounded(values, 4), "name": text(name),
        "line": {"color": colour, "width": 1.4}, "opacity": 0.85, "legendgroup": text(legendgroup),
        "showlegend": False, "hovertemplate": f"<b>{_literal(name)}</b><br>episode %{{x}}: %{{y:.3f}}<extra></extra>",
    }  # fmt: skip


def _entry(label: str, colour: str) -> Trace:
    return {
        "type": "scatter", "mode": "lines", "x": [None], "y": [None], "name": text(label), "hoverinfo": "skip",
        "line": {"color": colour, "width": 3}, "legendgroup": text(label),
    }  # fmt: skip


def _means(
    episodes: Sequence[int], values: Mapping[str, Sequence[float | None]], kinds: Mapping[str, str]
) -> list[Trace]:
    traces = []
    for kind, colour in KIND_COLOURS.items():
        members = [values[name] for name, own in kinds.items() if own == kind]
        if members:
            trace = _line(f"{kind}, {len(members)} groups", episodes, _mean(members), colour, f"mean {kind}")
            traces.append({**trace, "showlegend": True, "line": {"color": colour, "width": 2.2}})
    return traces


def _mean(members: Sequence[Sequence[float | None]]) -> list[float | None]:
    columns = [[value for value in column if value is not None] for column in zip(*members, strict=True)]
    return [sum(column) / len(column) if column else None for column in columns]


def _middle(places: Sequence[int]) -> int:
    return places[len(places) // 2]


def _literal(name: str) -> str:
    """``name`` inside a hover template, where ``%{`` begins a variable."""
    return text(name).replace("%{", "% {")
