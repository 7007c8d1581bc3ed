"""Follows channels through a forward pass, operation by operation as they run (a ``TorchDispatchMode``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from amc.pruning.coupling import operations as ops
from amc.pruning.coupling.atoms import Ids
from amc.pruning.coupling.labels import at
from amc.pruning.coupling.lengths import Attribute, attributes_as_lengths
from amc.pruning.coupling.planes import Planes, along
from amc.pruning.coupling.rules import Rule, Rules
from amc.pruning.coupling.watch import Watch
from amc.pruning.inputs import Example, outputs_of, run
from amc.pruning.layers import Mixing, is_per_channel, unfused, watched, without_gradients

# (operation, how often it ran before) → (argument, dimension, atoms): what it may see only the kept channels of
Selections = dict[tuple[str, int], tuple[tuple[int, int, Ids], ...]]


class Follower(Rules, TorchDispatchMode):
    """Labels every tensor of a forward pass with the channels that its elements belong to.

    Attributes:
        parameters: planes of parameters and buffers, by name.
        selections: operations that reckon with all channels at once.
        sizes: a module's number, and the atoms along an axis whose length it was.
        quotients: atoms along an axis whose length was divided by one of these numbers, for a length that stays.
        order: parameter → when it was first used.
    """

    def __init__(self, model: nn.Module, free: Mapping[int, int] | None = None) -> None:
        super().__init__(free)
        self.parameters: dict[str, Planes] = {}
        self.selections: Selections = {}
        self.sizes: list[tuple[Attribute, int, Ids]] = []
        self.quotients: list[tuple[Ids, tuple[Attribute, ...]]] = []
        self.order: dict[str, int] = {}
        self._model = model
        self._modules = dict(model.named_modules())
        self._ran: Counter[str] = Counter()
        self._now: Any = None
        self._running: list[str] = []  # modules, the outermost first
        for name, tensor in _tensors(model):
            if tensor not in self._names:  # tied tensors have the same channels
                own = self._of_parameter(tensor, model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2])
                self._planes[tensor], self._names[tensor] = own, name
            self.parameters[name] = self._of(tensor)

    def run(self, example: Example) -> None:
        """Follows one forward pass; what the network returns is frozen."""
        model = self._model
        handles = [
            module.register_forward_pre_hook(lambda _, args, name=name: self._note_input(name, args[0]))
            for name, module in model.named_modules()
            if is_per_channel(module) and not any(True for _ in _tensors(module))
        ]
        for name, module in self._modules.items():
            handles.append(module.register_forward_pre_hook(lambda _, __, name=name: self._running.append(name)))
            handles.append(module.register_forward_hook(lambda *_: self._left(), always_call=True))
        with ExitStack() as stack:
            stack.enter_context(watched(model, handles))
            stack.enter_context(without_gradients(model))
            stack.enter_context(attributes_as_lengths(model, self))
            stack.enter_context(unfused())
            stack.enter_context(torch.no_grad())
            stack.enter_context(self)
            stack.enter_context(Watch(self))
            output = run(model, example)
        self._keep_quotients()
        for leaf in outputs_of(output):
            for plane in self._of(leaf):
                self.atoms.freeze(plane, "its channels are the network's output")

    def _keep_quotients(self) -> None:
        """Ties an axis to the channels that its divisor follows: both lose in proportion, and the quotient stays."""
        known = {attribute: atoms for attribute, _, atoms in reversed(self.sizes)}
        for atoms, numbers in self.quotients:
            divisor = next((known[n] for n in numbers if n in known and len(atoms) % len(known[n]) == 0), None)
            if divisor is not None and not np.isin(self.atoms.roots(atoms), self.atoms.roots(divisor)).all():
                self.atoms.join(atoms.reshape(len(divisor), -1), divisor[:, None])

    def label(self, tensor: Tensor, dim: int, atoms: Ids) -> None:
        """Says that these channels lie along an axis of a tensor that was made in this size."""
        others = [plane for plane in self._of(tensor) if plane.shape[dim] == 1]
        self._planes[tensor] = (*others, along(atoms, dim, tensor.dim()))

    def _note_input(self, name: str, x: Tensor) -> None:
        """Channels of a layer without tensors of its own."""
        atoms = at(self._of(x), 1)
        if atoms is not None:
            self.inputs[name] = atoms

    def _selected(self, func: Any, *choices: tuple[int, int, Ids]) -> None:
        packet = str(func._overloadpacket)
        self.selections[packet, self._ran[packet] - 1] = choices

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        rule = self._rule(func._overloadpacket)
        if rule is None:  # under inference mode, operations come in one piece
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        self._index += 1
        self._ran[str(func._overloadpacket)] += 1
        if func._overloadpacket not in ops.FACTORIES:
            self._label(rule, func, args, kwargs, result)
        return result

    def _label(self, rule: Rule | None, func: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        for tensor in tensors:
            if tensor in self._names:
                self.order.setdefault(self._names[tensor], self._index)
        if not any(self._of(t) for t in tensors):
            if func._overloadpacket in ops.PRODUCTS and rule is not None:
                rule(func, args, kwargs, result)
            return
        self._now = func
        found = None if rule is None else rule(func, args, kwargs, result)
        if found is None:
            for tensor in tensors:
                self._freeze(self._of(tensor), self._here(func))
            return
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        for output, planes in zip(outputs, found, strict=False):
            before = self._of(output)
            if any(output is t for t in tensors) and planes and not before:
                self._freeze(planes, "they are written into a tensor of fixed size")
            self._planes[output] = planes

    def _left(self) -> None:
        self._running.pop()

    def _module(self) -> str:
        return self._running[-1] if self._running else ""

    def _layer(self) -> str | None:
        name = self._module()
        return name if isinstance(self._modules.get(name), Mixing) else None

    def _place(self) -> str:
        op = str(self._now._overloadpacket).removeprefix("aten.") if self._now is not None else "code"
        return f"{self._module() or 'the network itself'}, {op}"

    def _here(self, func: Any) -> str:
        """The module that runs now, and the operation, as a reason."""
        name, op = self._module(), str(func._overloadpacket).removeprefix("aten.")
        if not name:
            return f"channels can't be followed through the network's own {op}"
        kind = type(self._modules[name]).__name__
        return f"layer {name} ({kind}) can't be cut: channels can't be followed through its {op}"

    def _of_parameter(self, tensor: Tensor, module: nn.Module, name: str) -> Planes:
        if not (tensor.is_floating_point() or tensor.is_complex()):
            return ()  # indices and masks
        dims = range(tensor.dim())
        if name == "weight" and isinstance(module, nn.modules.conv._ConvNd):
            dims = range(2)
        return tuple(along(self.atoms.new(tensor.shape[d]), d, tensor.dim()) for d in dims if tensor.shape[d] > 1)


def followed(model: nn.Module, example: Example, whole_heads: bool = True) -> Follower:
    """A follower that has followed one forward pass; where heads or parts were to be told apart first, the second.

    ``whole_heads=False``: channels within heads go, alike in all of them, and no head as a whole.
    """
    first = Follower(model, None)
    first.run(example)
    if not first.divisions:
        return first
    second = Follower(model, _heads(first) if whole_heads else {})
    second.run(example)
    return second


def _heads(found: Follower) -> dict[int, int]:
    """Divisions of which whole heads go: number of the operation → the dimension of the heads.

    The channels of a batch of matrices are looked for as they are, and as what they were joined with on their way.
    """
    free: dict[int, int] = {}
    roots = found.atoms.roots
    for joined in (False, True):
        batches = _different(_rows(roots(plane) if joined else plane) for plane in found.batched)
        for index, divided in found.divisions.items():
            part = roots(divided) if joined else divided
            for dim in (d for d, size in enumerate(part.shape) if size > 1):
                if index not in free and any(_is_along(part, dim, rows) for rows in batches):
                    free[index] = dim
    return free


def _rows(plane: Ids) -> Ids:
    """A plane by its place in the batch of matrices: ``[batch, others]``."""
    return plane.reshape(plane.shape[0], -1)


def _different(batches: Iterable[Ids]) -> list[Ids]:
    """Each once: layers have their own, but a layer's may come many times."""
    return list({rows.tobytes(): rows for rows in batches}.values())


def _is_along(part: Ids, dim: int, rows: Ids) -> bool:
    """Whether each row holds atoms of one place of ``part`` along ``dim``, and not the same in all."""
    if not torch.isin(torch.from_numpy(rows[0]), torch.from_numpy(part.reshape(-1))).all():
        return False
    place: dict[int, set[int]] = {}
    for atom, where in zip(part.reshape(-1).tolist(), _places(part, dim).reshape(-1).tolist(), strict=True):
        place.setdefault(atom, set()).add(where)
    found = [set().union(*(place.get(atom, {-1}) for atom in row)) for row in rows.tolist()]
    return all(len(places) == 1 for places in found) and len(set().union(*found)) > 1


def _places(part: Ids, dim: int) -> Ids:
    shape = [1] * part.ndim
    shape[dim] = part.shape[dim]
    return torch.arange(part.shape[dim]).reshape(shape).expand(part.shape).numpy()


def _tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Parameters and buffers by all of their names."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)
