"""Where residual branches join, found by watching the function calls of one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from amc.layers import Mixing, watched
from amc.recovery.norms import has_statistics

ADDITIONS = ("add", "__add__", "__iadd__", "add_", "__radd__")


@dataclass(frozen=True)
class Join:
    """An addition that a layer's output goes into, straight or through one batch norm.

    Attributes:
        norm: the batch norm between, if any.
        shortcut_event: the function call that made the other summand, earlier in the pass than the layer.
        add_event: the addition.
    """

    norm: str | None
    shortcut_event: int
    add_event: int


class Events(TorchFunctionMode):
    """Numbers the torch function calls of a forward pass. The same network on other inputs numbers them alike."""

    def __init__(self, on_call: Callable[[int, str, tuple[Any, ...], Any], None]) -> None:
        super().__init__()
        self.count = 0
        self._on_call = on_call
        self._paused = False

    def hook(self, function: Callable[..., None]) -> Callable[..., None]:
        """``function`` as a module hook whose own calls are not numbered."""

        def quiet(*args: Any) -> None:
            self._paused = True
            try:
                function(*args)
            finally:
                self._paused = False

        return quiet

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and not self._paused:
            # keywords change what a function does (the alpha of an addition): such a call counts as any other
            self._on_call(self.count, "" if kwargs else getattr(func, "__name__", ""), args, result)
            self.count += 1
        return result


@torch.no_grad()
def find_joins(model: nn.Module, example: torch.Tensor) -> dict[str, Join]:
    """Layer → the addition it ends in, for the summand that is computed last.

    The other summand is known by then, so the layer can be fitted to make up for what pruning has done to it
    (He et al. 2017, §3.3: enhancement for multi-branch networks).
    """
    example = example[:2]  # before events are numbered
    names = {m: n for n, m in model.named_modules()}
    made_by_layer: dict[int, tuple[str, int]] = {}  # tensor → (layer, event before it ran)
    made_by_norm: dict[int, tuple[str, str, int]] = {}  # tensor → (norm, layer, event before the layer ran)
    made_at: dict[int, int] = {}  # tensor → event
    alive: list[torch.Tensor] = []  # keeps ids from being reused
    joins: dict[str, Join] = {}

    def branch(tensor: torch.Tensor) -> tuple[str | None, str, int] | None:
        if id(tensor) in made_by_norm:
            return made_by_norm[id(tensor)]
        found = made_by_layer.get(id(tensor))
        return (None, *found) if found else None

    def on_call(event: int, name: str, args: tuple[Any, ...], result: torch.Tensor) -> None:
        if name in ADDITIONS and len(args) > 1 and all(isinstance(a, torch.Tensor) for a in args[:2]):
            a, b = args[:2]
            for last, other in ((a, b), (b, a)):
                found = branch(last)
                known = made_at.get(id(other))
                if a.shape == b.shape and found is not None and known is not None and known < found[2]:
                    joins[found[1]] = Join(found[0], known, event)
        made_at[id(result)] = event
        made_by_layer.pop(id(result), None)
        made_by_norm.pop(id(result), None)
        alive.append(result)

    with Events(on_call) as events:
        started: dict[nn.Module, int] = {}
        handles = []
        for module, name in names.items():
            if isinstance(module, Mixing):

                def layer_hook(m: nn.Module, _: Any, output: torch.Tensor, name: str = name) -> None:
                    made_by_layer[id(output)] = (name, started[m])

                handles.append(module.register_forward_pre_hook(lambda m, _: started.update({m: events.count})))
                handles.append(module.register_forward_hook(layer_hook))
            elif isinstance(module, _BatchNorm) and module.affine and has_statistics(module):

                def norm_hook(_: nn.Module, inputs: Any, output: torch.Tensor, name: str = name) -> None:
                    if id(inputs[0]) in made_by_layer:
                        made_by_norm[id(output)] = (name, *made_by_layer[id(inputs[0])])

                handles.append(module.register_forward_hook(norm_hook))
        with watched(model, handles):
            model(example)
    return joins
