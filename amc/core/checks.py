"""Checks of user settings; each error is one line that names the setting as users write it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from amc.core.errors import AmcError

TYPES: dict[type, Any] = {int: Integral, float: Real}  # numpy's numbers are numbers too
LONGEST = 80  # characters of a value in a message
NOUNS = {int: "a whole number", float: "a number"}


def require(
    name: str,
    value: Any,
    kind: type[int] | type[float] | type[bool],
    low: float = -math.inf,
    high: float = math.inf,
    *,
    ends: str = "[]",
    hint: str = "",
) -> None:
    """Refuses a value of another type, one out of its range, and NaN and infinities.

    Args:
        name: the setting, as in ``budget.keep``.
        value: the given value.
        kind: ``int``, ``float`` (whole numbers too) or ``bool``.
        low, high: the range of a number.
        ends: whether ``low`` and ``high`` belong to it, as an interval's brackets: ``(]`` has ``high`` alone.
        hint: added to the advice.

    Raises:
        AmcError: says what can be given.
    """
    if kind is bool:
        fits, wanted = isinstance(value, bool), "true or false"
    else:
        number = isinstance(value, TYPES[kind]) and not isinstance(value, bool) and abs(value) < math.inf
        fits = number and _inside(value, low, high, ends)
        wanted = NOUNS[kind] + _range(low, high, ends)
    if not fits:
        raise AmcError(f"{shown(name, value)}: give {wanted}{hint}")


def shown(name: str, value: object) -> str:
    """``name=value`` as users write it, in one line that isn't long."""
    words: dict[object, str] = {None: "null", True: "true", False: "false"}
    text = words[value] if value is None or isinstance(value, bool) else " ".join(str(value).split())
    return f"{name}={text}" if len(text) <= LONGEST else f"{name}={text[:LONGEST]}…"


def one_of(name: str, value: object, choices: Iterable[str]) -> None:
    """Raises ``AmcError`` if ``value``, given for the setting ``name``, is none of ``choices``."""
    choices = tuple(choices)
    if value not in choices:
        raise AmcError(f"{shown(name, value)}: unknown; give one of {', '.join(choices)}")


def refuse_unknown(section: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises ``AmcError`` naming the first of ``given``, settings of ``section``, that is not ``known``."""
    known = tuple(known)
    for name in given:
        if name not in known:
            raise AmcError(f"{section}.{name}: unknown; give one of {', '.join(known)}")


def whole(value: Any, low: int = 0) -> int:
    """``value``, which a file gives, if it is a whole number of at least ``low``. Raises ``ValueError`` if not."""
    if type(value) is not int or value < low:
        raise ValueError(f"{value!r} is no whole number of at least {low}")
    return value


def number(value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """``value``, which a file gives, if it is a number in [``low``, ``high``]. Raises ``ValueError`` if not."""
    if type(value) not in (int, float) or not (low <= value <= high and abs(value) < math.inf):
        raise ValueError(f"{value!r} is no number{_range(low, high, '[]')}")
    return float(value)


def text(value: Any) -> str:
    """``value``, which a file gives, if it is text. Raises ``ValueError`` if not."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _inside(value: float, low: float, high: float, ends: str) -> bool:
    above = value > low if ends[0] == "(" else value >= low
    below = value < high if ends[1] == ")" else value <= high
    return above and below


def _range(low: float, high: float, ends: str) -> str:
    if high < math.inf:
        return f" in {ends[0]}{_short(low)}, {_short(high)}{ends[1]}"
    if low > -math.inf:
        return f" {'above' if ends[0] == '(' else 'of at least'} {low}"
    return ""


def _short(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.12g}"
