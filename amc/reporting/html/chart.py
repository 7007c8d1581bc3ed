"""Interactive figures of a page, and their shared helpers."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Trace = dict[str, Any]
# Okabe and Ito's palette without black and yellow, which vanish on a dark or on a white page.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#7F7F7F")
GREY = "#9AA0A6"
FRONT = "#D55E00"
# From matplotlib's plasma without its ends: ascending lightness, told apart with any colour vision, on white and dark.
DEPTHS = ("#7E03A8", "#9C179E", "#B52F8C", "#CC4778", "#DE5F65", "#ED7953", "#F89540")


@dataclass(frozen=True)
class Choice:
    """A button: what it changes about ``traces`` (``None``: all) and the layout, and which of all are ``visible``."""

    label: str
    restyle: Mapping[str, Sequence[Any]]
    traces: tuple[int, ...] | None = None
    relayout: Mapping[str, Any] | None = None
    visible: Sequence[bool] | None = None

    def to_json(self) -> dict[str, Any]:
        """For the page's script."""
        traces = None if self.traces is None else list(self.traces)
        visible = None if self.visible is None else list(self.visible)
        return {
            "label": self.label,
            "restyle": dict(self.restyle),
            "traces": traces,
            "relayout": dict(self.relayout or {}),
            "visible": visible,
        }


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        name: unique on its page.
        title: above it.
        note: reading advice below the title.
        data: Plotly's traces.
        layout: Plotly's layout; colours of text and grid are the page's.
        height: in pixels.
        choices: rows of buttons, named; the first of each row is what ``data`` shows.
        smooth: whether a running mean of the lines is shown, ``on`` or ``off``; ``None``: it can't be chosen.
    """

    name: str
    title: str
    note: str
    data: Sequence[Trace]
    layout: Mapping[str, Any]
    height: int
    choices: Mapping[str, Sequence[Choice]]
    smooth: Literal["on", "off"] | None = None

    def to_json(self) -> dict[str, Any]:
        """For the page's script."""
        rows = {name: [choice.to_json() for choice in row] for name, row in self.choices.items()}
        return {
            "name": self.name,
            "data": list(self.data),
            "layout": dict(self.layout),
            "height": self.height,
            "choices": rows,
            "smooth": self.smooth,
        }


def text(value: object) -> str:
    """``value`` for Plotly, which takes some HTML for markup."""
    return html.escape(str(value), quote=False)


def depth_colours(count: int) -> list[str]:
    """A colour for each of ``count`` groups in walk order."""
    last = max(count - 1, 1)
    return [_between(index / last * (len(DEPTHS) - 1)) for index in range(count)]


def rounded(values: Sequence[float | None], digits: int = 5) -> list[float | None]:
    """Values rounded for a figure: a page with all digits would be twice as large."""
    return [None if value is None else round(value, digits) for value in values]


def _between(place: float) -> str:
    low = min(int(place), len(DEPTHS) - 2)
    share = place - low
    pair = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in DEPTHS[low : low + 2]]
    return "#" + "".join(f"{round(a + share * (b - a)):02X}" for a, b in zip(*pair, strict=True))
