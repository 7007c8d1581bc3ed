"""Content of a run folder, read from its files alone."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amc.core.checks import number, whole
from amc.core.errors import AmcError, damaged
from amc.core.files import read_json
from amc.core.scores import FRACTION, LOSS, Scale
from amc.tracking.episodes import KEEP, SCORE, Row, metric_of, read_episodes
from amc.tracking.group_facts import GROUPS, GroupFacts, NetworkFacts, read_groups
from amc.tracking.run_dir import CONFIG, EPISODES
from amc.tracking.seal import check_sealed

SUMMARY, PLAN, NETWORKS = "summary.json", "plan.json", "networks"
REQUIRED = ("episode", "reward", "loss", "macs_ratio", "params_ratio")
ALSO_CALLED = {"baseline": ("dense", "uncut"), "best": ("policy",)}  # in a transfer
MOST_GROUPS = 20_000  # large networks have a thousand
UNTIMED = ("wall", "loading")  # the whole, and what came before it


@dataclass(frozen=True)
class StoredRun:
    """One network's part of a run.

    Attributes:
        name: of the folder, never where it lies.
        config: as it was started; empty where it is not known.
        summary: empty as long as the run is not finished.
        plan: group → (kept, original channels), in walk order; empty before the first episode.
        episodes: as in ``episodes.csv``; none in a transfer.
        network: facts about the groups; ``None`` in a run of an earlier version, which did not record them.
    """

    name: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    plan: Mapping[str, tuple[int, int]]
    episodes: Sequence[Row]
    network: NetworkFacts | None
    parts: Sequence[StoredRun] = field(default=())

    @property
    def model(self) -> str:
        """The network's name, or those of all."""
        if self.parts:
            return ", ".join(part.model for part in self.parts)
        return str(self.fact("model") or self.name)

    @property
    def metric(self) -> str:
        """Name of the metric that plans were scored by."""
        return metric_of(self.episodes[0]) if self.episodes else str(self.summary.get("metric", "accuracy"))

    def score(self, side: str, images: str) -> float | None:
        """The metric of ``baseline`` or ``best`` on ``val`` or ``test``; ``None`` if the run is not finished."""
        metrics = (self.summary.get(side) or {}).get(images)
        found = metrics.get(self.metric) if isinstance(metrics, Mapping) else None
        return None if found is None else float(found)

    @property
    def scale(self) -> Scale:
        """Of the metric's values, as far as it is known: an unfinished run of no fraction has some other one."""
        val = (self.summary.get("baseline") or {}).get("val")
        if isinstance(val, Mapping):
            return Scale.from_json(val.get("scale"))
        return LOSS if self.episodes and SCORE in self.episodes[0] else FRACTION

    @property
    def tick_format(self) -> str:
        """Of an axis of the metric's values."""
        return ".1%" if self.scale.is_fraction else ".4~g"

    def text(self, value: float) -> str:
        """A value of the metric for people."""
        return f"{value:.2%}" if self.scale.is_fraction else f"{value:.4g}"

    @property
    def facts(self) -> dict[str, GroupFacts]:
        """Group → what is known of it."""
        return {} if self.network is None else {group.name: group for group in self.network.groups}

    @property
    def groups(self) -> list[str]:
        """Those with a column in ``episodes.csv``, in walk order."""
        return [column.removeprefix(KEEP) for column in (self.episodes or [{}])[0] if column.startswith(KEEP)]

    def fact(self, key: str) -> Any:
        """An entry of the summary, or of the configuration as long as there is none; a group's is its name."""
        value = self.summary.get(key, self.config.get(key))
        return value.get("name", value) if isinstance(value, Mapping) and key != "budget" else value

    def seconds(self) -> dict[str, float]:
        """Part → where the time went; of a run that is not finished, its episodes' alone."""
        found = {key.removesuffix("_seconds"): value for key, value in self.summary.items() if key.endswith("_seconds")}
        if not found:
            columns = [column for column in (self.episodes or [{}])[0] if column.endswith("_seconds")]
            found = {c.removesuffix("_seconds"): sum(row.get(c, 0.0) for row in self.episodes) for c in columns}
        parts = {part: float(value) for part, value in found.items() if part not in UNTIMED and value}
        other = float(self.summary.get("wall_seconds") or 0) - sum(parts.values())
        return parts | ({"other": other} if other > 0.01 * sum(parts.values()) else {})


def read_run(folder: str | Path) -> StoredRun:
    """Everything a report shows of the run in ``folder``, finished or not.

    Raises:
        AmcError: no run, one of a command that has no report, or damaged files.
    """
    path = Path(folder)
    if not path.is_dir():
        raise AmcError(f"{path}: no such folder; give a run folder")
    check_sealed(path, CONFIG)
    config, summary = _optional(path / CONFIG), _summary(path / SUMMARY)
    parts = [_part(part) for part in sorted((path / NETWORKS).glob("*/"))] if (path / NETWORKS).is_dir() else []
    with damaged(path / CONFIG, "no list of networks"):
        order = _order(config, summary)
    if config:  # others are of a killed run over other networks, whose place this one took
        parts = [part for part in parts if part.name in order]
    parts.sort(key=lambda part: order.index(part.name) if part.name in order else len(order))
    run = _part(path, config, summary, parts)
    if not parts and not run.episodes and not run.plan:
        found = "no run" if not config else f"a run of {config.get('command', 'a command')} without a plan"
        raise AmcError(f"{path}: holds {found} (no {EPISODES}, no {PLAN}); give the folder of a search or a transfer")
    if not parts and not run.episodes and "wall_seconds" not in summary and summary.get("command") is None:
        raise AmcError(f"{path}: has a plan but neither {EPISODES} nor {SUMMARY}; give the folder of a search")
    return run


def _part(
    path: Path,
    config: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
    parts: Sequence[StoredRun] = (),
) -> StoredRun:
    return StoredRun(
        name=path.resolve().name,
        config=_optional(path / CONFIG) if config is None else config,
        summary=_summary(path / SUMMARY) if summary is None else summary,
        plan=_plan(path / PLAN),
        episodes=_episodes(path / EPISODES),
        network=read_groups(path / GROUPS) if os.path.lexists(path / GROUPS) else None,
        parts=parts,
    )


def _order(config: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    """The names of a run's networks as they were given."""
    names = summary.get("models") or config.get("models")
    networks = config.get("networks") or []
    return list(names or [net.get("name") for net in networks if isinstance(net, dict)])


def _optional(path: Path) -> dict[str, Any]:
    if not os.path.lexists(path):
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise AmcError(f"{path}: holds no object; the file is damaged")
    return content


def _summary(path: Path) -> dict[str, Any]:
    summary = _optional(path)
    for name, others in ALSO_CALLED.items():
        found = [summary[other] for other in others if other in summary]
        summary |= {name: found[0]} if found and name not in summary else {}
    for key in ("baseline", "best"):
        with damaged(path, f"{key} holds no scores"):
            _check_scores(summary.get(key, {}))
    with damaged(path, "a time is no number"):
        for key in summary:
            if key.endswith("_seconds") and summary[key] is not None:
                number(summary[key], 0)
    return summary


def _check_scores(scored: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` or ``AttributeError`` if a network's results are something else."""
    for images in ("val", "test"):
        metrics = scored.get(images) or {}
        for name, value in metrics.items():
            if name not in ("loss", "images", "scale"):
                number(value, *((0, 1) if "scale" not in metrics or name == SCORE else ()))
        Scale.from_json(metrics.get("scale"))
    for cost in ("macs", "params", "latency_ms", "reward"):
        if scored.get(cost) is not None:
            number(scored[cost], -math.inf if cost == "reward" else 0)


def _episodes(path: Path) -> Sequence[Row]:
    rows = read_episodes(path) if os.path.lexists(path) else []
    for column in REQUIRED:
        if not all(column in row for row in rows):
            raise AmcError(f"{path}: no column {column!r}; give the folder of a search")
    return rows


def _plan(path: Path) -> dict[str, tuple[int, int]]:
    content = _optional(path)
    with damaged(path, "no plan"):
        plan = {
            name: (whole(entry["keep"]), whole(entry["of"], 1)) for name, entry in content.get("groups", {}).items()
        }
        if any(kept > original for kept, original in plan.values()):
            raise ValueError("a group keeps more channels than it has")
        if len(plan) > MOST_GROUPS:
            raise ValueError(f"more than {MOST_GROUPS} groups")
    return plan
