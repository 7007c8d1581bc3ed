"""Choice of device and floating-point format."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from amc.core.errors import AmcError


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """``auto``: CUDA where there is a card, else the CPU.

    Raises:
        AmcError: neither a CPU nor a CUDA device, or one that this machine lacks.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise AmcError(f"device={name}: unknown; give auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise AmcError(f"device={name}: not supported; give auto, cpu, cuda or cuda:N")
    if device.type == "cpu" and device.index:
        raise AmcError(f"device={name}: there is one CPU device; give device=cpu")
    if device.type == "cuda" and not 0 <= (device.index or 0) < torch.cuda.device_count():
        raise AmcError(f"device={name}: this machine has {torch.cuda.device_count()} CUDA devices; give device=cpu")
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 itself; emulated, it is slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return False


def resolve_bf16(setting: bool | str, device: torch.device) -> bool:
    """``auto``: bf16 where the hardware has it.

    Raises:
        AmcError: neither a boolean nor ``auto``.
    """
    if setting == "auto":
        return has_fast_bf16(device)
    if not isinstance(setting, bool):
        raise AmcError(f"bf16={setting}: give auto, true or false")
    return setting


def autocast(device: torch.device, bf16: bool) -> AbstractContextManager[object]:
    """bf16 autocast on ``device``, or plain fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)
