"""Loads weights that were trained elsewhere, with a one-line error for those that don't fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from amc.core.errors import AmcError
from amc.core.memory import require_memory
from amc.models.weights import storage_fault, weight_fault

WRAPPERS = ("state_dict", "model", "model_state_dict")
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and torch.compile


def load_checkpoint(model: nn.Module, path: str | Path) -> None:
    """Copies the weights in ``path`` into ``model``; all of them or, on an error, none.

    Args:
        model: the network the weights were made for.
        path: ``.safetensors``, or a ``.pt``/``.pth``/``.th`` file with a state dict, bare or under ``state_dict`` or
            ``model``. Only tensors are read from it: code in the file is never run.

    Raises:
        AmcError: missing or corrupt file, weights for another network, NaN weights.
    """
    where = f"model.checkpoint={path}"
    tensors = _strip_prefixes(_read(Path(path), where))
    if not tensors:
        raise AmcError(f"{where}: holds no tensors; give a file with the network's state_dict")
    own = model.state_dict()
    _check_names(own, tensors, where)
    _check_tensors(own, tensors, where)
    model.load_state_dict({**own, **tensors})


def read_notes(path: str | Path) -> dict[str, str]:
    """The text metadata of a ``.safetensors`` file; empty for other files, and for any that can't be read."""
    if not Path(path).is_file():
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError):
        return {}


def _read(path: Path, where: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise AmcError(f"{where}: no such file")
    require_memory(where, 2 * path.stat().st_size, "is it the right file?")
    try:
        data: Any
        if path.suffix == ".safetensors":
            data = load_file(path)
        else:
            data = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise AmcError(f"{where}: can't be read ({error.strerror or error})") from error
    except Exception as error:  # a damaged zip or pickle may raise anything
        raise AmcError(
            f"{where}: can't be read as weights; the file is damaged or holds more than tensors "
            "(save model.state_dict())"
        ) from error
    for key in WRAPPERS:
        if isinstance(data, Mapping) and isinstance(data.get(key), Mapping):
            data = data[key]
            break
    if not isinstance(data, Mapping):
        raise AmcError(f"{where}: holds a {type(data).__name__}, not a dict of tensors; save model.state_dict()")
    return {str(name): value for name, value in data.items() if isinstance(value, Tensor)}


def _strip_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _check_names(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], where: str) -> None:
    # Checkpoints from before torch 0.4.1 have no batch counter; nothing here reads it.
    missing = [name for name in own if name not in tensors and not name.endswith("num_batches_tracked")]
    unknown = [name for name in tensors if name not in own]
    if missing or unknown:
        name, fault = (missing[0], "is missing there") if missing else (unknown[0], "is not in the network")
        raise AmcError(
            f"{where}: tensor {name!r} {fault} ({len(missing)} missing, {len(unknown)} unknown); "
            "give a checkpoint of this network"
        )


def _check_tensors(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], where: str) -> None:
    for name, value in tensors.items():
        if value.shape != own[name].shape:
            raise AmcError(
                f"{where}: tensor {name!r} is {_shape(value)} there and {_shape(own[name])} in the network; give a "
                "checkpoint of this network, or the model.stem and dataset it was trained with"
            )
        fault = weight_fault(value) if own[name].is_floating_point() else storage_fault(value)
        if fault is not None:
            raise AmcError(f"{where}: tensor {name!r} {fault[0]}; give another checkpoint")


def _shape(tensor: Tensor) -> str:
    return "×".join(str(n) for n in tensor.shape) or "a single number"
