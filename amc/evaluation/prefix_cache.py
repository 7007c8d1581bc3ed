"""A network of which only later layers differ from the dense one need not be run from the start.

Up to the first layer that differs, activations are the dense network's: they are computed once for all networks that
differ from the same layer on, and remembered. Sensitivity curves cut one group at a time, which halves their cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from amc.data import ImageSet

LARGEST_BYTES = 2 * 2**30  # of activations kept, twice while they change; what needs more is run from the start
PROBE_IMAGES = 2
TOLERANCE = 1e-4  # of the largest output, between the dense network with and without memory; on a CPU they are equal


class PrefixCache:
    """Remembers how the dense network begins, for networks that are scored on the same images."""

    def __init__(self, uncut: nn.Module, images: ImageSet, batch_size: int, dtype: torch.dtype) -> None:
        """Runs two images.

        Args:
            uncut: in the form in which the others are scored (folded, cast); its own from now on.
            images: what all are scored on, in this order.
            batch_size: images in one forward pass.
            dtype: of the weights.
        """
        self._uncut, self._images, self._batch_size, self._dtype = uncut.eval(), images, batch_size, dtype
        self._probe = next(images.take(PROBE_IMAGES).batches(PROBE_IMAGES, dtype=dtype))[0]
        self._calls, self._answer = _watch(self._uncut, self._probe)
        self._memory: _Memory | None = None

    @torch.inference_mode()
    def lend(self, other: nn.Module) -> bool:
        """Lets ``other`` skip what it shares with the dense network, in its next pass over all the images.

        What differs is found by comparing tensors, so that it does not matter who changed them. ``other`` is used up:
        after that pass it must not be run again.

        Returns:
            Whether anything can be skipped.
        """
        first = self._first_difference(other)
        if first is None:
            return False
        if self._memory is None or self._memory.first != first:
            self._memory = self._remember(first)
        if not self._memory.real:
            return False
        self._memory.attach(other)
        return True

    def _first_difference(self, other: nn.Module) -> str | None:
        """The module called first of those that have other tensors than in the dense network."""
        theirs = dict(other.named_modules())
        for name in self._calls:
            module = self._uncut.get_submodule(name)
            if name not in theirs or type(theirs[name]) is not type(module) or not _same(module, theirs[name]):
                return name
        return None

    def _remember(self, first: str) -> _Memory:
        """The outputs of what ends before ``first`` is called, as far as anything later needs them."""
        skipped = self._skippable(self._calls[first].began)
        # What a module leaves on itself for others to read, beside its output, is from now on of other images: should
        # it be skipped, the answer is wrong, and shows that it must not be.
        self._uncut(1 - 2 * self._probe.flip(0))
        shapes = {name: self._calls[name].output.shape[1:] for name in skipped}

        def enough(real: Sequence[str]) -> bool:
            return self._agrees(_Memory(first, skipped, {n: [self._calls[n].output] for n in real}, shapes))

        real = _needed(skipped, enough)
        if sum(self._calls[name].output.nbytes for name in real) / PROBE_IMAGES * len(self._images) > LARGEST_BYTES:
            real = []
        return _Memory(first, skipped if real else [], self._record(first, real), shapes)

    def _skippable(self, end: int) -> list[str]:
        """Modules as large as possible that have ended by then, in the order of their ends."""
        chosen: list[str] = []
        for name, call in self._calls.items():
            inside = any(name.startswith(f"{outer}.") for outer in chosen)
            if call.ended < end and call.times == 1 and call.is_plain and not inside:
                chosen.append(name)
        return sorted(chosen, key=lambda name: self._calls[name].ended)

    def _agrees(self, memory: _Memory) -> bool:
        """Whether the dense network still answers the same: what is not remembered is NaN, and would show."""
        with memory.attached(self._uncut):
            try:
                answer = self._uncut(self._probe)
            except Exception:  # whatever the network's own code raises
                return False
        return float((answer - self._answer).abs().max()) <= TOLERANCE * float(self._answer.abs().max())  # no: NaN

    def _record(self, first: str, names: Sequence[str]) -> dict[str, list[Tensor]]:
        """The outputs of ``names`` for all images; begins with the memory at hand, if that ends early enough."""
        found: dict[str, list[Tensor]] = {name: [] for name in names}
        if not names:
            return found
        before = self._memory
        if before is None or self._calls[before.first].began > self._calls[first].began:
            before = _Memory(first, [], {}, {})

        def keep(name: str) -> Any:
            # A copy: later operations may work in place.
            return lambda _module, _inputs, output: found[name].append(output.clone())

        def stop(*_: object) -> None:
            raise _ReachedError

        handles = [self._uncut.get_submodule(name).register_forward_hook(keep(name)) for name in names]
        handles.append(self._uncut.get_submodule(first).register_forward_pre_hook(stop))
        try:
            with before.attached(self._uncut):
                for x, _ in self._images.batches(self._batch_size, dtype=self._dtype):
                    try:
                        self._uncut(x)
                    except _ReachedError:
                        continue
        finally:
            _remove(handles)
        return found


class _ReachedError(Exception):
    """The first layer that differs is about to be called."""


@dataclass
class _Call:
    """When a module's first call began and ended, how often it was called, and what it gave on the probe."""

    began: int
    ended: int
    times: int
    output: Any

    @property
    def is_plain(self) -> bool:
        """Whether the output is one tensor, image by image."""
        return isinstance(self.output, Tensor) and self.output.dim() > 0 and len(self.output) == PROBE_IMAGES


@dataclass(frozen=True)
class _Memory:
    """What a network's modules are replaced by.

    Attributes:
        first: module from which on a network runs itself.
        skipped: modules that are not run.
        real: the outputs of some of these, batch by batch.
        shapes: of the outputs of all, without the first dimension; the others give NaN.
    """

    first: str
    skipped: list[str]
    real: Mapping[str, list[Tensor]]
    shapes: Mapping[str, torch.Size]

    def attach(self, model: nn.Module) -> RemovableHandle:
        """Replaces the modules' forward passes; the model must then be given the batches in order."""
        batch, images = -1, 0

        def next_batch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            nonlocal batch, images
            batch, images = batch + 1, len(inputs[0])

        def give(name: str) -> Any:
            # A copy: later operations may work in place.
            def remembered(*_: Any, **__: Any) -> Tensor:
                return self.real[name][batch].clone()

            def nothing(*_: Any, **__: Any) -> Tensor:
                some = next(iter(self.real.values()))[batch]
                return some.new_full((), torch.nan).expand(images, *self.shapes[name])

            return remembered if name in self.real else nothing

        for name in self.skipped:
            # Not setattr: forward is a method of the class, and stays one. The module itself must remain, its
            # attributes may be read.
            model.get_submodule(name).__dict__["forward"] = give(name)
        return model.register_forward_pre_hook(next_batch)

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """The same for a block."""
        handle = self.attach(model)
        try:
            yield
        finally:
            for name in self.skipped:
                del model.get_submodule(name).__dict__["forward"]
            handle.remove()


@torch.inference_mode()
def _watch(model: nn.Module, probe: Tensor) -> tuple[dict[str, _Call], Tensor]:
    """Every module that a forward pass calls, in the order in which they begin, and the answer."""
    calls: dict[str, _Call] = {}
    time = 0

    def tick() -> int:
        nonlocal time
        time += 1
        return time

    def begin(name: str) -> Any:
        def hook(*_: object) -> None:
            if name in calls:
                calls[name].times += 1
            else:
                calls[name] = _Call(tick(), 0, 1, None)

        return hook

    def end(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: object, output: Any) -> None:
            call = calls[name]
            call.ended = tick()
            call.output = output.clone() if isinstance(output, Tensor) else None

        return hook

    handles = []
    for name, module in model.named_modules():
        handles += [module.register_forward_pre_hook(begin(name)), module.register_forward_hook(end(name))]
    try:
        answer = model(probe)
    finally:
        _remove(handles)
    return calls, answer.clone()


def _needed(candidates: Sequence[str], enough: Callable[[Sequence[str]], bool]) -> list[str]:
    """Those that are needed for the rest of a network; none if all of them are not enough.

    In most networks the last one is; with a branch still open, a few of the last.
    """
    count = 1
    while not enough(candidates[-count:]):
        if count >= len(candidates):
            return []
        count *= 2
    needed = list(candidates[-count:])
    for name in needed[:-1]:
        without = [other for other in needed if other != name]
        if enough(without):
            needed = without
    return needed


def _remove(handles: Sequence[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()


def _same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules have the same tensors of their own."""
    ours, theirs = (dict([*m.named_parameters(recurse=False), *m.named_buffers(recurse=False)]) for m in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
