"""MACs of a whole forward pass, counted operation by operation as it runs.

The referee of the cost model: torch's own counter (``torch.utils.flop_counter``) sees every matrix product and
convolution, whichever module, function or parameter it comes from, on the tensors that really flow. Fused kernels that
it can't see into (attention, recurrent layers) are switched off while it counts, so that they run as products.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from amc.core.types import Uncounted
from amc.pruning.inputs import Example, first, run
from amc.pruning.layers import frozen_eval, unfused, without_gradients

Item = tuple[str, str]  # (dotted module path, operation); the network itself is ""

# Products that torch's counter leaves out: FLOPs, two for each multiply–accumulate, from the shapes of the arguments.
_PRODUCTS: dict[Any, Any] = {
    torch.ops.aten.mv: lambda a, b, **_: 2 * a[0] * a[1],
    torch.ops.aten.addmv: lambda c, a, b, **_: 2 * a[0] * a[1],
    torch.ops.aten.dot: lambda a, b, **_: 2 * a[0],
    torch.ops.aten.vdot: lambda a, b, **_: 2 * a[0],
    torch.ops.aten.addbmm: lambda c, a, b, **_: 2 * a[0] * a[1] * a[2] * b[2],
    torch.ops.aten._cdist_forward: lambda a, b, *_, out_shape, **__: 2 * torch.Size(out_shape).numel() * a[-1],
    torch.ops.aten._trilinear: lambda a, b, c, *dims, **_: 2 * _broadcast(a, b, c, *dims[:3]),
}
# Parts of the names of ATen operations that multiply matrices in some way; other libraries' may all do.
_MULTIPLIERS = {
    "mm", "bmm", "matmul", "dot", "vdot", "conv", "conv1d", "conv2d", "conv3d", "convolution", "rnn", "lstm", "gru",
    "attention", "encoder", "linear", "linalg", "fft", "cdist", "cholesky", "lu", "solve", "svd", "inverse", "kron",
    "trilinear", "stft", "int8pack", "int4pack",
}  # fmt: skip
_HARMLESS = {
    "aten::linalg_vector_norm",
    "aten::_thnn_fused_lstm_cell",
    "aten::_thnn_fused_gru_cell",
    "torchvision::nms",
}


@torch.no_grad()
def count_macs(model: nn.Module, example_input: Example) -> int:
    """MACs of one forward pass of ``example_input[:1]``, whatever operations they come from.

    Independent of :class:`~amc.pruning.cost.CostModel`: nothing is known here of layers, groups or plans.
    """
    return sum(count_by_item(model, example_input).values())


@torch.no_grad()
def count_by_item(model: nn.Module, example_input: Example) -> Counter[Item]:
    """The same by module and operation; what a module's children do is theirs. The values add up to the whole."""
    counter = FlopCounterMode(display=False, custom_mapping=_PRODUCTS)
    with frozen_eval(model), without_gradients(model), unfused(), counter:
        run(model, first(example_input))
    prefix = type(model).__name__
    found = {_path(name, prefix): ops for name, ops in counter.get_flop_counts().items() if name != "Global"}
    items: Counter[Item] = Counter()
    for path, ops in found.items():
        parent = _nearest(path, found)
        for op, flops in ops.items():
            items[path, str(op)] += flops // 2
            if parent is not None:
                items[parent, str(op)] -= flops // 2
    return items


@torch.no_grad()
def uncounted_operations(model: nn.Module, example_input: Example) -> dict[str, Uncounted]:
    """Operations of one forward pass that multiply and that :func:`count_macs` knows nothing of, by name."""
    with frozen_eval(model), unfused(), _Watch() as watch:
        run(model, first(example_input))
    total = sum(watch.seconds.values()) or 1.0
    return {name: Uncounted(calls, watch.seconds[name] / total) for name, calls in watch.calls.items()}


class _Watch(TorchDispatchMode):
    """Times every operation, and counts the calls of those that multiply uncounted."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func._schema.name
        begun = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        self.seconds[name] += time.perf_counter() - begun
        if _multiplies_uncounted(func, name):
            self.calls[name] += 1
        return result


def _multiplies_uncounted(func: Any, name: str) -> bool:
    packet = func._overloadpacket
    if packet in flop_registry or packet in _PRODUCTS or name in _HARMLESS:
        return False
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
        return False  # made of other operations, which are counted
    space, _, short = name.partition("::")
    if space not in ("aten", "prim", "prims"):
        return True
    return not _MULTIPLIERS.isdisjoint(short.split("_"))


def _path(name: str, prefix: str) -> str:
    """Torch's ``ResNet.layer1.0`` as ``layer1.0``."""
    return name[len(prefix) + 1 :] if name.startswith(f"{prefix}.") else ""


def _nearest(path: str, found: Mapping[str, Any]) -> str | None:
    """The closest module around ``path`` that has counts, which hold this one's."""
    while path:
        path = path.rpartition(".")[0]
        if path in found:
            return path
    return None


def _broadcast(a: Any, b: Any, c: Any, expand_a: Any, expand_b: Any, expand_c: Any) -> int:
    """Products of a trilinear form: the volume that the three operands span together."""
    shapes = []
    for shape, expand in ((a, expand_a), (b, expand_b), (c, expand_c)):
        full = list(shape)
        for dim in sorted(expand):
            full.insert(dim, 1)
        shapes.append(full)
    volume: int = torch.broadcast_shapes(*shapes).numel()
    return volume
