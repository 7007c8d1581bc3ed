"""Whole numbers that modules keep (``num_heads``, ``normalized_shape`` …), some of which follow channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from amc.pruning.attention import fit_to_weights
from amc.pruning.layers import is_cuttable


def get_number(module: nn.Module, name: str) -> int:
    """The whole number that a module keeps as ``name`` or ``name[i]``."""
    own, index = _indexed(name)
    value: Any = getattr(module, own)
    return int(value if index is None else value[index])


def set_numbers(module: nn.Module, numbers: Mapping[str, int]) -> None:
    """Changes whole numbers that a module keeps, by ``name`` or ``name[i]``."""
    for name, value in numbers.items():
        own, index = _indexed(name)
        if index is None:
            setattr(module, own, value)
        else:
            before = getattr(module, own)
            setattr(module, own, type(before)(value if i == index else old for i, old in enumerate(before)))


def numbers_of(module: nn.Module) -> dict[str, int]:
    """The positive whole numbers that a module keeps, by ``name`` or ``name[i]``; some may follow channels.

    Layers that the surgery knows keep none: their tensors tell.
    """
    found: dict[str, int] = {}
    if is_cuttable(module):
        return found
    for name, value in module.__dict__.items():
        if name.startswith("_") or name == "training":
            continue
        if type(value) is int and value > 0:
            found[name] = value
        elif type(value) in (tuple, list) and value and all(type(v) is int for v in value):
            found.update({f"{name}[{i}]": v for i, v in enumerate(value)})
    return found


def set_known_numbers(module: nn.Module, numbers: Mapping[str, int]) -> None:
    """Sets numbers that a module keeps to what they were in a cut one. ``ValueError`` if it keeps no such number."""
    own = numbers_of(module)
    unknown = sorted(set(numbers) - set(own))
    if unknown:
        raise ValueError(f"{type(module).__name__} keeps no whole number {unknown[0]!r}")
    set_numbers(module, {name: value for name, value in numbers.items() if value != own[name]})


def _indexed(name: str) -> tuple[str, int | None]:
    own, bracket, index = name.partition("[")
    return own, int(index[:-1]) if bracket else None


def follow_tensors(module: nn.Module) -> None:
    """Numbers of torch's own modules that nothing but their tensors tells."""
    if isinstance(module, nn.Embedding):
        module.embedding_dim = module.weight.shape[1]
    elif isinstance(module, nn.GroupNorm) and module.affine:
        module.num_channels = len(module.weight)
    elif isinstance(module, nn.MultiheadAttention):
        fit_to_weights(module)
    elif isinstance(module, nn.Bilinear):
        module.out_features, module.in1_features, module.in2_features = module.weight.shape
    elif isinstance(module, nn.RNNBase):
        module.input_size = module.get_parameter("weight_ih_l0").shape[1]
    elif isinstance(module, nn.RNNCellBase):
        module.input_size, module.hidden_size = module.weight_ih.shape[1], module.weight_hh.shape[1]
