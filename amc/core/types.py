"""Shared frozen types, each validated on construction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from amc.core.errors import AmcError
from amc.core.places import Branch, ChannelSlice, SizeSlice, TensorSlice
from amc.core.plan_files import PLAN_FORMAT, plan_entries, read_plan
from amc.core.scores import Loss as Loss
from amc.core.scores import Metrics as Metrics


@dataclass(frozen=True, eq=False)
class LayerGroup:
    """Layers whose channels must be removed together: one action of the agent.

    Attributes:
        name: path of the first layer (in forward order) that produces the channels.
        kind: the producer's kind: ``conv3x3``, ``conv1x1``, ``depthwise3x3``, ``grouped3x3``, ``linear``.
        channels: original channel count.
        step: kept counts must be a multiple of it (grouped convolutions keep equally many per convolution group).
        residual: whether the channels are a residual stream (several producers are added up).
        in_channels, height, width, stride, kernel: of the first producer; height and width of its output.
        macs: multiply-accumulates of all producers of the group, in the dense network.
        params: parameters of all producers of the group, in the dense network.
        slices: every place where the channels occur in layers.
        tensors: every place where they occur in other tensors.
        sizes: numbers that follow them.
        branch: for a residual branch, which is kept (1) or dropped (0) as a whole: what is skipped without it.
        within: names of the branches that hold all of the group: with one of them dropped, there is nothing to cut.
        parts: groups that it stands for, if they are tied: each keeps as many of its own channels.
        frozen: why the group can't be pruned; ``None`` if it can.
    """

    name: str
    kind: str
    channels: int
    step: int
    residual: bool
    in_channels: int
    height: int
    width: int
    stride: int
    kernel: int
    macs: int
    params: int
    slices: tuple[ChannelSlice, ...] = ()
    frozen: str | None = None
    tensors: tuple[TensorSlice, ...] = ()
    sizes: tuple[SizeSlice, ...] = ()
    branch: Branch | None = None
    within: tuple[str, ...] = ()
    parts: tuple[LayerGroup, ...] = ()

    def __post_init__(self) -> None:
        if self.channels < 1 or self.step < 1 or self.channels % self.step:
            raise ValueError(f"group {self.name}: {self.channels} channels in steps of {self.step}")

    @property
    def members(self) -> tuple[LayerGroup, ...]:
        """The groups that are cut by its count: itself, or those that it ties."""
        return self.parts or (self,)

    @property
    def fewest(self) -> int:
        """The smallest count that any plan may give it."""
        return 0 if self.branch is not None else 1

    def min_channels(self, min_keep: float, channel_round: int = 1) -> int:
        """Fewest channels that ``min_keep`` allows, at least one step, in whole rounding units."""
        unit = self.unit(channel_round)
        return min(self.channels, max(unit, int(np.ceil(min_keep * self.channels / unit - 1e-9)) * unit))

    def max_channels(self, max_keep: float, channel_round: int = 1) -> int:
        """Most channels that ``max_keep`` allows, in whole rounding units; 0 where that is less than one unit."""
        unit = self.unit(channel_round)
        return self.channels if max_keep >= 1 else int(np.floor(max_keep * self.channels / unit + 1e-9)) * unit

    def unit(self, channel_round: int = 1) -> int:
        """Rounding unit: the least common multiple of ``step`` and ``channel_round``, the whole group at most."""
        return min(int(np.lcm(self.step, channel_round)), self.channels)

    def round_channels(self, keep_ratio: float, channel_round: int = 1) -> int:
        """``keep_ratio`` × channels, to the nearest rounding unit, at least one unit; 1.0 gives all channels.

        There is no part of a branch: less than 1.0 is none of it.
        """
        unit = self.unit(channel_round)
        if keep_ratio >= 1:
            return self.channels
        if self.branch is not None:
            return 0
        return min(self.channels, max(unit, round(keep_ratio * self.channels / unit) * unit))


@dataclass(frozen=True)
class PruningPlan:
    """Group name → kept channel count. Immutable and hashable.

    Build it with :meth:`make`, which checks it against the groups it is for.
    """

    kept: tuple[tuple[str, int], ...]
    original: tuple[tuple[str, int], ...] = field(compare=False)

    @classmethod
    def make(cls, groups: Sequence[LayerGroup], kept: Mapping[str, int]) -> PruningPlan:
        """A validated plan over all groups; a group that ``kept`` leaves out keeps all its channels.

        So does one within a branch that is dropped, whatever ``kept`` says: plans of one network are equal.

        Raises:
            AmcError: unknown group, count outside [1, channels], not a multiple of the group's step, or a cut of
                a frozen group.
        """
        unknown = sorted(set(kept) - {g.name for g in groups})
        if unknown:
            raise AmcError(f"plan: the model has no group {unknown[0]!r}; was the plan made for another model?")
        counts = []
        for g in groups:
            count = int(kept.get(g.name, g.channels))
            if not g.fewest <= count <= g.channels:
                raise AmcError(
                    f"plan: group {g.name} keeps {count} of {g.channels} channels; give {g.fewest} … {g.channels}"
                )
            if count % g.step:
                raise AmcError(f"plan: group {g.name} keeps {count} channels; give a multiple of {g.step}")
            if g.frozen is not None and count != g.channels:
                raise AmcError(
                    f"plan: group {g.name} can't be pruned ({g.frozen}) but keeps {count} of {g.channels}; "
                    "use the model the plan was made for"
                )
            gone = any(kept.get(branch, 1) == 0 for branch in g.within)
            counts.append((g.name, g.channels if gone else count))
        return cls(tuple(counts), tuple((g.name, g.channels) for g in groups))

    def __getitem__(self, name: str) -> int:
        return dict(self.kept)[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.kept)

    def keep_ratios(self) -> dict[str, float]:
        """Group name → kept / original channels, in (0, 1]."""
        return {name: count / total for (name, count), (_, total) in zip(self.kept, self.original, strict=True)}

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``plan.json``; read back with :meth:`from_json`."""
        groups = {n: {"keep": c, "of": t} for (n, c), (_, t) in zip(self.kept, self.original, strict=True)}
        return {"format": PLAN_FORMAT, "groups": groups}

    @classmethod
    def from_json(cls, data: object, groups: Sequence[LayerGroup]) -> PruningPlan:
        """Checks ``data`` against ``groups``.

        Raises:
            AmcError: not a plan, or a plan for another model.
        """
        by_name = {g.name: g for g in groups}
        kept: dict[str, int] = {}
        for name, entry in plan_entries(data).items():
            if name in by_name and by_name[name].channels != entry["of"]:
                raise AmcError(
                    f"plan: group {name} has {entry['of']} channels in the plan and {by_name[name].channels} in the "
                    "model; use the model the plan was made for"
                )
            kept[name] = entry["keep"]
        return cls.make(groups, kept)

    @classmethod
    def load(cls, path: str | Path, groups: Sequence[LayerGroup]) -> PruningPlan:
        """Reads a ``plan.json``. Raises ``AmcError`` if it is missing, damaged or for another model."""
        return cls.from_json(read_plan(path), groups)

    @staticmethod
    def check_file(path: str | Path) -> None:
        """Raises ``AmcError`` if there is no plan in ``path``, of whatever model."""
        plan_entries(read_plan(path))


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass of one input. ``latency_ms`` is ``None`` where no latency table was measured."""

    macs: int
    params: int
    latency_ms: float | None = None

    def __post_init__(self) -> None:
        if self.macs < 0 or self.params < 0:
            raise ValueError(f"negative cost: {self}")

    def get(self, name: str) -> float:
        """The cost called ``macs``, ``params`` or ``latency_ms``."""
        value = getattr(self, name)
        if value is None:
            raise AmcError(f"{name} is not known: no latency table was measured")
        return float(value)


@dataclass(frozen=True)
class Uncounted:
    """An operation that multiplies in a way that nobody counts.

    Attributes:
        calls: in one forward pass.
        time_share: of the forward pass's time on this machine, a fraction.
    """

    calls: int
    time_share: float


@dataclass(frozen=True)
class Episode:
    """One finished walk over all groups. Only a plan ``within_budget`` can be a search's result."""

    index: int
    reward: float
    plan: PruningPlan
    metrics: Metrics
    cost: Cost
    seconds: float
    scalars: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    within_budget: bool = True


@dataclass(frozen=True)
class Scored:
    """A network's results: on validation images, on test images if there are any, and its cost."""

    val: Metrics
    test: Metrics | None
    cost: Cost

    def to_json(self) -> dict[str, Any]:
        """The entry for ``summary.json``; scores are fractions, latency in milliseconds."""
        scores = {
            name: None if metrics is None else metrics.to_json()
            for name, metrics in (("val", self.val), ("test", self.test))
        }
        cost = {"macs": self.cost.macs, "params": self.cost.params, "latency_ms": self.cost.latency_ms}
        return {**scores, **cost}
