"""The channels of a network that can only be removed together, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor, nn

from amc.core.types import ChannelSlice
from amc.pruning.coupling.atoms import Atoms, Ids
from amc.pruning.coupling.follow import Follower
from amc.pruning.layers import Mixing, is_cuttable, is_depthwise, is_per_channel, is_transposed

ONE_CHANNEL = "has only 1 channel, the fewest that can be kept"
Axis = Literal["out", "in"]


@dataclass(frozen=True)
class Coupling:
    """One set of channels and every place where they occur.

    Attributes:
        producers: layers that make them, in forward order; a depthwise convolution, which only carries them on, last.
        channels: how many there are.
        slices: their places in layers that can be cut.
        added: whether outputs of several layers are added up in them.
        frozen: why they can't be removed; ``None`` if they can.
    """

    producers: tuple[str, ...]
    channels: int
    slices: tuple[ChannelSlice, ...]
    added: bool
    frozen: str | None


def couplings(model: nn.Module, example_input: Tensor, calls: Iterable[str]) -> list[Coupling]:
    """The couplings of ``model`` in forward order.

    Args:
        model: in evaluation mode; left as it is.
        example_input: one input.
        calls: layers that a forward pass of it reaches, in order of first call.
    """
    follower = Follower(model)
    follower.run(model, example_input)
    return _Found(model, follower, list(calls)).all()


class _Found:
    def __init__(self, model: nn.Module, follower: Follower, calls: Sequence[str]) -> None:
        self._model, self._follower, self._calls = model, follower, calls
        self._axes = {
            (name, axis): follower.atoms.roots(atoms)
            for name, module in model.named_modules()
            if is_cuttable(module)
            for axis, atoms in _axes(name, module, follower).items()
        }
        self._reasons = follower.atoms.reasons() | self._beyond_surgery()
        added = follower.added
        self._added = set(follower.atoms.roots(np.concatenate(added)).tolist()) if added else set()

    def all(self) -> list[Coupling]:
        """Layers whose outputs share a channel belong to one coupling."""
        mixing = [name for name in self._calls if isinstance(self._model.get_submodule(name), Mixing)]
        makers = [name for name in mixing if (name, "out") in self._axes]
        sets = Atoms()
        ids = dict(zip(makers, sets.new(len(makers)).tolist(), strict=True))
        owner: dict[int, int] = {}
        for name in makers:
            shared = [owner.setdefault(root, ids[name]) for root in np.unique(self._axes[name, "out"]).tolist()]
            sets.join(np.array(ids[name]), np.array(shared))
        members: dict[str, list[str]] = {}
        for name, root in zip(makers, sets.roots(np.array(list(ids.values()), dtype=np.int64)).tolist(), strict=True):
            members.setdefault(makers[root - 1], []).append(name)
        return [
            self._coupling(members[name]) if name in members else Coupling((name,), 1, (), False, ONE_CHANNEL)
            for name in mixing
            if name in members or (name, "out") not in self._axes
        ]

    def _coupling(self, names: Sequence[str]) -> Coupling:
        producers = sorted(names, key=lambda name: is_depthwise(self._model.get_submodule(name)))
        reason = self._reason(producers)
        # Of channels that stay whole, and that producers share in parts alone, those of the first say enough.
        roots = np.concatenate([self._axes[name, "out"] for name in (producers[:1] if reason else producers)])
        unique, places = np.unique(roots, return_index=True)
        order = unique[np.argsort(places)]  # by place in the first producer
        channel = {int(root): i for i, root in enumerate(order)}
        slices = [s for key, axis in self._axes.items() if (s := _slice(*key, axis, channel)) is not None]
        return Coupling(tuple(producers), len(order), tuple(slices), not self._added.isdisjoint(channel), reason)

    def _reason(self, producers: Sequence[str]) -> str | None:
        """Why the channels that these layers make can't be removed."""
        roots = (root for name in producers for root in self._axes[name, "out"].tolist())
        return next((self._reasons[root] for root in roots if root in self._reasons), None)

    def _beyond_surgery(self) -> dict[int, str]:
        """Root → the tensor that the surgery can't cut and that has its channels."""
        found: dict[int, str] = {}
        known = {
            tensor
            for name, module in self._model.named_modules()
            if is_cuttable(module)
            for tensor in _own(name, module)
        }
        for name, planes in self._follower.parameters.items():
            if name in known:
                continue
            layer = self._model.get_submodule(name.rpartition(".")[0])
            path, _, own = name.rpartition(".")
            kind = "parameter" if own in layer._parameters else "buffer"
            reason = f"its channels meet the free {kind} {name}"
            if type(layer).__module__.startswith("torch.nn."):
                reason = f"layer {path} ({type(layer).__name__}) can't be cut"
            for plane in planes:
                for root in np.unique(self._follower.atoms.roots(plane.reshape(-1))).tolist():
                    found.setdefault(root, reason)
        return found


def _own(name: str, module: nn.Module) -> Iterable[str]:
    tensors = {**module._parameters, **module._buffers}
    return (f"{name}.{key}" if name else key for key, tensor in tensors.items() if tensor is not None)


def _axes(name: str, module: nn.Module, follower: Follower) -> dict[Axis, Ids]:
    """Atoms of a layer's channels along its axes."""
    own = {key.rpartition(".")[2]: follower.parameters[key] for key in _own(name, module) if key in follower.parameters}
    if is_per_channel(module):
        planes = next((planes[0].reshape(-1) for planes in own.values() if planes), follower.inputs.get(name))
        return {} if planes is None else {"out": planes}
    found: dict[Axis, Ids] = {}
    outer, inner = (1, 0) if is_transposed(module) else (0, 1)
    for plane in own.get("weight", ()):
        if plane.shape[outer] > 1:
            found["out"] = plane.reshape(-1)
        elif plane.shape[inner] > 1 and getattr(module, "groups", 1) == 1:
            found["in"] = plane.reshape(-1)
    key = f"{name}.weight" if name else "weight"
    if key in follower.inputs:
        found["in"] = follower.inputs[key]
    return found


def _slice(layer: str, axis: Axis, roots: Ids, channel: Mapping[int, int]) -> ChannelSlice | None:
    """Where the coupling's channels are along one axis of a layer."""
    indices = np.array([channel.get(root, -1) for root in roots.tolist()], dtype=np.int64)
    positions = np.flatnonzero(indices >= 0)
    return ChannelSlice(layer, axis, positions, indices[positions]) if len(positions) else None
