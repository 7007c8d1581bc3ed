"""Watching the torch function calls of a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Call:
    """One torch function call that made a tensor, or several.

    Attributes:
        event: its number in the pass.
        name: of the function.
    """

    event: int
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any

    def inputs(self) -> list[torch.Tensor]:
        """The tensors among its arguments, also those in lists."""
        return list(tensors_in((self.args, *self.kwargs.values())))


class Events(TorchFunctionMode):
    """Numbers the calls that make tensors. The same network on other inputs numbers them alike."""

    def __init__(self, on_call: Callable[[Call], None]) -> None:
        super().__init__()
        self.count = 0
        self._on_call = on_call
        self._paused = False

    def pause(self) -> None:
        """Calls are not numbered until :meth:`go_on`."""
        self._paused = True

    def go_on(self, left_out: int = 0) -> None:
        """Calls are numbered again, as if there had been so many since the pause."""
        self._paused = False
        self.count += left_out

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Calls in the block are not numbered: a hook's own."""
        self.pause()
        try:
            yield
        finally:
            self.go_on()

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self._paused and next(tensors_in((result,)), None) is not None:
            self._on_call(Call(self.count, getattr(func, "__name__", ""), args, kwargs or {}, result))
            self.count += 1
        return result


def tensors_in(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """The tensors in nested tuples and lists."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from tensors_in(value)
