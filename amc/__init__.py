"""Automatic network pruning: a learned policy picks every layer's keep ratio, and the network is really cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amc.pruning.saved import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """``amc.load``, imported when it is first asked for: ``import amc`` alone stays light."""
    if name == "load":
        from amc.pruning.saved import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
