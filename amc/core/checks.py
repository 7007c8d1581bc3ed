"""Checks of user settings; each error is one line that names the setting as users write it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from amc.core.errors import AmcError

TYPES: dict[type, Any] = {int: Integral, float: Real}  # numpy's numbers are numbers too
LONGEST = 80  # characters of a value in a message
NOUNS = {int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Interval:
    """Numbers from ``low`` to ``high``; ``ends``: whether these belong to it: ``(]`` has ``high`` alone."""

    low: float = -math.inf
    high: float = math.inf
    ends: str = "[]"

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.ends[0] == "(" else value >= self.low
        below = value < self.high if self.ends[1] == ")" else value <= self.high
        return above and below

    def __str__(self) -> str:
        """What to add to "a number"."""
        if self.high < math.inf:
            return f" in {self.ends[0]}{_short(self.low)}, {_short(self.high)}{self.ends[1]}"
        if self.low > -math.inf:
            return f" {'above' if self.ends[0] == '(' else 'of at least'} {self.low}"
        return ""


def require(
    name: str,
    value: Any,
    kind: type[int] | type[float] | type[bool],
    within: Interval | None = None,
    hint: str = "",
) -> None:
    """Refuses a value of another type, one out of its range, and NaN and infinities.

    Args:
        name: the setting, as in ``budget.keep``.
        value: the given value.
        kind: ``int``, ``float`` (whole numbers too) or ``bool``.
        within: the range of a number; by default any.
        hint: added to the advice.

    Raises:
        AmcError: says what can be given.
    """
    if kind is bool:
        fits, wanted = isinstance(value, bool), "true or false"
    else:
        within = within or Interval()
        number = isinstance(value, TYPES[kind]) and not isinstance(value, bool) and abs(value) < math.inf
        fits = number and value in within
        wanted = f"{NOUNS[kind]}{within}"
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
        raise ValueError(f"{value!r} is no number{Interval(low, high)}")
    return float(value)


def text(value: Any) -> str:
    """``value``, which a file gives, if it is text. Raises ``ValueError`` if not."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _short(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.12g}"
