"""Printing to a terminal or a pipe."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console, RenderableType
from rich.measure import Measurement

WIDE = 10_000


def show(content: RenderableType, file: TextIO | None = None) -> None:
    """Prints to ``file`` (standard output by default); in a pipe as wide as need be, so that nothing is cut off."""
    console = Console(file=file or sys.stdout, highlight=False)
    if not console.is_terminal:
        options = console.options.update(max_width=WIDE)
        console = Console(
            file=file or sys.stdout, highlight=False, width=Measurement.get(console, options, content).maximum
        )
    console.print(content)


def count(number: float) -> str:
    """Three significant digits with k, M or G: ``4.09 G``."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            scaled = number / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {unit}"
    return f"{number:.0f}"
