"""The channels of a network that can only be removed together, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import nn

from amc.core.places import ChannelSlice, SizeSlice, TensorSlice
from amc.pruning.coupling.atoms import Atoms, Ids
from amc.pruning.coupling.follow import Follower, Selections, followed
from amc.pruning.coupling.lengths import Attribute
from amc.pruning.coupling.planes import varies
from amc.pruning.coupling.products import Product
from amc.pruning.inputs import Example
from amc.pruning.layers import Mixing, is_cuttable, is_depthwise, is_per_channel, is_transposed, tensor_of

ONE_CHANNEL = "has only 1 channel, the fewest that can be kept"
Axis = Literal["out", "in"]


@dataclass(frozen=True)
class Coupling:
    """One set of channels and every place where they occur.

    Attributes:
        producers: layers, or other tensors, that make them, in forward order; a depthwise convolution, which only
            carries them on, last.
        channels: how many there are.
        slices: their places in layers that can be cut.
        tensors: their places in other tensors.
        sizes: numbers that modules keep and that follow them.
        added: whether outputs of several layers are added up in them.
        frozen: why they can't be removed; ``None`` if they can.
        atoms: root → channel.
    """

    producers: tuple[str, ...]
    channels: int
    slices: tuple[ChannelSlice, ...]
    added: bool
    frozen: str | None
    tensors: tuple[TensorSlice, ...] = ()
    sizes: tuple[SizeSlice, ...] = ()
    atoms: Mapping[int, int] | None = None


@dataclass(frozen=True)
class Couplings:
    """All couplings of a network, and what else a forward pass told.

    Attributes:
        all: in forward order.
        selections: operations that reckon with all channels at once.
        products: matrix products outside of layers, and those of ``moving`` ones; their axes hold roots.
        moving: layers whose number of positions follows channels.
    """

    all: tuple[Coupling, ...]
    selections: Selections
    products: tuple[Product, ...]
    moving: frozenset[str]


def couplings(model: nn.Module, example: Example, calls: Iterable[str], *, whole_heads: bool = True) -> Couplings:
    """The couplings of ``model`` in forward order.

    Args:
        model: in evaluation mode; left as it is.
        example: one input.
        calls: layers that a forward pass of it reaches, in order of first call.
        whole_heads: whether heads go as a whole; else their width shrinks.
    """
    follower = followed(model, example, whole_heads)
    roots = follower.atoms.roots
    selections = {
        key: tuple((argument, dim, roots(atoms)) for argument, dim, atoms in choices)
        for key, choices in follower.selections.items()
    }
    products = tuple(
        Product(p.module, p.constant, tuple(roots(a) for a in p.axes))
        for p in follower.products
        if p.module in follower.moving or not isinstance(model.get_submodule(p.module), Mixing)
    )
    found = tuple(_Found(model, follower, list(calls)).all())
    return Couplings(found, selections, products, frozenset(follower.moving))


Key = tuple[str, Axis] | tuple[str, int] | Attribute  # an axis of a layer or of a tensor, or a number


class Occurrences:
    """Where each root is, along many axes."""

    def __init__(self, axes: Mapping[Key, Ids]) -> None:
        self._keys = list(axes)
        sizes = [len(roots) for roots in axes.values()]
        roots = np.concatenate([*axes.values(), np.zeros(0, np.int64)])
        self._order = np.argsort(roots, kind="stable")
        self._sorted = roots[self._order]
        self._key = np.repeat(np.arange(len(sizes)), sizes)
        self._position = np.concatenate([*map(np.arange, sizes), np.zeros(0, np.int64)])

    def of(self, order: Ids) -> dict[Key, tuple[Ids, Ids]]:
        """For every axis with some of these roots: positions, ascending, and which root is there."""
        low, high = (np.searchsorted(self._sorted, order, side) for side in ("left", "right"))
        counts = high - low
        starts = np.repeat(low - np.cumsum(counts) + counts, counts)
        entries = self._order[starts + np.arange(counts.sum())]
        channels = np.repeat(np.arange(len(order)), counts)
        by_place = np.argsort(entries, kind="stable")  # axis by axis, along each
        entries, channels = entries[by_place], channels[by_place]
        keys, firsts = np.unique(self._key[entries], return_index=True)
        pieces = zip(np.split(self._position[entries], firsts[1:]), np.split(channels, firsts[1:]), strict=True)
        return {self._keys[key]: piece for key, piece in zip(keys.tolist(), pieces, strict=False)}


class _Found:
    def __init__(self, model: nn.Module, follower: Follower, calls: Sequence[str]) -> None:
        self._model, self._follower, self._calls = model, follower, calls
        roots = follower.atoms.roots
        self._axes = {
            (name, axis): roots(atoms)
            for name, module in model.named_modules()
            if is_cuttable(module)
            for axis, atoms in _axes(name, module, follower).items()
        }
        self._tensors = self._other_tensors()
        self._sizes = {a: (value, roots(atoms)) for a, value, atoms in reversed(follower.sizes)}  # the first counts
        numbers = {attribute: at for attribute, (_, at) in self._sizes.items()}
        everywhere: dict[Key, Ids] = {}
        for found in (self._axes, self._tensors, numbers):
            everywhere.update(found)  # type: ignore[arg-type]
        self._everywhere = Occurrences(everywhere)
        self._reasons = follower.atoms.reasons()
        added = follower.added
        self._added = set(roots(np.concatenate(added)).tolist()) if added else set()

    def all(self) -> list[Coupling]:
        """Layers whose outputs share a channel belong to one coupling."""
        makers = self._makers()
        sets = Atoms()
        ids = dict(zip(makers, sets.new(len(makers)).tolist(), strict=True))
        owner: dict[int, int] = {}
        for name, atoms in makers.items():
            shared = [owner.setdefault(root, ids[name]) for root in np.unique(atoms).tolist()]
            sets.join(np.array(ids[name]), np.array(shared))
        members: dict[int, list[str]] = {}
        for name, root in zip(makers, sets.roots(np.array(list(ids.values()), dtype=np.int64)).tolist(), strict=True):
            members.setdefault(root, []).append(name)
        found = [c for names in members.values() for c in self._couplings(names, makers)]
        found = [c for c in found if c.slices or len(c.tensors) > 1]  # a table's own rows are nobody's channels
        found += [Coupling((name,), 1, (), False, ONE_CHANNEL) for name in self._mixing() if name not in makers]
        return sorted(found, key=lambda c: self._when(c.producers[0]))

    def _mixing(self) -> list[str]:
        return [name for name in self._calls if isinstance(self._model.get_submodule(name), Mixing)]

    def _makers(self) -> dict[str, Ids]:
        """Layers, and tensors of others whose channels no layer makes → roots of what they make."""
        makers = {name: self._axes[name, "out"] for name in self._mixing() if (name, "out") in self._axes}
        claimed = set(np.concatenate([*makers.values(), np.zeros(0, np.int64)]).tolist())
        for (name, dim), roots in sorted(self._tensors.items(), key=lambda item: self._when(item[0][0])):
            if claimed.isdisjoint(roots.tolist()) and not any(int(root) in self._reasons for root in roots):
                makers[name if name not in makers else f"{name}.{dim}"] = roots
                claimed |= set(roots.tolist())
        return makers

    def _when(self, producer: str) -> tuple[int, str]:
        name = producer.partition(":")[0]
        order = self._follower.order
        found = min((when for key, when in order.items() if key == name or key.startswith(f"{name}.")), default=None)
        return (len(self._follower.parameters) if found is None else found, name)

    def _couplings(self, names: Sequence[str], makers: Mapping[str, Ids]) -> list[Coupling]:
        """One for all channels that occur equally often everywhere; others are other couplings."""
        producers = sorted(names, key=self._carries_on)
        reason = self._reason(producers, makers)
        # Of channels that stay whole, and that producers share in parts alone, those of the first say enough.
        roots = np.concatenate([makers[name] for name in (producers[:1] if reason else producers)])
        unique, places = np.unique(roots, return_index=True)
        order = unique[np.argsort(places)]  # by place in the first producer
        if reason is not None:
            return [self._coupling(producers, order, reason)]
        found = []
        for own in self._alike(order):
            mine = [name for name in producers if np.isin(makers[name], own).any()]
            found.append(self._coupling(mine, own, None))
        return _named_apart(found)

    def _carries_on(self, name: str) -> bool:
        return (name, "out") in self._axes and is_depthwise(self._model.get_submodule(name))

    def _alike(self, order: Ids) -> list[Ids]:
        """These roots, split into those that occur equally often along every axis; the first one's kind first."""
        places = self._everywhere.of(order)
        counts = [
            np.bincount(channels, minlength=len(order))
            for key, (_, channels) in places.items()
            if not isinstance(key, Attribute)
        ]
        _, first, kind = np.unique(np.array(counts).T, axis=0, return_index=True, return_inverse=True)
        return [order[kind.reshape(-1) == k] for k in np.argsort(first)]

    def _coupling(self, producers: Sequence[str], order: Ids, reason: str | None) -> Coupling:
        slices, tensors, sizes = [], [], []
        for key, (positions, channels) in self._everywhere.of(order).items():
            if isinstance(key, Attribute):
                value, roots = self._sizes[key]
                name = key.name if key.index is None else f"{key.name}[{key.index}]"
                sizes.append(SizeSlice(key.module, name, value * len(positions) // len(roots), channels))
            elif isinstance(key[1], int):
                tensors.append(TensorSlice(key[0], key[1], positions, channels))
            else:
                slices.append(ChannelSlice(key[0], key[1], positions, channels))
        channel = {int(root): i for i, root in enumerate(order)}
        added = not self._added.isdisjoint(channel)
        return Coupling(
            tuple(producers), len(order), tuple(slices), added, reason, tuple(tensors), tuple(sizes), channel
        )

    def _reason(self, producers: Sequence[str], makers: Mapping[str, Ids]) -> str | None:
        """Why the channels that these layers make can't be removed."""
        roots = (root for name in producers for root in makers[name].tolist())
        return next((self._reasons[root] for root in roots if root in self._reasons), None)

    def _other_tensors(self) -> dict[tuple[str, int], Ids]:
        """(tensor outside of known layers, dimension) → roots along it; of tied tensors the first name."""
        known = {
            tensor
            for name, module in self._model.named_modules()
            if is_cuttable(module)
            for tensor in _own(name, module)
        }
        found, seen = {}, set()
        for name in known & self._follower.parameters.keys():
            seen.add(id(tensor_of(self._model, name)))
        for name, planes in self._follower.parameters.items():
            tensor = tensor_of(self._model, name)
            if id(tensor) in seen or name in known or name not in self._follower.order:
                continue
            seen.add(id(tensor))
            for plane in planes:
                (dim,) = varies(plane)
                found[name, dim] = self._follower.atoms.roots(plane.reshape(-1))
        return found


def _named_apart(found: Sequence[Coupling]) -> list[Coupling]:
    """Several couplings with one first producer get numbers, as ``qkv`` and ``qkv:2``."""
    if len(found) == 1:
        return list(found)
    names: dict[str, int] = {}
    result = []
    for c in found:
        count = names[c.producers[0]] = names.get(c.producers[0], 0) + 1
        own = c.producers if count == 1 else (f"{c.producers[0]}:{count}", *c.producers[1:])
        result.append(Coupling(own, c.channels, c.slices, c.added, c.frozen, c.tensors, c.sizes, c.atoms))
    return result


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
