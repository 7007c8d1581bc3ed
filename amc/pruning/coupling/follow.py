"""Follows channels through a forward pass, operation by operation as they run (a ``TorchDispatchMode``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.module_tracker import ModuleTracker

from amc.pruning.coupling import operations as ops
from amc.pruning.coupling.labels import at
from amc.pruning.coupling.planes import Planes, along
from amc.pruning.coupling.rules import Rule, Rules
from amc.pruning.layers import is_per_channel, watched, without_fast_path


class Follower(Rules, TorchDispatchMode):
    """Labels every tensor of a forward pass with the channels that its elements belong to."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.parameters: dict[str, Planes] = {}
        self._tracker = ModuleTracker()
        self._types = {name: type(module).__name__ for name, module in model.named_modules()}
        self._prefix = type(model).__name__
        for name, tensor in _tensors(model):
            if tensor not in self._names:  # tied tensors have the same channels
                own = self._of_parameter(tensor, model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2])
                self._planes[tensor], self._names[tensor] = own, name
            self.parameters[name] = self._of(tensor)

    def run(self, model: nn.Module, example: Tensor) -> None:
        """Follows one forward pass; what the network returns is frozen."""
        handles = [
            module.register_forward_pre_hook(lambda _, args, name=name: self._note(name, args[0]))
            for name, module in model.named_modules()
            if is_per_channel(module) and not any(True for _ in _tensors(module))
        ]
        with watched(model, handles), without_fast_path(), torch.no_grad(), self._tracker, self:
            output = model(example)
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                for plane in self._of(leaf):
                    self.atoms.freeze(plane, "its channels are the network's output")

    def _note(self, name: str, x: Tensor) -> None:
        """Channels of a layer without tensors of its own."""
        atoms = at(self._of(x), 1)
        if atoms is not None:
            self.inputs[name] = atoms

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
        if func._overloadpacket not in ops.FACTORIES:
            self._label(rule, func, args, kwargs, result)
        return result

    def _label(self, rule: Rule | None, func: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not any(self._of(t) for t in tensors):
            return
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

    def _here(self, func: Any) -> str:
        """The module that runs now, and the operation, as a reason."""
        names = [n[len(self._prefix) + 1 :] for n in self._tracker.parents if n.startswith(f"{self._prefix}.")]
        name = max(names, key=lambda n: (n.count("."), len(n)), default="")
        op = str(func._overloadpacket).removeprefix("aten.")
        if not name or name not in self._types:
            return f"channels can't be followed through the network's own {op}"
        return f"layer {name} ({self._types[name]}) can't be cut: channels can't be followed through its {op}"

    def _of_parameter(self, tensor: Tensor, module: nn.Module, name: str) -> Planes:
        dims = range(tensor.dim())
        if name == "weight" and isinstance(module, nn.modules.conv._ConvNd):
            dims = range(2)
        return tuple(along(self.atoms.new(tensor.shape[d]), d, tensor.dim()) for d in dims if tensor.shape[d] > 1)


def _tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Parameters and buffers by all of their names."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)
