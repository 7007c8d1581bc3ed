"""Which tensors can be a network's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from amc.core.errors import AmcError

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
NAMED = 5  # layers that are listed by name; the others are counted


def storage_fault(tensor: Tensor) -> tuple[str, str] | None:
    """What is wrong with how a tensor holds its values, and what to do; ``None`` for ordinary ones of any type."""
    kind = str(tensor.dtype).removeprefix("torch.")
    if isinstance(tensor, (UninitializedBuffer, UninitializedParameter)):
        return "belongs to a lazy layer that has seen no input", "run the network on a batch once"
    if tensor.is_meta:
        return "has a shape but no values (device meta)", "load the weights first"
    made_of_others: bool = is_traceable_wrapper_subclass(tensor)
    if made_of_others:
        return f"is a {type(tensor).__name__}", "give a network of ordinary tensors"
    if tensor.is_quantized:
        return f"is quantized ({kind})", "give the floating-point network it was made from"
    if tensor.layout != torch.strided:
        return f"is sparse ({str(tensor.layout).removeprefix('torch.')})", "make it dense with .to_dense()"
    if tensor.is_complex():
        return f"is complex ({kind})", "give a network of real numbers"
    if tensor.is_floating_point() and tensor.dtype not in FLOATS:
        return f"is {kind}", "convert it to float32"
    return None


def weight_fault(tensor: Tensor) -> tuple[str, str] | None:
    """The same for a tensor that must also be finite numbers with a fraction, as weights are."""
    fault = storage_fault(tensor)
    if fault is not None:
        return fault
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        return f"holds whole numbers ({kind})", "give the floating-point network it was made from"
    if not bool(torch.isfinite(tensor.detach()).all()):
        return "has NaN or infinite values", "give a checkpoint that is not damaged"
    return None


def check_weights(model: nn.Module) -> None:
    """Refuses parameters and buffers that can't be cut, run and saved.

    Buffers that belong to no normalisation layer may be whole numbers, or infinite as the masks of attention are.

    Raises:
        AmcError: names the tensor.
    """
    for path, module in model.named_modules():
        own = {**module._parameters, **module._buffers}
        for name, tensor in own.items():
            if tensor is None:
                continue
            is_weight = name in module._parameters or (isinstance(module, _NormBase) and tensor.is_floating_point())
            fault = weight_fault(tensor) if is_weight else storage_fault(tensor)
            if fault is not None:
                what, advice = fault
                raise AmcError(f"model: {f'{path}.{name}'.lstrip('.')} {what}; {advice}")


def all_zero(model: nn.Module) -> str | None:
    """The layers whose weight matrix is zero throughout, for people; ``None`` if there are none."""
    names = [
        name.rpartition(".")[0] or name
        for name, tensor in model.named_parameters()
        if tensor.dim() > 1 and tensor.numel() and not bool(tensor.detach().any())
    ]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}" if names else None
