"""Trial cuts: does a group hold exactly the channels that can be removed together?"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from amc.core.errors import AmcError, first_line
from amc.core.types import LayerGroup
from amc.pruning.surgery import Kept, Surgeon

PROOF_IMAGES = 4
PROOF_TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-3}  # of the largest output
OUTPUT = "its channels are the network's output"
WRONG = "a trial cut does not agree with the network whose consumers' weights are zeroed"


def cannot_run(example_input: torch.Tensor, error: Exception) -> AmcError:
    shape = "×".join(map(str, example_input.shape[1:]))
    return AmcError(
        f"model: can't run on inputs of {shape} ({type(error).__name__}: {first_line(error)}); change either"
    )


def _prove(model: nn.Module, groups: Sequence[LayerGroup], example_input: torch.Tensor) -> tuple[LayerGroup, ...]:
    """Freezes the groups whose trial cut is wrong. All at once first; halves of a failing set until it is found."""
    twin, example = _proof_model(model, example_input)
    surgeon = Surgeon(twin, groups)
    rng = np.random.default_rng(0)
    trial = {g.name: _half(g, rng) for g in groups if g.frozen is None and g.channels > g.step}
    reasons: dict[str, str] = {}

    @functools.cache  # the first cut, of all groups, is as a rule the only one that is needed
    def failure(*names: str) -> str | None:
        return _trial_cut(surgeon, {n: trial[n] for n in names}, example)

    pending = [tuple(trial)] if trial else []
    while pending:
        names = pending.pop()
        found = failure(*names)
        if found is None:
            continue
        if len(names) == 1:
            reasons[names[0]] = found
        else:
            pending += [names[: len(names) // 2], names[len(names) // 2 :]]
    reasons |= _clashes(failure, [n for n in trial if n not in reasons])
    single = "has only {} channel{}, the fewest that can be kept"
    result = []
    for g in groups:
        if g.frozen is None and g.name not in trial:
            g = replace(g, frozen=single.format(g.channels, "s" if g.channels > 1 else ""))
        result.append(replace(g, frozen=reasons[g.name]) if g.name in reasons else g)
    return tuple(result)


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


def _proof_model(model: nn.Module, example_input: torch.Tensor) -> tuple[nn.Module, torch.Tensor]:
    """A copy in which every channel matters, and inputs for it: in float64, or in float32 if it runs only in that."""
    for dtype in PROOF_TOLERANCES:
        try:
            return _lively(model, example_input, dtype)
        except Exception as error:  # the network's own code may raise anything
            failure = error
    raise cannot_run(example_input, failure) from failure


@torch.no_grad()
def _lively(model: nn.Module, example_input: torch.Tensor, dtype: torch.dtype) -> tuple[nn.Module, torch.Tensor]:
    """A copy in ``dtype`` that has run on the inputs it comes with.

    Batch norms get scales and shifts away from 0 (a zero scale, as in ``zero_init_residual``, would hide a wrong
    cut) and the statistics of the proof's own inputs, so that signals neither vanish nor blow up.
    """
    generator = torch.Generator().manual_seed(0)
    twin = copy.deepcopy(model).to(dtype).eval()
    example = example_input
    if example.is_floating_point():
        shape = (PROOF_IMAGES, *example_input.shape[1:])
        example = torch.randn(shape, generator=generator, dtype=dtype).to(example_input.device)
    norms = [m for m in twin.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        if norm.affine:
            norm.weight.copy_(torch.rand(norm.weight.shape, generator=generator) + 0.5)
            norm.bias.copy_(0.1 * torch.randn(norm.bias.shape, generator=generator))
        norm.momentum = 1.0
        norm.train()
    _as_tensor(twin(example))
    return twin.eval(), example


@torch.no_grad()
def _trial_cut(surgeon: Surgeon, kept: Kept, example: torch.Tensor) -> str | None:
    """Why cutting ``kept`` is wrong; ``None`` if the cut network computes what the zeroed one does."""
    try:
        expected = _as_tensor(surgeon.zeroed(kept)(example))
        actual = _as_tensor(surgeon.cut(kept)(example))
    except Exception as error:
        return f"a trial cut does not run: {first_line(error)[:120]}"
    if actual.shape != expected.shape:
        return OUTPUT
    scale = max(float(expected.abs().max()), 1e-30)
    difference = float((actual - expected).abs().max()) / scale
    # A network that runs in float64 may still give float32 back.
    tolerance = PROOF_TOLERANCES.get(expected.dtype, PROOF_TOLERANCES[torch.float32])
    return None if difference <= tolerance else f"{WRONG} (they differ by {difference:.0e})"


def _as_tensor(output: object) -> torch.Tensor:
    """Everything a network returns, as one vector per input, so that any output structure can be compared."""
    if isinstance(output, torch.Tensor):
        return output
    leaves = torch.utils._pytree.tree_leaves(output)
    return torch.cat([t.flatten(1) for t in leaves if isinstance(t, torch.Tensor)], dim=1)
