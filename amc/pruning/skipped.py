"""Modules that are left out of a network together with the branch that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from typing import Any

import torch
from torch import Tensor, nn

from amc.core.places import Form
from amc.core.types import LayerGroup


class Skipped(nn.Module):
    """Stands in for a module of a dropped branch, and adds nothing.

    It gives zeros of its first input's shape where the module gave a tensor, and ``None`` for what else that returned.
    Code that asks for the module's plain attributes (``batch_first``, ``layer_idx``) finds them.

    Attributes:
        form: ``None`` for a tensor; else one truth for each entry of a tuple.
    """

    def __init__(self, module: nn.Module, form: Form) -> None:
        super().__init__()
        self.__dict__.update({k: v for k, v in module.__dict__.items() if not k.startswith("_") and _is_plain(v)})
        for name in module._parameters:
            self.register_parameter(name, None)
        self.form = form

    def forward(self, *args: Any, **kwargs: Any) -> Tensor | tuple[Tensor | None, ...]:
        given = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        x = next(value for value in given if value.is_floating_point())
        if self.form is None:
            return torch.zeros_like(x)
        return tuple(torch.zeros_like(x) if is_tensor else None for is_tensor in self.form)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def skipped_in(groups: Iterable[LayerGroup], kept: Mapping[str, Sized]) -> dict[str, Form]:
    """Path → form of the modules that a cut leaves out: those of the branches of which nothing is kept."""
    return {
        path: form
        for group in groups
        if group.branch is not None and group.name in kept and len(kept[group.name]) == 0
        for path, form in group.branch.modules.items()
    }


def skipped_modules(model: nn.Module) -> dict[str, Form]:
    """Those of a cut network."""
    return {name: module.form for name, module in model.named_modules() if isinstance(module, Skipped)}


def dropped_blocks(model: nn.Module) -> list[str]:
    """Blocks of a cut network of which nothing is left: entries of a list of modules, such as ``layers.3``."""
    return [
        f"{path}.{number}" if path else number
        for path, modules in model.named_modules()
        if isinstance(modules, nn.ModuleList)
        for number, block in modules.named_children()
        if any(isinstance(m, Skipped) for m in block.modules()) and next(block.parameters(), None) is None
    ]


def is_left_out(model: nn.Module, path: str) -> bool:
    """Whether a module of the dense network was left out of ``model``, by itself or with one around it."""
    module: Any = model
    for name in path.split("."):
        module = getattr(module, name)
        if isinstance(module, Skipped):
            return True
    return False


def skip(model: nn.Module, modules: Mapping[str, Form]) -> None:
    """Takes these modules out, in place. ``AttributeError``: the network has none of that path."""
    for path, form in modules.items():
        parent_path, _, name = path.rpartition(".")
        parent = model.get_submodule(parent_path)
        module = getattr(parent, name)
        setattr(parent, name, Skipped(module, form))
        tell_others(model, path, module)


def tell_others(model: nn.Module, path: str, module: nn.Module) -> None:
    """What others must know of a module that was taken out of the network."""
    parent = model.get_submodule(path.rpartition(".")[0])
    if isinstance(parent, nn.TransformerEncoderLayer):  # its fused kernel needs all of the parts
        parent.activation_relu_or_gelu = 0
        for encoder in model.modules():
            if isinstance(encoder, nn.TransformerEncoder):
                encoder.use_nested_tensor = False
    # transformers reads the number of cached tokens off the first attention layer, which then keeps none
    config = getattr(model, "config", None)
    if hasattr(config, "use_cache") and any(getattr(m, "layer_idx", None) == 0 for m in module.modules()):
        for settings in (config, getattr(model, "generation_config", None)):
            if settings is not None:
                settings.use_cache = False
