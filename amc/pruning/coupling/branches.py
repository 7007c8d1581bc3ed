"""Residual branches: what a network computes only to add it to something else, and so could do without.

Every operation of a forward pass is noted with what it reads. Of an addition of two activations, a summand's *branch*
is all that nothing else reads: were the summand zero, none of it need run. Modules of which every operation lies in a
branch can be skipped with it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from amc.core.places import Branch, Form, Summand
from amc.pruning.coupling.operations import PRODUCTS, aten
from amc.pruning.inputs import Example, outputs_of, run, tensors
from amc.pruning.layers import is_inside, unfused, watched, without_gradients

ADDITIONS = (aten.add, aten.add_)
SUFFIX = ":branch"  # of their names
OUTPUT = -1  # reads what the network returns


@dataclass(frozen=True)
class _Operation:
    """One operation of the pass.

    Attributes:
        packet: which one.
        ran: how often it had run before.
        reads: the operations that made its arguments.
        fed: whether the network's input reaches it.
        modules: that run it, the outermost first.
    """

    packet: Any
    ran: int
    reads: tuple[int, ...]
    fed: bool
    modules: tuple[str, ...]


def branches(model: nn.Module, example: Example) -> list[Branch]:
    """The branches that can be skipped, in the order in which they are added.

    Of two summands that could both be left out, the one that is cheaper to keep stays, or nothing would be left; but
    for those within a larger branch.

    Args:
        model: in evaluation mode; left as it is.
        example: one input.
    """
    flow = _Dataflow(model, example)
    found: list[tuple[Branch, frozenset[int]]] = []
    for index, sources in reversed(flow.additions.items()):  # what lies around comes before what lies within
        inside = any(index in dead for _, dead in found)
        both = [(place, flow.only_for(source, index)) for place, source in enumerate(sources)]
        both = [(place, dead) for place, dead in both if flow.products(dead)]
        if len(both) == 2 and not inside:
            both = [max(both, key=lambda entry: flow.products(entry[1]))]
        for place, dead in both:
            operation = flow.operations[index]
            forms = flow.skippable(dead)
            if forms and not _shares_weights(model, forms):
                summand = Summand(str(operation.packet), operation.ran, place)
                found.append((Branch(_name(forms, flow.modules_of_products(dead)), forms, summand), dead))
    return _named_apart([branch for branch, _ in reversed(found)])


class _Dataflow(TorchDispatchMode):
    """Notes what each operation of a forward pass reads.

    Attributes:
        operations: in the order in which they ran.
        additions: additions of two activations of one shape → the operations that made them; ``None``: the input.
    """

    def __init__(self, model: nn.Module, example: Example) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[_Operation] = []
        self.additions: dict[int, tuple[int | None, int | None]] = {}
        self._readers: list[set[int]] = []
        self._made = WeakTensorKeyDictionary()
        self._fed = WeakTensorKeyDictionary()
        self._ran: Counter[Any] = Counter()
        self._running: list[str] = []
        self._calls: Counter[str] = Counter()
        self._forms: dict[str, Form] = {}
        self._run(model, example)
        self._sizes = Counter(name for i in self._matter() for name in self.operations[i].modules)

    def _run(self, model: nn.Module, example: Example) -> None:
        handles = []
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(lambda _, __, name=name: self._running.append(name)))
            handles.append(module.register_forward_hook(lambda _, __, result, name=name: self._left(name, result)))
        for tensor in tensors(example):
            self._fed[tensor] = True
        with ExitStack() as stack:
            stack.enter_context(watched(model, handles))
            stack.enter_context(without_gradients(model))
            stack.enter_context(unfused())
            stack.enter_context(torch.no_grad())
            stack.enter_context(self)
            output = run(model, example)
        for leaf in outputs_of(output):
            if leaf in self._made:
                self._readers[self._made[leaf]].add(OUTPUT)

    def _left(self, name: str, result: Any) -> None:
        self._running.pop()
        self._calls[name] += 1
        if isinstance(result, Tensor):
            self._forms[name] = None
        elif type(result) in (tuple, list):
            self._forms[name] = tuple(isinstance(entry, Tensor) for entry in result)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        made, fed = [self._made.get(t) for t in given], [t in self._fed for t in given]
        result = func(*args, **(kwargs or {}))
        packet, index = func._overloadpacket, len(self.operations)
        reads = tuple(dict.fromkeys(source for source in made if source is not None))
        self.operations.append(_Operation(packet, self._ran[packet], reads, any(fed), tuple(self._running)))
        self._ran[packet] += 1
        self._readers.append(set())
        for source in reads:
            self._readers[source].add(index)
        if (
            packet in ADDITIONS
            and len(given) == 2
            and all(fed)
            and given[0] is not given[1]
            and given[0].shape == given[1].shape
        ):
            self.additions[index] = (made[0], made[1])
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._made[leaf] = index
                if any(fed):
                    self._fed[leaf] = True
        return result

    def _matter(self) -> set[int]:
        """The operations that the output depends on; no others stay among the readers."""
        found = set[int]()
        for index in reversed(range(len(self.operations))):
            self._readers[index] &= found | {OUTPUT}
            if self._readers[index]:
                found.add(index)
        return found

    def only_for(self, source: int | None, addition: int) -> frozenset[int]:
        """What runs for nothing but the summand that ``source`` gives to ``addition``."""
        if source is None or self._readers[source] != {addition}:
            return frozenset()
        dead, waiting = set[int](), [-source]
        while waiting:  # later ones first: when an operation's turn comes, all that read it have had theirs
            index = -heapq.heappop(waiting)
            if index in dead or (index != source and not self._readers[index] <= dead):
                continue
            dead.add(index)
            for before in self.operations[index].reads:
                heapq.heappush(waiting, -before)
        return frozenset(dead)

    def products(self, dead: Collection[int]) -> int:
        """How many of these operations multiply matrices."""
        return sum(self.operations[i].packet in PRODUCTS for i in dead)

    def modules_of_products(self, dead: Collection[int]) -> list[str]:
        """The innermost modules that run these."""
        found = (self.operations[i] for i in dead)
        return [operation.modules[-1] for operation in found if operation.packet in PRODUCTS]

    def skippable(self, dead: Collection[int]) -> dict[str, Form]:
        """The outermost modules that run nothing else, and run once: path → form of what they return."""
        inside = Counter(name for i in dead for name in self.operations[i].modules)
        whole = {name for name, count in inside.items() if count == self._sizes[name] and self._calls[name] == 1}
        outermost = (next((name for name in self.operations[i].modules if name in whole), None) for i in sorted(dead))
        return {name: self._forms[name] for name in outermost if name in self._forms and name is not None}


def _shares_weights(model: nn.Module, paths: Collection[str]) -> bool:
    """Whether others use a parameter of these modules."""
    ends: dict[bool, set[int]] = {True: set(), False: set()}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        ends[is_inside(name, paths)].add(id(parameter))
    return not ends[True].isdisjoint(ends[False])


def _name(forms: Mapping[str, Form], products: Collection[str]) -> str:
    """The module around all products of a branch."""
    steps = zip(*(name.split(".") for name in products), strict=False)
    shared = takewhile(lambda names: len(set(names)) == 1, steps)
    return ".".join(names[0] for names in shared) or next(iter(forms))


def _named_apart(found: list[Branch]) -> list[Branch]:
    """Several of one name get numbers."""
    times: Counter[str] = Counter()
    result = []
    for branch in found:
        times[branch.name] += 1
        number = times[branch.name]
        name = f"{branch.name}{SUFFIX}{number if number > 1 else ''}"
        result.append(replace(branch, name=name))
    return result
