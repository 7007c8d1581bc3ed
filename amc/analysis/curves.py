"""Sensitivity curves: score and loss over the keep ratio of each layer group, cut alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from amc.core.checks import Interval, number, require, text, whole
from amc.core.errors import AmcError
from amc.core.scores import FRACTION, Scale
from amc.core.types import LayerGroup, Metrics, PruningPlan

CURVES_FORMAT = 1
# Attributes → keys in files, where the score has been called accuracy, whatever the metric, since format 1.
ARRAYS = {"kept": "kept", "score": "accuracy", "loss": "loss"}
SCALARS = {
    "dense_score": "dense_accuracy", "dense_loss": "dense_loss", "images": "images", "seconds": "seconds",
    "metric": "metric",
}  # fmt: skip
BROKEN_LOSS = 100.0  # nats: assigned to a network whose outputs overflow
Floats = npt.NDArray[np.float64]
Evaluate = Callable[[PruningPlan], Metrics]


@dataclass(frozen=True)
class Point:
    """One measured value: ``group`` alone keeps ``kept`` channels. ``seconds`` it took; not part of equality."""

    group: str
    kept: int
    score: float
    loss: float
    seconds: float = field(default=0.0, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Plain data, read back with :meth:`from_json`."""
        return {("accuracy" if name == "score" else name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Any) -> Point:
        """Raises ``TypeError``, ``LookupError`` or ``ValueError`` if ``data`` is something else."""
        accuracy, loss, seconds = number(data["accuracy"], 0, 1), number(data["loss"]), number(data["seconds"], 0)
        return cls(text(data["group"]), whole(data["kept"], 1), accuracy, loss, seconds)


@dataclass(frozen=True, eq=False)
class Curves:
    """Sensitivity curves: metric and loss with each group pruned alone, everything else dense.

    Attributes:
        names: groups in walk order.
        channels: original channel count of each group.
        keep_ratios: as asked for, descending, below 1.
        kept: channels really kept at each ratio, ``[groups, ratios]``; small groups round several ratios to one count.
        score: the metric as a fraction, ``[groups, ratios]``.
        loss: mean loss, ``[groups, ratios]``.
        dense_score, dense_loss: of the dense network: the value at keep ratio 1.
        images: how many images each value was measured on.
        seconds: time of all measurements, cached ones included.
        metric: name of the metric.
        scale: of its values.
    """

    names: tuple[str, ...]
    channels: tuple[int, ...]
    keep_ratios: tuple[float, ...]
    kept: npt.NDArray[np.int64]
    score: Floats
    loss: Floats
    dense_score: float
    dense_loss: float
    images: int
    seconds: float = 0.0
    metric: str = "accuracy"
    scale: Scale = FRACTION

    def __post_init__(self) -> None:
        shape = (len(self.names), len(self.keep_ratios))
        for what in ("kept", "score", "loss"):
            if getattr(self, what).shape != shape:
                raise ValueError(f"curves: {what} is {getattr(self, what).shape} for {shape[0]} groups × {shape[1]}")
        if len(self.channels) != shape[0] or 0 in shape:
            raise ValueError(f"curves: {len(self.channels)} channel counts for {shape[0]} groups × {shape[1]} ratios")
        check_keep_ratios(self.keep_ratios)
        # Without its one channel, a branch is dropped.
        fewest = np.where(np.array(self.channels) == 1, 0, 1)[:, None]
        if not ((self.kept >= fewest) & (self.kept <= np.array(self.channels)[:, None])).all():
            raise ValueError("curves: a group keeps no channel, or more than it has")
        if not ((self.score >= 0) & (self.score <= 1)).all() or not 0 <= self.dense_score <= 1:
            raise ValueError("curves: a score is not a fraction in [0, 1]")

    def index(self, group: str) -> int:
        """Row of ``group``. Raises ``AmcError`` for a group without a curve."""
        if group not in self.names:
            raise AmcError(f"curves: no curve of group {group!r}; were they measured on another network?")
        return self.names.index(group)

    def loss_at(self, group: str, keep_ratio: float | Floats) -> Any:
        """Loss at any keep ratio in (0, 1]: the dense network's at 1, linear between measured values.

        Below the smallest measured ratio the last slope is extrapolated, unless fewer channels would lower the loss.
        """
        return self._at(group, keep_ratio, self.loss, self.dense_loss, worse=1, monotone=False)

    def loss_increase(self, group: str, keep_ratio: float | Floats) -> Any:
        """Loss above the dense network's, made monotone: never less with fewer channels, never below 0."""
        return self._at(group, keep_ratio, self.loss, self.dense_loss, worse=1, monotone=True) - self.dense_loss

    def score_drop(self, group: str, keep_ratio: float | Floats) -> Any:
        """Score below the dense network's, made monotone, at most the whole score."""
        found = self._at(group, keep_ratio, self.score, self.dense_score, worse=-1, monotone=True)
        return self.dense_score - np.maximum(found, 0.0)

    def keep_ratio_at_drop(self, group: str, drop: float) -> float:
        """Smallest keep ratio, in whole channels and the measured range, that loses no more than ``drop``."""
        row = self.index(group)
        ratios = np.arange(self.kept[row].min(), self.channels[row] + 1) / self.channels[row]
        fine = self.score_drop(group, ratios) <= drop + 1e-9
        return float(ratios[np.argmax(fine)])  # at least one: the dense network's drop is 0

    def _at(
        self, group: str, keep_ratio: float | Floats, values: Floats, dense: float, worse: int, monotone: bool
    ) -> Any:
        row = self.index(group)
        counts, first = np.unique(self.kept[row], return_index=True)
        x = np.append(counts, self.channels[row]) / self.channels[row]  # ascending, ends at 1
        y = np.append(values[row][first], dense)
        if counts[-1] == self.channels[row]:  # a ratio that rounds to all channels is the dense network
            x, y = np.delete(x, -2), np.delete(y, -2)
        slope = worse * max(worse * (y[0] - y[1]), 0.0) / (x[1] - x[0]) if len(x) > 1 else 0.0
        if monotone:
            y = worse * np.maximum.accumulate(worse * y[::-1])[::-1]
        return np.interp(keep_ratio, x, y) + slope * np.maximum(x[0] - np.asarray(keep_ratio), 0.0)

    def to_json(self) -> dict[str, Any]:
        """Plain data, read back with :meth:`from_json` to the same numbers."""
        arrays = {key: getattr(self, name).tolist() for name, key in ARRAYS.items()}
        scalars = {key: getattr(self, name) for name, key in SCALARS.items()}
        lists = {name: list(getattr(self, name)) for name in ("names", "channels", "keep_ratios")}
        own = {} if self.scale.is_fraction else {"scale": self.scale.to_json()}
        return {"format": CURVES_FORMAT, **lists, **scalars, **arrays, **own}

    @classmethod
    def from_json(cls, data: Any) -> Curves:
        """Inverse of :meth:`to_json`. Raises ``AmcError`` for any other data."""
        if not isinstance(data, dict) or data.get("format") != CURVES_FORMAT:
            raise AmcError(f"curves: expected {{'format': {CURVES_FORMAT}, …}}; is this a file of curves?")
        try:
            return cls(
                names=tuple(map(str, data["names"])),
                channels=tuple(map(int, data["channels"])),
                keep_ratios=tuple(map(float, data["keep_ratios"])),
                kept=np.array(data["kept"], dtype=np.int64),
                score=np.array(data["accuracy"], dtype=float),
                loss=np.array(data["loss"], dtype=float),
                dense_score=float(data["dense_accuracy"]),
                dense_loss=float(data["dense_loss"]),
                images=int(data["images"]),
                seconds=float(data["seconds"]),
                metric=str(data.get("metric", "accuracy")),
                scale=Scale.from_json(data.get("scale")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise AmcError(f"curves: {error}; the file is damaged") from error


def check_keep_ratios(keep_ratios: Collection[float]) -> None:
    """Raises ``AmcError`` unless they are numbers in (0, 1), descending, at least one."""
    if not isinstance(keep_ratios, (list, tuple)) or not keep_ratios:
        raise AmcError(f"keep_ratios={keep_ratios}: give a list such as [0.9,0.7,0.5,0.3,0.1]")
    for ratio in keep_ratios:
        require("keep_ratios", ratio, float, Interval(0, 1, ends="()"), hint="; the dense network is measured anyway")
    if any(later >= earlier for earlier, later in pairwise(keep_ratios)):
        raise AmcError(f"keep_ratios={list(keep_ratios)}: give them in descending order, each once")


def prunable(groups: Sequence[LayerGroup]) -> list[LayerGroup]:
    """The groups that can be pruned, in walk order. Raises ``AmcError`` if there are none."""
    free = [g for g in groups if g.frozen is None]
    if not free:
        raise AmcError("zero prunable groups: freeze less, or choose another model")
    return free


def wanted_points(groups: Sequence[LayerGroup], keep_ratios: Sequence[float]) -> list[tuple[str, int]]:
    """(Group, kept channels) of every value needed for curves over these ratios, each once."""
    check_keep_ratios(keep_ratios)
    return list(dict.fromkeys((g.name, g.round_channels(ratio)) for g in prunable(groups) for ratio in keep_ratios))


def measure_curves(
    groups: Sequence[LayerGroup],
    evaluate: Evaluate,
    dense: Metrics,
    keep_ratios: Sequence[float],
    *,
    known: Collection[Point] = (),
    on_point: Callable[[Point, int, int], None] | None = None,
) -> Curves:
    """Evaluates each prunable group alone at each ratio, group by group in walk order, gentlest cut first.

    Args:
        groups: of the network; frozen ones get no curve.
        evaluate: plan → metrics.
        dense: of the dense network.
        keep_ratios: descending, in (0, 1); each is rounded to channels that the group can keep.
        known: values measured before a resume or by another command.
        on_point: called after each new measurement with the value, the number of values so far and in total.

    Raises:
        AmcError: impossible ratios, zero prunable groups.
    """
    check_keep_ratios(keep_ratios)
    free = prunable(groups)
    kept = np.array([[g.round_channels(ratio) for ratio in keep_ratios] for g in free], dtype=np.int64)
    wanted = wanted_points(groups, keep_ratios)
    found: dict[tuple[str, int], Point] = {(p.group, p.kept): p for p in known}
    done = sum(key in found for key in wanted)
    for name, count in wanted:
        if (name, count) not in found:
            found[name, count] = _point(name, count, evaluate(PruningPlan.make(groups, {name: count})))
            done += 1
            if on_point is not None:
                on_point(found[name, count], done, len(wanted))
    return _curves(free, keep_ratios, kept, found, dense)


def _point(name: str, count: int, metrics: Metrics) -> Point:
    loss = metrics.loss if isfinite(metrics.loss) else BROKEN_LOSS
    return Point(name, count, metrics.score, loss, sum(metrics.seconds.values()))


def _curves(
    free: Sequence[LayerGroup],
    keep_ratios: Sequence[float],
    kept: npt.NDArray[np.int64],
    found: Mapping[tuple[str, int], Point],
    dense: Metrics,
) -> Curves:
    rows = [[found[g.name, int(n)] for n in row] for g, row in zip(free, kept, strict=True)]
    return Curves(
        names=tuple(g.name for g in free),
        channels=tuple(g.channels for g in free),
        keep_ratios=tuple(map(float, keep_ratios)),
        kept=kept,
        score=np.array([[p.score for p in row] for row in rows]),
        loss=np.array([[p.loss for p in row] for row in rows]),
        dense_score=dense.score,
        dense_loss=dense.loss,
        images=dense.images,
        metric=dense.metric,
        scale=dense.scale,
        seconds=sum({(p.group, p.kept): p.seconds for row in rows for p in row}.values()),
    )
