"""Results that outlive the run folders they were read from."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def merge(file: Path, columns: Sequence[str], keys: Sequence[str], found: Sequence[Line]) -> list[Line]:
    """The lines of a CSV file, those of ``found`` in the place of all with the same ``keys``; written back, sorted.

    A cell without a value isn't in its line.
    """
    kept: list[Line] = []
    if file.exists():
        with file.open(newline="") as opened:
            kept = [
                {name: _value(text) for name, text in row.items() if text or name in keys}
                for row in csv.DictReader(opened)
            ]

    def name(line: Line) -> tuple[Any, ...]:
        return tuple(line[key] for key in keys)

    fresh = {name(line) for line in found}
    lines = sorted([line for line in kept if name(line) not in fresh] + list(found), key=name)
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    return lines


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
