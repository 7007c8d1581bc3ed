"""Prefix cache: networks of which only later layers differ from the dense one are not run from the start.

Activations up to the first layer that differs are computed once for all networks that differ from the same layer on.
This halves the cost of sensitivity curves, which cut one group at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from amc.data import Examples
from amc.evaluation.judged import Output, picked
from amc.pruning.inputs import Example, called_with, count, mapped, run

LARGEST_BYTES = 2 * 2**30  # of cached activations, twice that while they are replaced; beyond it nothing is skipped
PROBE_IMAGES = 2
TOLERANCE = 1e-4  # of the largest output, between the dense network with and without the cache; on a CPU they are equal


class PrefixCache:
    """Caches the dense network's first activations, for networks that are scored on the same images."""

    def __init__(
        self, dense: nn.Module, images: Examples, batch_size: int, dtype: torch.dtype, output: Output = None
    ) -> None:
        """Runs the dense network on two examples.

        Args:
            dense: in the form in which the others are scored (folded, cast), or a plan's network in its place; owned by
                the cache from now on.
            images: that all are scored on, in this order.
            batch_size: images in one forward pass.
            dtype: of the weights.
            output: which of the outputs is judged; one that is no tensor is never compared, and nothing is cached.
        """
        self._which = output
        self._dense, self._images, self._batch_size, self._dtype = dense.eval(), images, batch_size, dtype
        self._probe = next(images.take(PROBE_IMAGES).batches(PROBE_IMAGES, dtype=dtype))[0]
        self._calls, self._output = _watch(self._dense, self._probe, output)
        self._memory: _Memory | None = None

    @torch.inference_mode()
    def lend(self, other: nn.Module) -> bool:
        """Lets ``other`` skip the prefix it shares with the dense network, in its next pass over all the images.

        Differences are found by comparing tensors, whoever changed them. After that pass ``other`` must not be run
        again.

        Returns:
            Whether anything can be skipped.
        """
        first = self._first_difference(other) if self._output is not None else None
        if first is None:
            return False
        if self._memory is None or self._memory.first != first:
            self._memory = self._remember(first)
        if not self._memory.real:
            return False
        self._memory.attach(other)
        return True

    def _first_difference(self, other: nn.Module) -> str | None:
        """The first module called whose tensors differ from the dense network's."""
        theirs = dict(other.named_modules())
        for name in self._calls:
            module = self._dense.get_submodule(name)
            if name not in theirs or type(theirs[name]) is not type(module) or not _same(module, theirs[name]):
                return name
        return None

    def _remember(self, first: str) -> _Memory:
        """Outputs of the modules that end before ``first`` is called, as far as later ones need them."""
        skipped = self._skippable(self._calls[first].began)
        # Modules may leave state on themselves for others to read. From here on it is that of other images: skipping
        # such a module then changes the output, which shows that it must not be skipped.
        run(self._dense, mapped(_other, self._probe))
        shapes = {name: self._calls[name].output.shape[1:] for name in skipped}

        def enough(real: Sequence[str]) -> bool:
            return self._agrees(_Memory(first, skipped, {n: [self._calls[n].output] for n in real}, shapes))

        real = _needed(skipped, enough)
        if sum(self._calls[name].output.nbytes for name in real) / PROBE_IMAGES * len(self._images) > LARGEST_BYTES:
            real = []
        return _Memory(first, skipped if real else [], self._record(first, real), shapes)

    def _skippable(self, end: int) -> list[str]:
        """The outermost modules that have ended before ``end``, in the order of their ends."""
        chosen: list[str] = []
        for name, call in self._calls.items():
            inside = any(name.startswith(f"{outer}.") for outer in chosen)
            if call.ended < end and call.times == 1 and call.is_plain and not inside:
                chosen.append(name)
        return sorted(chosen, key=lambda name: self._calls[name].ended)

    def _agrees(self, memory: _Memory) -> bool:
        """Whether the dense network's output stays the same: what is not cached is NaN, and would show."""
        with memory.attached(self._dense):
            try:
                output = picked(run(self._dense, self._probe), self._which)
            except Exception:  # whatever the network's own code raises
                return False
        wanted = self._output
        assert wanted is not None
        return float((output - wanted).abs().max()) <= TOLERANCE * float(wanted.abs().max())  # False: NaN

    def _record(self, first: str, names: Sequence[str]) -> dict[str, list[Tensor]]:
        """The outputs of ``names`` for all images; starts from the current cache if that ends early enough."""
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

        handles = [self._dense.get_submodule(name).register_forward_hook(keep(name)) for name in names]
        handles.append(self._dense.get_submodule(first).register_forward_pre_hook(stop))
        try:
            with before.attached(self._dense):
                for x, _ in self._images.batches(self._batch_size, dtype=self._dtype):
                    try:
                        run(self._dense, x)
                    except _ReachedError:
                        continue
        finally:
            _remove(handles)
        return found


class _ReachedError(Exception):
    """The first layer that differs is about to be called."""


@dataclass
class _Call:
    """When a module's first call began and ended, how often it was called, and its output on the probe."""

    began: int
    ended: int
    times: int
    output: Any

    @property
    def is_plain(self) -> bool:
        """Whether the output is a single tensor, ``[images, …]``."""
        return isinstance(self.output, Tensor) and self.output.dim() > 0 and len(self.output) == PROBE_IMAGES


@dataclass(frozen=True)
class _Memory:
    """Cached outputs of a network's first modules.

    Attributes:
        first: the first module that is run.
        skipped: modules that are not run.
        real: the outputs of some of these, batch by batch; the others give NaN.
        shapes: of the outputs of all skipped, without the first dimension.
    """

    first: str
    skipped: list[str]
    real: Mapping[str, list[Tensor]]
    shapes: Mapping[str, torch.Size]

    def attach(self, model: nn.Module) -> RemovableHandle:
        """Replaces the modules' forward passes; the model must then be given the batches in order."""
        batch, images = -1, 0

        def next_batch(_: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
            nonlocal batch, images
            batch, images = batch + 1, count(called_with(given, named))

        def give(name: str) -> Any:
            # A copy: later operations may work in place.
            def remembered(*_: Any, **__: Any) -> Tensor:
                return self.real[name][batch].clone()

            def nothing(*_: Any, **__: Any) -> Tensor:
                some = next(iter(self.real.values()))[batch]
                return some.new_full((), torch.nan).expand(images, *self.shapes[name])

            return remembered if name in self.real else nothing

        for name in self.skipped:
            # Not setattr: forward stays a method of the class. The module stays in place, as its attributes may be
            # read.
            model.get_submodule(name).__dict__["forward"] = give(name)
        return model.register_forward_pre_hook(next_batch, with_kwargs=True)

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """:meth:`attach` as a context manager."""
        handle = self.attach(model)
        try:
            yield
        finally:
            for name in self.skipped:
                del model.get_submodule(name).__dict__["forward"]
            handle.remove()


@torch.inference_mode()
def _watch(model: nn.Module, probe: Example, which: Output) -> tuple[dict[str, _Call], Tensor | None]:
    """Every module that a forward pass calls, in the order in which they begin, and the judged output if a tensor."""
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
        output = picked(run(model, probe), which)
    finally:
        _remove(handles)
    return calls, output.clone() if isinstance(output, Tensor) else None


def _other(tensor: Tensor) -> Tensor:
    """Other inputs of the same kind."""
    return 1 - 2 * tensor.flip(0) if tensor.is_floating_point() else tensor.flip(0)


def _needed(candidates: Sequence[str], enough: Callable[[Sequence[str]], bool]) -> list[str]:
    """The candidates that the rest of a network needs; none if all of them are not enough.

    In most networks that is the last one; with a branch still open, a few of the last.
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
