"""``groups.json``: facts about the dense network's layer groups for a run's report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from amc.core.checks import text, whole
from amc.core.errors import damaged
from amc.core.files import read_json, write_json
from amc.core.types import Cost, LayerGroup

GROUPS = "groups.json"
FORMAT = 1


@dataclass(frozen=True)
class GroupFacts:
    """One layer group of the dense network; see :class:`amc.core.types.LayerGroup`."""

    name: str
    kind: str
    channels: int
    residual: bool
    macs: int
    params: int
    frozen: str | None


@dataclass(frozen=True)
class NetworkFacts:
    """All groups in walk order, and the dense network's MACs and parameters, layers without a group included."""

    macs: int
    params: int
    groups: tuple[GroupFacts, ...]


def write_groups(path: str | Path, groups: Sequence[LayerGroup], total: Cost) -> None:
    """Writes ``groups.json``; ``total`` is the dense network's cost. Raises ``AmcError`` if it can't be written."""
    entries = [asdict(facts) for facts in facts_of(groups)]
    write_json(path, {"format": FORMAT, "macs": total.macs, "params": total.params, "groups": entries})


def facts_of(groups: Sequence[LayerGroup]) -> tuple[GroupFacts, ...]:
    """Recorded facts of each group."""
    return tuple(
        GroupFacts(**{field.name: getattr(group, field.name) for field in fields(GroupFacts)}) for group in groups
    )


def read_groups(path: str | Path) -> NetworkFacts:
    """Reads a file of :func:`write_groups`. Raises ``AmcError`` if it is missing or damaged."""
    data = read_json(path)
    with damaged(path, "no layer groups"):
        groups = tuple(map(_group, data["groups"]))
        return NetworkFacts(whole(data["macs"]), whole(data["params"]), groups)


def _group(entry: dict[str, Any]) -> GroupFacts:
    frozen = entry["frozen"]
    return GroupFacts(
        name=text(entry["name"]),
        kind=text(entry["kind"]),
        channels=whole(entry["channels"], 1),
        residual=bool(entry["residual"]),
        macs=whole(entry["macs"]),
        params=whole(entry["params"]),
        frozen=None if frozen is None else text(frozen),
    )
