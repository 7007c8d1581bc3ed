"""Shared frozen types, each validated on construction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from amc.core.errors import AmcError
from amc.core.files import read_json
from amc.core.scores import Loss as Loss
from amc.core.scores import Metrics as Metrics

PLAN_FORMAT = 1


@dataclass(frozen=True, eq=False)
class ChannelSlice:
    """Position of a group's channels in one layer.

    Attributes:
        layer: dotted module path, as in ``model.get_submodule``.
        axis: ``"out"``: the layer's outputs (for a norm or depthwise layer: its channels); ``"in"``: the inputs of
            a layer that mixes channels, in other words a consumer.
        positions: indices along that axis, ascending.
        channels: for each position the channel of the group it belongs to (several positions share a channel
            behind a flatten).
    """

    layer: str
    axis: Literal["out", "in"]
    positions: npt.NDArray[np.int64]
    channels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.positions) != len(self.channels):
            raise ValueError(f"{self.layer}: {len(self.positions)} positions for {len(self.channels)} channels")


@dataclass(frozen=True, eq=False)
class TensorSlice:
    """Position of a group's channels in a parameter or buffer that belongs to none of the layers above.

    Attributes:
        tensor: dotted path, as in ``model.named_parameters()``: of a free parameter, a layer norm, an embedding, a
            recurrent layer, a module of the user's own.
        dim: dimension along which the channels lie.
        positions, channels: as in :class:`ChannelSlice`.
    """

    tensor: str
    dim: int
    positions: npt.NDArray[np.int64]
    channels: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SizeSlice:
    """A whole number that a module keeps and that follows a group's channels (``num_heads``, ``hidden_size`` …).

    Attributes:
        module: dotted path.
        attribute: its name; ``name[i]`` for one number of a tuple or list.
        value: in the dense network.
        channels: for each position of the axis that it is the length of, the channel; the number is ``value`` ×
            kept positions / positions.
    """

    module: str
    attribute: str
    value: int
    channels: npt.NDArray[np.int64]


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

    def __post_init__(self) -> None:
        if self.channels < 1 or self.step < 1 or self.channels % self.step:
            raise ValueError(f"group {self.name}: {self.channels} channels in steps of {self.step}")

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
        """``keep_ratio`` × channels, to the nearest rounding unit, at least one unit; 1.0 gives all channels."""
        unit = self.unit(channel_round)
        if keep_ratio >= 1:
            return self.channels
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
            if not 1 <= count <= g.channels:
                raise AmcError(f"plan: group {g.name} keeps {count} of {g.channels} channels; give 1 … {g.channels}")
            if count % g.step:
                raise AmcError(f"plan: group {g.name} keeps {count} channels; give a multiple of {g.step}")
            if g.frozen is not None and count != g.channels:
                raise AmcError(
                    f"plan: group {g.name} can't be pruned ({g.frozen}) but keeps {count} of {g.channels}; "
                    "use the model the plan was made for"
                )
            counts.append((g.name, count))
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
        for name, entry in _plan_entries(data).items():
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
        return cls.from_json(_read_plan(path), groups)

    @staticmethod
    def check_file(path: str | Path) -> None:
        """Raises ``AmcError`` if there is no plan in ``path``, of whatever model."""
        _plan_entries(_read_plan(path))


def _read_plan(path: str | Path) -> object:
    try:
        return read_json(path)
    except AmcError as error:
        raise AmcError(f"plan={error}; give a search's plan.json") from error


def _plan_entries(data: object) -> dict[str, dict[str, int]]:
    """Group name → ``keep`` and ``of``. Raises ``AmcError`` if ``data`` is no plan."""
    if not isinstance(data, dict) or data.get("format") != PLAN_FORMAT or not isinstance(data.get("groups"), dict):
        raise AmcError(f"plan: expected {{'format': {PLAN_FORMAT}, 'groups': {{…}}}}; is this a plan.json?")
    entries: dict[str, dict[str, int]] = data["groups"]
    for name, entry in entries.items():
        if not isinstance(entry, dict) or not all(type(entry.get(k)) is int for k in ("keep", "of")):
            raise AmcError(f"plan: group {name!r} needs integers 'keep' and 'of'")
    return entries


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
