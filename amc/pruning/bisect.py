"""Bisection onto a limit: the last of rising candidates that still fits."""

from __future__ import annotations

from collections.abc import Callable

HALVINGS = 40


def last_whole(fits: Callable[[int], bool], low: int, high: int) -> int:
    """The largest whole number in [low, high) that fits.

    Args:
        fits: true up to some number, false beyond it.
        low: fits; it is not asked.
        high: does not fit; it is not asked.
    """
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def last_real(fits: Callable[[float], bool], low: float, high: float, halvings: int = HALVINGS) -> float:
    """The largest number between ``low``, which fits, and ``high`` that fits, to within (high − low) / 2^halvings."""
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
