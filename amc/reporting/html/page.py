"""Assembles sections and figures into one file that fetches nothing."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources

from amc.core.errors import AmcError
from amc.core.files import plain
from amc.reporting.html.chart import Chart

# The browser itself keeps the page from loading anything, whatever a run folder has put into it.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


@dataclass(frozen=True)
class Section:
    """A part of a page: ``body`` is HTML, escaped by whoever made it; ``folded`` shows the title alone at first."""

    title: str
    body: str = ""
    charts: Sequence[Chart] = ()
    folded: bool = False


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """A whole HTML page.

    Args:
        title: plain text.
        lead: HTML below the title.
        sections: in this order.

    Raises:
        AmcError: plotly is not installed.
    """
    charts = [chart for section in sections for chart in section.charts]
    parts = {
        "title": escape(title),
        "policy": POLICY,
        "style": _asset("page.css"),
        "lead": lead,
        "sections": "\n".join(map(_section, sections)),
        "charts": as_script([chart.to_json() for chart in charts]),
        "plotly": _plotly() if charts else "",
        "script": _asset("page.js"),
    }
    return "".join(parts.get(piece, piece) if place % 2 else piece for place, piece in enumerate(_template()))


def as_script(data: object) -> str:
    """``data`` as JSON that can't end the script element that it lies in."""
    text = json.dumps(plain(data), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _section(section: Section) -> str:
    inner = section.body + "".join(map(_chart, section.charts))
    title = escape(section.title)
    if section.folded:
        return f"<details><summary>{title}</summary>{inner}</details>"
    return f"<section>{f'<h2>{title}</h2>' if title else ''}{inner}</section>"


def _chart(chart: Chart) -> str:
    rows = "".join(
        _buttons(chart.name, name, [choice.label for choice in row])
        for name, row in chart.choices.items()
        if len(row) > 1
    )
    if chart.smooth is not None:
        rows += _buttons(chart.name, "lines", ("each episode", "running mean"), pressed=int(chart.smooth == "on"))
    return (
        f'<figure><h3>{escape(chart.title)}</h3><p class="note">{escape(chart.note)}</p>'
        f'<div class="rows">{rows}</div>'
        f'<div class="chart" id="{escape(chart.name)}" style="height:{chart.height}px"></div></figure>'
    )


def _buttons(chart: str, row: str, labels: Sequence[str], pressed: int = 0) -> str:
    buttons = "".join(
        f'<button type="button" aria-pressed="{str(place == pressed).lower()}">{escape(label)}</button>'
        for place, label in enumerate(labels)
    )
    name = escape(row)
    opening = f'<div class="choices" role="group" aria-label="{name}" data-chart="{escape(chart)}" data-row="{name}">'
    return f"{opening}<span>{name}</span>{buttons}</div>"


@cache
def _plotly() -> str:
    """Plotly's JavaScript, a third of its size: browsers unpack gzip themselves."""
    try:
        script = resources.files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    except (ModuleNotFoundError, OSError) as error:
        raise AmcError(f"report: plotly's script is missing ({error}); pip install plotly") from error
    return base64.b64encode(gzip.compress(script, 9, mtime=0)).decode()


@cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> list[str]:
    return _asset("page.html").split("@@")  # text, name of a part, text, name …
