"""Trial cuts: does a group hold exactly the channels that can be removed together?"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from amc.core.errors import AmcError, first_line
from amc.core.types import LayerGroup
from amc.pruning.attention import sized_attention
from amc.pruning.coupling.follow import Selections
from amc.pruning.inputs import Example, described, mapped, outputs_of, run
from amc.pruning.layers import Mixing, is_inside, unfused
from amc.pruning.masked import Masked
from amc.pruning.surgery import Kept, Surgeon

PROOF_IMAGES = 4
PRECISIONS = (torch.float64, torch.float32)
# Of the largest output; by the least precise numbers that the network reckons with, and by those that it gives.
TOLERANCE, ROUGH = 1e-9, 1e-4
OUTPUT = "its channels are the network's output"
WRONG = "a trial cut does not agree with the network whose consumers' weights are zeroed"


def cannot_run(example: Example, error: Exception) -> AmcError:
    said = f"{type(error).__name__}: {first_line(error)}"
    return AmcError(f"model: can't run on inputs of {described(example)} ({said}); change either")


def prove(
    model: nn.Module,
    groups: Sequence[LayerGroup],
    atoms: Mapping[str, Sequence[int]],
    selections: Selections,
    example: Example,
) -> tuple[LayerGroup, ...]:
    """Freezes the groups whose trial cut is wrong. All at once first; halves of a failing set until it is found.

    Then branches, every other one and the others, of the network that is cut already.

    Args:
        model: dense.
        groups: to be proved.
        atoms: group name → root of each channel, as in ``selections``.
        selections: operations that reckon with all channels at once.
        example: one input, or several.
    """
    twin, example = _proof_model(model, example)
    surgeon = Surgeon(twin, groups)
    trials = _Trials(surgeon, atoms, selections, example)
    rng = np.random.default_rng(0)
    free = [g for g in groups if g.frozen is None]
    trial = {g.name: _half(g, rng) for g in free if g.branch is None and g.channels > g.step}

    @functools.cache  # the first cut, of all groups, is as a rule the only one that is needed
    def failure(*names: str) -> str | None:
        return trials.failure({n: trial[n] for n in names})

    reasons = _wrong(failure, [tuple(trial)] if trial else [])
    reasons |= _clashes(failure, [n for n in trial if n not in reasons])
    cut = [n for n in trial if n not in reasons]
    branches = [g.name for g in free if g.branch is not None]
    trial |= {name: np.zeros(0, dtype=np.int64) for name in branches}
    without = functools.partial(failure, *cut)
    reasons |= _wrong(without, [half for half in (tuple(branches[::2]), tuple(branches[1::2])) if half])
    reasons |= _clashes(without, [n for n in branches if n not in reasons])
    single = "has only {} channel{}, the fewest that can be kept"
    result = []
    for g in groups:
        if g.frozen is None and g.name not in trial:
            g = replace(g, frozen=single.format(g.channels, "s" if g.channels > 1 else ""))
        result.append(replace(g, frozen=reasons[g.name]) if g.name in reasons else g)
    return tuple(result)


def _wrong(failure: Callable[..., str | None], pending: list[tuple[str, ...]]) -> dict[str, str]:
    """Groups of these sets that can't be cut by themselves, with the reason."""
    reasons: dict[str, str] = {}
    while pending:
        names = pending.pop()
        found = failure(*names)
        if found is None:
            continue
        if len(names) == 1:
            reasons[names[0]] = found
        else:
            pending += [names[: len(names) // 2], names[len(names) // 2 :]]
    return reasons


def _clashes(failure: Callable[..., str | None], names: Sequence[str]) -> dict[str, str]:
    """Groups that can be cut by themselves but not together with those before them, with the reason."""
    if not names or failure(*names) is None:
        return {}
    together: list[str] = []
    reasons = {}
    for name in names:
        found = failure(*together, name)
        if found is None:
            together.append(name)
        else:
            reasons[name] = f"together with other groups {found}"
    return reasons


def _half(group: LayerGroup, rng: np.random.Generator) -> np.ndarray:
    """A random half of the channels, equally many of each convolution group."""
    width = group.channels // group.step
    keep = max(1, width // 2)
    chosen = np.stack([rng.permutation(width)[:keep] + i * width for i in range(group.step)])
    return np.sort(chosen.reshape(-1)).astype(np.int64)


def _proof_model(model: nn.Module, example: Example) -> tuple[nn.Module, Example]:
    """A copy in which every channel matters, and inputs for it: in float64, or in float32 if it runs only in that."""
    for dtype in PRECISIONS:
        try:
            return _lively(model, example, dtype)
        except Exception as error:  # the network's own code may raise anything
            failure = error
    raise cannot_run(example, failure) from failure


@torch.no_grad()
def _lively(model: nn.Module, example: Example, dtype: torch.dtype) -> tuple[nn.Module, Example]:
    """A copy in ``dtype`` that has run on the inputs it comes with.

    Parameters that are all alike (a layer scale of 1e-6, a bias or a last layer of zeros) would hide a wrong cut: they
    are drawn at random. Batch norms get scales and shifts away from 0, and the statistics of the proof's own inputs, so
    that signals neither vanish nor blow up.
    """
    generator = torch.Generator().manual_seed(0)
    twin = copy.deepcopy(model).to(dtype).eval()
    norms = [m for m in twin.modules() if isinstance(m, _BatchNorm)]
    for parameter in twin.parameters():
        if (
            parameter.is_floating_point()
            and parameter.numel() > 1
            and bool((parameter == parameter.flatten()[0]).all())
        ):
            parameter.copy_(_drawn(parameter, generator))
    for norm in norms:
        if norm.affine:
            norm.weight.copy_(torch.rand(norm.weight.shape, generator=generator) + 0.5)
            norm.bias.copy_(0.1 * torch.randn(norm.bias.shape, generator=generator))
        norm.momentum = 1.0
        norm.train()
    inputs = _random(example, dtype, generator)
    try:
        run(twin, inputs)
    except ValueError:  # a single value has no variance: then by the statistics that they have
        run(twin.eval(), inputs)
    return twin.eval(), inputs


def _drawn(parameter: Tensor, generator: torch.Generator) -> Tensor:
    if parameter.flatten()[0] != 0:
        return torch.rand(parameter.shape, generator=generator) + 0.5
    spread = 0.1 if parameter.dim() < 2 else max(1, parameter[0].numel()) ** -0.5
    return spread * torch.randn(parameter.shape, generator=generator)


def _random(example: Example, dtype: torch.dtype, generator: torch.Generator) -> Example:
    """Inputs of that shape: of a single tensor several, of a call's arguments one each; whole numbers as they are."""

    def drawn(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        first = PROOF_IMAGES if tensor is example else tensor.shape[0] if tensor.dim() else 1
        shape = (first, *tensor.shape[1:]) if tensor.dim() else ()
        return torch.randn(shape, generator=generator, dtype=dtype).to(tensor.device)

    return mapped(drawn, example)


class _Trials:
    """Trial cuts of one network."""

    def __init__(
        self, surgeon: Surgeon, atoms: Mapping[str, Sequence[int]], selections: Selections, example: Example
    ) -> None:
        self._surgeon, self._atoms, self._selections, self._example = surgeon, atoms, selections, example
        self._summands = {g.name: g.branch.summand for g in surgeon.groups if g.branch is not None}

    @torch.no_grad()
    def failure(self, kept: Kept) -> str | None:
        """Why cutting ``kept`` is wrong; ``None`` if the cut network computes what the masked one does."""
        widths = [name for name in kept if name not in self._summands]
        removed = {root for name in widths for root in np.delete(np.array(self._atoms[name]), kept[name]).tolist()}
        dropped = [self._summands[name] for name in kept if name in self._summands]
        masked = Masked(self._selections, removed, dropped)
        whole = self._whole_layers(kept)
        try:
            with unfused():
                expected = _outputs(self._surgeon.zeroed(kept), self._example, whole, masked)
                actual = _outputs(self._surgeon.cut(kept), self._example, whole)
        except Exception as error:
            without = "the network does not run without it" if dropped else "a trial cut does not run"
            return f"{without}: {first_line(error)[:120]}"
        if [t.shape for t in actual[1]] != [t.shape for t in expected[1]]:
            return "without it, the output has another shape" if dropped else OUTPUT
        tolerance = TOLERANCE if masked.lowest == torch.float64 else ROUGH
        pairs = zip(actual[0] + actual[1], expected[0] + expected[1], strict=True)
        # A layer that mixes positions may have channels in their place.
        worst = max((_difference(a, b) for a, b in pairs if a.shape == b.shape), default=0.0)
        return None if worst <= tolerance else f"{WRONG} (they differ by {worst:.0e})"

    def _whole_layers(self, kept: Kept) -> list[str]:
        """Layers that keep all outputs; what they give must agree, even if the network only returns a choice of it."""
        gone = self._surgeon.skipped(kept)
        names = [n for n, m in self._surgeon.model.named_modules() if isinstance(m, Mixing) and not is_inside(n, gone)]
        return [name for name in names if self._surgeon.kept_positions(name, "out", kept) is None]


def _outputs(
    model: nn.Module, example: Example, layers: Sequence[str], masked: Masked | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """What these layers of a network give, in order, and the network itself."""
    seen: list[Tensor] = []
    handles = [
        model.get_submodule(name).register_forward_hook(lambda _, __, output: seen.extend(outputs_of(output)))
        for name in layers
    ]
    try:
        with sized_attention(model), masked or nullcontext():
            output = run(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return seen, outputs_of(output)


def _difference(actual: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    if actual.numel() == 0:
        return 0.0
    scale = max(float(expected.abs().max()), 1e-30)
    return float((actual.to(torch.float64) - expected.to(torch.float64)).abs().max()) / scale
