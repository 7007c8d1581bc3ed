"""Measurements that a run makes once and keeps in a file for a resume."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from amc.core.errors import AmcError
from amc.core.files import read_json, write_json


def measured_once(
    groups: Collection[str], file: Path | None, what: str, measure: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """Group name → the result of ``measure``, or of an earlier call from ``file``.

    A resume on another machine could measure other last digits, and with them find another plan.

    Args:
        groups: names of those that are measured.
        file: of the run folder; nothing is kept without one.
        what: the name of one amount, for the message.
        measure: takes seconds.

    Raises:
        AmcError: the file is damaged, or ``measure`` fails.
    """
    if file is not None and file.exists():
        stored = read_json(file)
        if not isinstance(stored, dict) or not all(type(v) is float and v > 0 for v in stored.values()):
            raise AmcError(f"{file}: a {what} is no number greater than 0; the file is damaged, start a new run")
        if set(stored) == set(groups):
            return dict(stored)
        # Another network's: that is refused by its weights, like everything else that changed.
    found = measure()
    if file is not None and not file.exists():
        write_json(file, found)
    return found
