"""The best plan: a bar for each layer group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amc.core.kinds import FAMILIES, family_of
from amc.reporting.console import count
from amc.reporting.figures import COLOURS as KIND_COLOURS
from amc.reporting.figures import FROZEN
from amc.reporting.html.chart import Chart, Choice, Trace, depth_colours, text
from amc.reporting.html.runs import StoredRun
from amc.tracking.group_facts import GroupFacts

ROW = 19  # pixels for one group's bar
LONG_ENOUGH = 0.4  # of the longest


def plan_chart(run: StoredRun, name: str) -> Chart:
    """Kept channels of each group in walk order, with all facts on hover."""
    names = list(run.plan)
    kept, original = [run.plan[n][0] for n in names], [run.plan[n][1] for n in names]
    ratios = [round(k / of, 4) for k, of in zip(kept, original, strict=True)]
    by_depth = depth_colours(len(names))
    by_kind = [kind_colour(run.facts[n]) if n in run.facts else FROZEN for n in names]
    hovers = [hover(run, n) for n in names]
    rows = [text(n) for n in names]
    bars: Trace = {
        "type": "bar", "orientation": "h", "y": rows, "x": ratios, "marker": {"color": by_depth}, "showlegend": False,
        "text": [f"{k} of {of}" for k, of in zip(kept, original, strict=True)], "textposition": _places(ratios, 1),
        "hovertext": hovers, "hovertemplate": "%{hovertext}<extra></extra>", "insidetextanchor": "end",
        "textangle": 0, "cliponaxis": False, "textfont": {"size": 11}, "constraintext": "none",
    }  # fmt: skip
    behind: Trace = {
        "type": "bar", "orientation": "h", "y": rows, "x": [1] * len(names), "hoverinfo": "skip",
        "marker": {"color": "rgba(140, 145, 155, 0.18)"}, "showlegend": False,
    }  # fmt: skip
    legend = kind_legend(list(run.facts.values()))
    choices: dict[str, Sequence[Choice]] = {}
    if run.facts:
        bars["marker"] = {"color": by_kind}
        choices["colour"] = (
            Choice("by kind", {"marker.color": [by_kind]}, (1,), {"showlegend": True}),
            Choice("by depth", {"marker.color": [by_depth]}, (1,), {"showlegend": False}),
        )
    choices["length"] = _lengths(run, names, ratios, kept, original)
    layout = {
        "barmode": "overlay", "bargap": 0.22, "showlegend": bool(legend),
        "xaxis": {"title": {"text": "keep ratio"}, "range": [0, 1.02], "fixedrange": True},
        "yaxis": {
            "autorange": "reversed", "automargin": True, "ticksuffix": " ", "dtick": 1, "fixedrange": True,
            "showgrid": False,
        },
    }  # fmt: skip
    note = "Point at a bar for the layer's facts. Pale: the dense network." + (
        "" if run.facts else " This run was recorded without the layers' kinds, MACs and parameters."
    )
    return Chart(name, "Best plan", note, [behind, bars, *legend], layout, 120 + ROW * len(names), choices)


def hover(run: StoredRun, name: str) -> str:
    """All facts about one group, as lines."""
    kept, original = run.plan[name]
    lines = [f"<b>{text(name)}</b>", f"{kept} of {original} channels kept ({kept / original:.0%})"]
    facts, network = run.facts.get(name), run.network
    if facts is not None and network is not None:
        lines.insert(1, text(facts.kind) + (", residual stream" if facts.residual else ""))
        lines.append(f"{_share(facts.macs, network.macs)} of the dense MACs ({count(facts.macs)})")
        lines.append(f"{_share(facts.params, network.params)} of its parameters ({count(facts.params)})")
        if facts.frozen is not None:
            lines.append(f"can't be pruned: {text(facts.frozen)}")
    return "<br>".join(lines)


def kind_colour(facts: GroupFacts) -> str:
    """The colour of the group's kind; grey if it can't be pruned."""
    return FROZEN if facts.frozen is not None else KIND_COLOURS[FAMILIES[family_of(facts.kind)]]


def kind_legend(facts: Sequence[GroupFacts]) -> list[Trace]:
    """A legend entry for each kind that can be pruned, in the palette's order, and one for what can't."""
    present = {FAMILIES[family_of(f.kind)] for f in facts if f.frozen is None}
    entries = [(label, colour) for label, colour in KIND_COLOURS.items() if label in present]
    entries += [("can't be pruned", FROZEN)] if any(f.frozen is not None for f in facts) else []
    return [_entry(label, colour) for label, colour in entries]


def _entry(label: str, colour: str) -> Trace:
    marker = {"color": colour, "symbol": "square", "size": 11}
    return {
        "type": "scatter", "mode": "markers", "x": [None], "y": [None], "name": label, "marker": marker,
        "hoverinfo": "skip",
    }  # fmt: skip


def _lengths(
    run: StoredRun, names: Sequence[str], ratios: Sequence[float], kept: Sequence[int], original: Sequence[int]
) -> list[Choice]:
    found = [
        _length("keep ratio", [1] * len(names), ratios, 1.02),
        _length("channels", original, kept, 1.02 * max(original, default=1)),
    ]
    if run.network is not None:
        for what, total in (("macs", run.network.macs), ("params", run.network.params)):
            shares = [getattr(run.facts[n], what) / total if n in run.facts and total else 0.0 for n in names]
            cut = [share * ratio for share, ratio in zip(shares, ratios, strict=True)]
            label = "MACs" if what == "macs" else "parameters"
            title = f"share of the {label} × keep ratio"
            found.append(_length(label, shares, cut, 1.02 * max(shares, default=1), title))
    return found


def _length(label: str, behind: Sequence[float], front: Sequence[float], most: float, title: str = "") -> Choice:
    axis: dict[str, Any] = {"xaxis.title.text": title or label, "xaxis.range": [0, most]}
    texts: list[Any] = [None, _places(front, most)]
    return Choice(label, {"x": [list(behind), list(front)], "textposition": texts}, (0, 1), axis)


def _places(lengths: Sequence[float], most: float) -> list[str]:
    """Labels go inside bars that are long enough on a phone, and beside the others."""
    return ["inside" if length > LONG_ENOUGH * most else "outside" for length in lengths]


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "an unknown share"
