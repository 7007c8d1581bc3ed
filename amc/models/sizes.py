"""The size of a network, found without making it."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

from amc.core.errors import AmcError
from amc.core.memory import free_bytes, require_memory
from amc.models.stem import run_once

BYTES = 4  # of a float32
MOST_MODULES = 10_000  # EfficientNet-V2-L has 2,000
FILLED = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)


class WithoutValues(TorchFunctionMode):
    """Layers made inside get weights without values.

    Unlike inside ``torch.device("meta")``, numbers can still be computed with tensors (RegNet's widths are).
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func in FILLED and given.get("device") is None:
            given["device"] = "meta"
        return func(*args, **given)


class Counted:
    """Adds up what the networks made inside would take, and stops when there is not so much memory."""

    def __init__(self, what: str) -> None:
        self._what, self._modules, self._bytes, self._limit = what, 0, 0, free_bytes()

    def __enter__(self) -> Counted:
        self._handles = [
            register_module_parameter_registration_hook(self._parameter),
            register_module_module_registration_hook(self._module),
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def forward(self, model: nn.Module, image_shape: tuple[int, int, int]) -> None:
        """Adds what one image needs in ``model``: of each layer the output."""

        def add(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                self._add(BYTES * output.numel())

        leaves = [module for module in model.modules() if not any(module.children())]
        hooks = [module.register_forward_hook(add) for module in leaves]
        try:
            run_once(model, image_shape)
        finally:
            for hook in hooks:
                hook.remove()

    def _parameter(self, _: nn.Module, __: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            self._add(BYTES * parameter.numel())

    def _module(self, _: nn.Module, __: str, ___: nn.Module | None) -> None:
        self._modules += 1
        if self._modules > MOST_MODULES:
            raise AmcError(f"{self._what}: more than {MOST_MODULES} layers; give a smaller network")

    def _add(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._limit:
            require_memory(self._what, self._bytes, "give a smaller network, fewer classes or smaller images")
