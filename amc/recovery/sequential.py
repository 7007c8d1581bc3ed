"""Sequential least squares: layer by layer, on the pruned network's own activations."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from amc.core.memory import require_memory
from amc.pruning.inputs import Example, count, part, run, split
from amc.pruning.layers import is_inside, watched
from amc.pruning.surgery import Kept, Surgeon
from amc.recovery.calibration import Calibration
from amc.recovery.ends import find_ends
from amc.recovery.events import Call, Events
from amc.recovery.lockstep import Arrive, in_lockstep
from amc.recovery.norms import following_norms, norm_of
from amc.recovery.refit import Goal, refit
from amc.recovery.rows import flat_outputs, layer_of, pick_positions, sample_outputs, sample_rows

FEWER = "give fewer recovery.positions or evaluate.calibration_images"


class SequentialLeastSquares:
    """Each layer fitted in forward order on the pruned network's own activations (He et al. 2017, §3.2–3.3).

    The goal is what the dense network has where the layer's output ends: behind its batch norm and its block's
    addition, as far as there are any. So a layer that ends a residual branch makes up for what pruning did to the
    shortcut. What a ReLU cuts off then need not be met (Zhang et al. 2016, §3.2).

    One forward pass does it: a layer is fitted in the moment it is about to run, and everything behind it sees the
    result. The images go in chunks that wait for each other at every layer: in memory are their activations there,
    and of what is needed between two layers one chunk's share.
    """

    def __init__(
        self,
        surgeon: Surgeon,
        images: Example,
        calibration: Calibration | None = None,
    ) -> None:
        """Runs the dense network once and keeps its values at sampled positions.

        Args:
            surgeon: of the dense model.
            images: calibration inputs, normalised.
            calibration: its batch size is that of one chunk; by default 20 positions.
        """
        calibration = calibration or Calibration(positions=20)
        damping, batch_size = calibration.damping, calibration.batch_size
        self._surgeon, self._images, self._damping, self._batch_size = surgeon, images, damping, batch_size
        self._norms = following_norms(surgeon.model, images)
        self._ends = find_ends(surgeon.model, images)
        self._picks: dict[str, torch.Tensor] = {}  # layer → [n, positions]
        self._goals: dict[str, torch.Tensor] = {}  # layer → [n · positions, out]
        self._calls: dict[str, int] = {}  # module of a branch → function calls while it runs
        self._observe(surgeon.model, calibration.positions, torch.Generator().manual_seed(calibration.seed))

    @torch.no_grad()
    def _observe(self, model: nn.Module, positions: int, generator: torch.Generator) -> None:
        """Fills in sampled positions and dense values where each layer's output ends, and calls in branches."""
        layer_at = {end.event: name for name, end in self._ends.items()}
        whole = count(self._images)
        done = images = needed_bytes = 0

        def on_call(call: Call) -> None:
            nonlocal needed_bytes
            name = layer_at.get(call.event)
            if name is None:
                return
            module = model.get_submodule(name)
            if name not in self._picks:
                size = flat_outputs(module, call.result, images).shape[1]
                self._picks[name] = pick_positions(whole, size, positions, generator)
            picks = self._picks[name][done : done + images]
            goals = sample_outputs(module, call.result, picks).float()
            if name not in self._goals:
                rows = self._picks[name].numel()
                needed_bytes += rows * goals.shape[1] * goals.element_size()
                require_memory(f"recovery=sequential: {positions} positions of {whole} examples", needed_bytes, FEWER)
                self._goals[name] = goals.new_empty(rows, goals.shape[1])
            start = done * picks.shape[1]
            self._goals[name][start : start + len(goals)] = goals

        events = Events(on_call)

        def before(name: str) -> None:
            self._calls[name] = -events.count

        def after(name: str) -> None:
            self._calls[name] += events.count

        handles = []
        for name in self._surgeon.skippable():
            module = model.get_submodule(name)
            handles.append(module.register_forward_pre_hook(lambda _, __, name=name: before(name)))
            handles.append(module.register_forward_hook(lambda _, __, ___, name=name: after(name)))
        with watched(model, handles):
            for batch in split(self._images, self._batch_size):
                images = count(batch)
                events = Events(on_call)
                with events:
                    run(model, batch)
                done += images

    @torch.no_grad()
    def recover(self, small: nn.Module, kept: Kept) -> None:
        """Refits every layer of ``small`` (cut by ``kept``) behind the first that has lost inputs or is gone, in place.

        Raises:
            ValueError: activations that are not finite, or a network whose calls differ between images.
        """
        skipped = self._surgeon.skipped(kept)
        layers = list(self._ends)
        gone = [is_inside(name, skipped) for name in layers]
        cut = [self._surgeon.kept_positions(n, "in", kept) is not None for n in layers]
        first = next((i for i, changed in enumerate(zip(gone, cut, strict=True)) if any(changed)), len(layers))
        layers = [name for name, is_gone in zip(layers[first:], gone[first:], strict=True) if not is_gone]
        if not layers:
            return
        here = _Here()

        def before(name: str, module: nn.Module, inputs: torch.Tensor) -> None:
            chunk = here.chunk
            with chunk.events.paused():
                rows = sample_rows(module, inputs, self._picks[name][chunk.images]).float()
                chunk.arrive(_Sample(name, rows, chunk.shortcuts.pop(name, None)))

        def walk(images: slice, arrive: Arrive[_Sample]) -> None:
            here.chunk = chunk = self._chunk(small, layers, images, arrive)
            inputs = part(self._images, images)  # before calls are numbered
            with torch.no_grad(), chunk.events:
                run(small, inputs)

        starts = range(0, count(self._images), self._batch_size)
        walks = [partial(walk, slice(start, start + self._batch_size)) for start in starts]
        handles = [
            small.get_submodule(n).register_forward_pre_hook(lambda m, i, n=n: before(n, m, i[0])) for n in layers
        ]
        for n in skipped:
            module = small.get_submodule(n)
            handles.append(module.register_forward_pre_hook(lambda *_: here.chunk.events.pause()))
            handles.append(module.register_forward_hook(lambda *_, n=n: here.chunk.events.go_on(self._calls[n])))
        with watched(small, handles):
            in_lockstep(walks, lambda samples: self._refit(small, kept, samples))

    def _chunk(self, small: nn.Module, layers: Sequence[str], images: slice, arrive: Arrive[_Sample]) -> _Chunk:
        shortcuts: dict[str, torch.Tensor] = {}
        starting: dict[int, list[str]] = {}  # several branches may start at one shortcut
        for name in layers:
            event = self._ends[name].shortcut_event
            if event is not None:
                starting.setdefault(event, []).append(name)

        def on_call(call: Call) -> None:
            for name in starting.get(call.event, ()):
                picks = self._picks[name][images]
                shortcuts[name] = sample_outputs(small.get_submodule(name), call.result, picks).float()

        return _Chunk(images, Events(on_call), shortcuts, arrive)

    def _refit(self, small: nn.Module, kept: Kept, samples: list[_Sample]) -> None:
        name = samples[0].layer
        if any(sample.layer != name for sample in samples):
            raise ValueError("the network takes different ways for different images")
        end = self._ends[name]
        outputs = self._surgeon.kept_positions(name, "out", kept)
        values = self._goals[name]
        if outputs is not None:
            values = values[:, torch.as_tensor(outputs, device=values.device)]
        shortcuts = [sample.shortcut for sample in samples if sample.shortcut is not None]
        rows = torch.cat([sample.rows for sample in samples])
        samples.clear()  # what has been copied needn't stay
        goal = Goal(
            values,
            norm=None if end.norm is None else norm_of(small, end.norm),
            shortcut=torch.cat(shortcuts) if shortcuts else None,
            low=end.low,
            high=end.high,
        )
        norm = norm_of(small, self._norms[name]) if name in self._norms else None
        refit(layer_of(small, name), rows, goal, self._damping, bias_to=norm)


@dataclass(frozen=True)
class _Sample:
    """One chunk's samples for a layer that is about to run.

    Attributes:
        rows: ``[n · positions, features]``.
        shortcut: the summand added to its output there, ``[n · positions, out]``.
    """

    layer: str
    rows: torch.Tensor
    shortcut: torch.Tensor | None


@dataclass(frozen=True)
class _Chunk:
    """Some of the calibration images on their way through the pruned network.

    Attributes:
        images: which of them.
        events: numbers the function calls of this pass.
        shortcuts: layer → the other summand at the layer's sampled positions, until the layer runs.
        arrive: waits for the other chunks.
    """

    images: slice
    events: Events
    shortcuts: dict[str, torch.Tensor]
    arrive: Arrive[_Sample]


class _Here(threading.local):
    """The chunk that the running thread takes through the network."""

    chunk: _Chunk
