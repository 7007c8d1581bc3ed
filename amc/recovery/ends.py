"""Ends of layers' outputs, behind a batch norm and an addition, found in one forward pass."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from amc.pruning.inputs import Example, part, run
from amc.pruning.layers import watched
from amc.recovery.events import Call, Events, tensors_in
from amc.recovery.norms import has_statistics
from amc.recovery.rows import can_reconstruct, has_own_weight

ADDITIONS = ("add", "__add__", "__iadd__", "add_", "__radd__")
RECTIFIERS = ("relu", "relu_")


@dataclass(frozen=True)
class End:
    """End of a layer's output: behind a batch norm and the addition of a value computed before the layer ran.

    Either step may be missing. Nothing but the next step reads what comes before it.

    Attributes:
        event: the function call that makes the value.
        norm: the batch norm.
        shortcut_event: the function call that made the other summand.
        low, high: where an activation cuts the value off, if that is all that reads it.
    """

    event: int
    norm: str | None = None
    shortcut_event: int | None = None
    low: float = -math.inf
    high: float = math.inf


@torch.no_grad()
def find_ends(model: nn.Module, example: Example) -> dict[str, End]:
    """Layer → its end, in the order of the calls, for every layer that can be reconstructed.

    Left out are layers that one pass calls several times and those that share their weight. An addition belongs to
    the summand that is computed last: the other is known by then, so the layer can be fitted to make up for what
    pruning has done to it (He et al. 2017, §3.3: enhancement for multi-branch networks).
    """
    record = _Record(model)
    record.run(part(example, slice(2)))
    own = has_own_weight(model)
    return {
        record.names[module]: _end(record, module)
        for module, times in record.times_called.items()
        if can_reconstruct(module) and module in record.made and times == 1 and own(module)
    }


def _end(record: _Record, layer: nn.Module) -> End:
    end = End(record.made[layer])
    reader = record.sole_reader(end.event)
    if reader is not None and reader in record.norms:
        end = replace(end, event=reader, norm=record.norms[reader])
        reader = record.sole_reader(reader)
    if reader is not None and record.steps[reader].is_addition:
        others = [e for e in record.steps[reader].read if e != end.event]
        if len(others) == 1 and others[0] is not None and others[0] < record.started[layer]:
            end = replace(end, event=reader, shortcut_event=others[0])
            reader = record.sole_reader(reader)
    limits = None if reader is None else record.steps[reader].limits
    if limits is not None:
        end = replace(end, low=limits[0], high=limits[1])
    return end


@dataclass
class _Step:
    """Record of a function call.

    Attributes:
        read: the calls that made the tensors among its arguments; ``None`` for parameters and inputs of the network.
        is_addition: of two tensors of one shape.
        limits: between which values it lets its input through, if it is an activation that does nothing else.
        readers: the calls that read its result.
    """

    read: list[int | None]
    is_addition: bool
    limits: tuple[float, float] | None
    readers: list[int]


class _Record:
    """The function calls of one forward pass, and which of them belong to layers and batch norms."""

    def __init__(self, model: nn.Module) -> None:
        self.names = {m: n for n, m in model.named_modules()}
        self.steps: list[_Step] = []
        self.times_called: Counter[nn.Module] = Counter()
        self.started: dict[nn.Module, int] = {}  # module → number of calls before it ran
        self.made: dict[nn.Module, int] = {}  # module → call of its output
        self.norms: dict[int, str] = {}  # call → batch norm that can be undone
        self._model = model
        self._made_at: dict[int, int] = {}  # id of a tensor → call
        self._alive: list[torch.Tensor] = []  # keeps ids from being reused

    def run(self, example: Example) -> None:
        events = Events(self._on_call)

        def before(module: nn.Module, _: Any) -> None:
            self.started[module] = events.count

        def after(module: nn.Module, _: Any, output: Any) -> None:
            self.times_called[module] += 1
            if isinstance(output, torch.Tensor) and id(output) in self._made_at:
                self.made[module] = self._made_at[id(output)]

        watching = [m for m in self.names if can_reconstruct(m) or isinstance(m, _BatchNorm)]
        handles = [m.register_forward_pre_hook(before) for m in watching]
        handles += [m.register_forward_hook(after) for m in watching]
        with watched(self._model, handles), events:
            run(self._model, example)
        for m, call in self.made.items():
            if isinstance(m, _BatchNorm) and m.affine and has_statistics(m) and self.times_called[m] == 1:
                self.norms[call] = self.names[m]

    def sole_reader(self, event: int) -> int | None:
        readers = self.steps[event].readers
        return readers[0] if len(readers) == 1 else None

    def _on_call(self, call: Call) -> None:
        read = [self._made_at.get(id(t)) for t in call.inputs()]
        for event in {event for event in read if event is not None}:
            self.steps[event].readers.append(call.event)
        self.steps.append(_Step(read, _is_addition(call), _limits(call), []))
        for tensor in tensors_in((call.result,)):
            self._made_at[id(tensor)] = call.event
            self._alive.append(tensor)


def _is_addition(call: Call) -> bool:
    shapes = [t.shape for t in call.inputs()]
    return call.name in ADDITIONS and not call.kwargs and len(shapes) == 2 and shapes[0] == shapes[1]


def _limits(call: Call) -> tuple[float, float] | None:
    if call.name in RECTIFIERS:
        return 0.0, math.inf
    if call.name == "hardtanh" and {"min_val", "max_val"} <= call.kwargs.keys():  # ReLU6 is one
        return float(call.kwargs["min_val"]), float(call.kwargs["max_val"])
    return None
