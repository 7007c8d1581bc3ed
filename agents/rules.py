"""Actions of an environment's heuristics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def rule_actions(start: Mapping[str, Any], name: str, wanted: str) -> list[float]:
    """The actions of a heuristic in a reset's info.

    Args:
        start: the info.
        name: of the heuristic.
        wanted: the setting that asks for it, for the message.

    Raises:
        ValueError: the environment has no such heuristic.
    """
    rules = start.get("rules") or {}
    if name not in rules:
        raise ValueError(f"{wanted}: this environment has no such rule; it has {', '.join(rules) or 'none'}")
    return [float(action) for action in rules[name]]
