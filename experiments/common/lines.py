"""The studies' numbers: CSV files with a line per result, which outlive the run folders they were read from."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def read_lines(file: Path, keys: Sequence[str] = ()) -> list[Line]:
    """The lines of a CSV file, numbers as numbers; none if there is no such file.

    A cell without a value isn't in its line, except in the columns ``keys``.
    """
    if not file.exists():
        return []
    with file.open(newline="") as opened:
        return [
            {name: _value(text) for name, text in row.items() if text or name in keys} for row in csv.DictReader(opened)
        ]


def write_lines(file: Path, lines: Sequence[Line], columns: Sequence[str] | None = None) -> None:
    """Replaces a CSV file: the ``columns`` of each line, by default all that any line has, as they come."""
    names = columns or list(dict.fromkeys(name for line in lines for name in line))
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, names, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)


def merge(file: Path, columns: Sequence[str], keys: Sequence[str], found: Sequence[Line]) -> list[Line]:
    """The lines of a CSV file, those of ``found`` in the place of all with the same ``keys``; written back, sorted."""

    def name(line: Line) -> tuple[Any, ...]:
        return tuple(line[key] for key in keys)

    fresh = {name(line) for line in found}
    kept = [line for line in read_lines(file, keys) if name(line) not in fresh]
    lines = sorted([*kept, *found], key=name)
    write_lines(file, lines, columns)
    return lines


def grouped(lines: Iterable[Line], *columns: str) -> dict[Any, list[Line]]:
    """The lines with equal values in the columns together, in the order of their coming.

    Returns:
        Value of the column (with several columns: tuple of their values) → its lines.
    """
    groups: dict[Any, list[Line]] = {}
    for line in lines:
        key = line[columns[0]] if len(columns) == 1 else tuple(line[column] for column in columns)
        groups.setdefault(key, []).append(line)
    return groups


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
