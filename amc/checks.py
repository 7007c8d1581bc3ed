"""Checks of what users set; each error is one line that names the setting as they write it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any, Literal

from amc.errors import AmcError

KINDS = {"whole": (Integral, "a whole number"), "number": (Real, "a number")}


def require(
    name: str, value: object, kind: Literal["whole", "number"], fits: Callable[[Any], bool], wanted: str
) -> None:
    """Refuses a value of another type, or one out of its range.

    Args:
        name: the setting, as in ``budget.keep``.
        value: what was given for it.
        kind: ``whole`` or any ``number``; booleans are neither.
        fits: whether a value of that kind is in range; never asked about another.
        wanted: how the advice goes on after "give".

    Raises:
        AmcError: with that advice.
    """
    accepted, noun = KINDS[kind]
    if isinstance(value, bool) or not isinstance(value, accepted):
        raise AmcError(f"{name}={value}: not {noun}; give {wanted}")
    if not fits(value):
        raise AmcError(f"{name}={value}: give {wanted}")


def refuse_unknown(section: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises ``AmcError`` naming the first of ``given``, settings of ``section``, that is not ``known``."""
    known = tuple(known)
    for name in given:
        if name not in known:
            raise AmcError(f"{section}.{name}: unknown; give one of {', '.join(known)}")
