"""Where a layer group's channels are: in layers, in other tensors, in numbers; and what a residual branch is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

# What a module returns: ``None`` a tensor; else a tuple, true where a tensor is.
Form = tuple[bool, ...] | None


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


@dataclass(frozen=True)
class Summand:
    """A summand of an addition: the operation's name, how often it had run before, and the argument's place."""

    operation: str
    ran: int
    place: int


@dataclass(frozen=True, eq=False)
class Branch:
    """A residual branch: without it, its summand is zero and these modules need not run.

    Attributes:
        name: of the module around its layers, and ``:branch``.
        modules: path → form of what the module returns.
        summand: what it computes.
    """

    name: str
    modules: Mapping[str, Form]
    summand: Summand
