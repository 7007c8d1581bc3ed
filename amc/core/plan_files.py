"""Plans as files: their form, whatever model they are for."""

from __future__ import annotations

from pathlib import Path

from amc.core.errors import AmcError
from amc.core.files import read_json

PLAN_FORMAT = 1


def read_plan(path: str | Path) -> object:
    """What a ``plan.json`` holds. Raises ``AmcError`` if it is missing or damaged."""
    try:
        return read_json(path)
    except AmcError as error:
        raise AmcError(f"plan={error}; give a search's plan.json") from error


def plan_entries(data: object) -> dict[str, dict[str, int]]:
    """Group name → ``keep`` and ``of``. Raises ``AmcError`` if ``data`` is no plan."""
    if not isinstance(data, dict) or data.get("format") != PLAN_FORMAT or not isinstance(data.get("groups"), dict):
        raise AmcError(f"plan: expected {{'format': {PLAN_FORMAT}, 'groups': {{…}}}}; is this a plan.json?")
    entries: dict[str, dict[str, int]] = data["groups"]
    for name, entry in entries.items():
        if not isinstance(entry, dict) or not all(type(entry.get(k)) is int for k in ("keep", "of")):
            raise AmcError(f"plan: group {name!r} needs integers 'keep' and 'of'")
    return entries
