"""The episodes and the best plans of a recorded search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from amc.core.errors import damaged
from amc.core.scores import FRACTION, Scale
from amc.core.types import Cost, Episode, LayerGroup, Metrics, PruningPlan
from amc.tracking import read_episodes
from amc.tracking.episodes import KEEP, Row, metric_of, score_of


def best_episode(episodes: Sequence[Episode]) -> Episode:
    """The best :func:`eligible` episode; the first of equals."""
    return max(eligible(episodes) or episodes, key=lambda episode: episode.reward)


def eligible(episodes: Sequence[Episode]) -> list[Episode]:
    """Those within the budget whose plan was scored on all images, not stopped early."""
    most = max((episode.metrics.images for episode in episodes), default=0)
    return [episode for episode in episodes if episode.within_budget and episode.metrics.images == most]


def different(episodes: Sequence[Episode]) -> list[Episode]:
    """One :func:`eligible` episode per plan, best first; of equals, the first in time."""
    found: dict[PruningPlan, Episode] = {}
    for episode in sorted(eligible(episodes), key=lambda e: -e.reward):
        found.setdefault(episode.plan, episode)
    return list(found.values())


def best_plans(episodes_csv: str | Path, groups: Sequence[LayerGroup], most: int) -> list[PruningPlan]:
    """The different plans with the highest rewards that a search saw in full, best first, at most ``most``.

    Raises:
        AmcError: the file can't be read, or it is of another network.
    """
    return [episode.plan for episode in different(episodes_in(episodes_csv, groups))[:most]]


PARTS = ("cut", "recovery", "forward", "agent")


def episodes_in(episodes_csv: str | Path, groups: Sequence[LayerGroup], scale: Scale = FRACTION) -> list[Episode]:
    """A search's logged episodes, in order of time; ``scale``: of the metric's values, if they are to be shown.

    Raises:
        AmcError: the file can't be read, or it is of another network.
    """
    rows = read_episodes(episodes_csv)
    with damaged(episodes_csv, "no table of episodes"):
        return [_episode_of(row, groups, scale) for row in rows]


def _episode_of(row: Row, groups: Sequence[LayerGroup], scale: Scale) -> Episode:
    metric, seconds = metric_of(row), {part: row[f"{part}_seconds"] for part in PARTS}
    return Episode(
        index=int(row["episode"]),
        reward=row["reward"],
        plan=_plan_of(row, groups),
        metrics=Metrics(score_of(row), row["loss"], int(row["images"]), seconds, metric, scale),
        cost=Cost(int(row["macs"]), int(row["params"]), row.get("latency_ms")),
        seconds=row["seconds"],
        within_budget=bool(row["within_budget"]),
    )


def _plan_of(row: Mapping[str, float], groups: Sequence[LayerGroup]) -> PruningPlan:
    kept = {}
    for group in groups:
        ratio = row.get(f"{KEEP}{group.name}")
        if group.frozen is None and ratio is not None:
            kept[group.name] = round(ratio * group.channels)
    return PruningPlan.make(groups, kept)
