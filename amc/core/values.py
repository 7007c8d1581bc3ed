"""What a setting can be: a whole number from 1 on, one of three names, a list of texts …; checked alike everywhere."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from amc.core.checks import Interval, require, shown
from amc.core.errors import AmcError

MISSING = "???"  # OmegaConf's mark of a value that is the user's to give
LARGEST_WHOLE, LARGEST_REAL = 10**9, 1e6  # beyond them a number is a slip of the hand
LARGEST_SEED = 2**63 - 1
PLAIN_NAME = re.compile(r"[^/\\\x00-\x1f]{1,100}")
MOST_NAMES = 40  # in a message


class Kind(Protocol):
    """What a setting can be."""

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` if ``value``, given for the setting ``name``, can't be."""


@dataclass(frozen=True)
class Or:
    """What other kinds allow, and the words besides that stand for something: ``auto``, or ``None``."""

    also: tuple[str | None, ...] = ()

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` if ``value``, given for the setting ``name``, can't be."""
        if not (value is None or isinstance(value, str)) or value not in self.also:
            self._check(name, value)

    def _check(self, name: str, value: Any) -> None:
        raise NotImplementedError

    @property
    def _hint(self) -> str:
        return "".join(f", or {'null' if word is None else word}" for word in self.also)


@dataclass(frozen=True)
class Whole(Or):
    """A whole number in ``[low, high]``."""

    low: int = 1
    high: int = LARGEST_WHOLE
    hint: str = ""

    def _check(self, name: str, value: Any) -> None:
        generous = self.high == LARGEST_WHOLE
        require(name, value, int, Interval(self.low, math.inf if generous else self.high), hint=self.hint + self._hint)
        _refuse_slip(name, value, self.high)


@dataclass(frozen=True)
class Real(Or):
    """A number, whole ones too, in the interval from ``low`` to ``high``; ``ends`` as for :func:`require`."""

    low: float = 0
    high: float = LARGEST_REAL
    ends: str = "[]"
    hint: str = ""

    def _check(self, name: str, value: Any) -> None:
        high = math.inf if self.high == LARGEST_REAL else self.high
        require(name, value, float, Interval(self.low, high, ends=self.ends), hint=self.hint + self._hint)
        _refuse_slip(name, value, self.high)


@dataclass(frozen=True)
class Flag(Or):
    """``True`` or ``False``."""

    def _check(self, name: str, value: Any) -> None:
        require(name, value, bool, hint=self._hint)


@dataclass(frozen=True)
class OneOf(Or):
    """One of some names."""

    names: tuple[str, ...] = ()

    def _check(self, name: str, value: Any) -> None:
        if not isinstance(value, str) or value not in self.names:
            raise AmcError(f"{shown(name, value)}: unknown; {_nearest(str(value), self.names)}{self._hint}")


@dataclass(frozen=True)
class Text(Or):
    """A text that isn't empty.

    Attributes:
        what: it is, for people.
        file_name: whether it becomes part of a file's name.
    """

    what: str = "a text"
    file_name: bool = False

    def _check(self, name: str, value: Any) -> None:
        if value == MISSING:
            raise AmcError(f"{name}: is missing; give {self.what}, {name}=…")
        fits = isinstance(value, str) and bool(value.strip()) and "\0" not in value
        if fits and self.file_name:
            fits = PLAIN_NAME.fullmatch(value) is not None and value not in (".", "..")
        if not fits:
            raise AmcError(f"{shown(name, value)}: give {self.what}{self._hint}")


@dataclass(frozen=True)
class Many(Or):
    """A list, of ``least`` to ``most`` entries."""

    entry: Kind = Text()
    least: int = 0
    most: int = 1000
    example: str = ""

    def _check(self, name: str, value: Any) -> None:
        if not isinstance(value, (list, tuple)) or not self.least <= len(value) <= self.most:
            counts = "" if self.least == 0 else f" of {self.least}" + (" or more" if self.most > self.least else "")
            example = f", such as {name}={self.example}" if self.example else ""
            raise AmcError(f"{shown(name, value)}: give a list{counts}{example}{self._hint}")
        for entry in value:
            self.entry.check(name, entry)


@dataclass(frozen=True)
class Section:
    """Settings by name: all of them, and no others."""

    keys: Mapping[str, Kind]

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` naming the first setting that is unknown, missing, or can't be as it is."""
        require_section(name, value)
        refuse_unknown_keys(name, value, self.keys)
        for key, kind in self.keys.items():
            if key not in value:
                raise AmcError(f"{below(name, key)}: was removed; a setting can be changed, but not left out")
            kind.check(below(name, key), value[key])


@dataclass(frozen=True)
class Some:
    """One or more of some settings, by name."""

    keys: Mapping[str, Kind]

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` naming the first setting that is unknown or can't be as it is, or if there is none."""
        if not isinstance(value, Mapping) or not value:
            raise AmcError(f"{shown(name, value)}: give one or more of {', '.join(self.keys)}, such as {{KEY: VALUE}}")
        refuse_unknown_keys(name, map(str, value), self.keys)
        check_all(name, value, self.keys)


@dataclass(frozen=True)
class ByPattern(Or):
    """An entry for each of some names or patterns."""

    entry: Kind = Text()
    example: str = ""

    def _check(self, name: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise AmcError(f"{shown(name, value)}: give a mapping, such as {name}={self.example}{self._hint}")
        for pattern, entry in value.items():
            self.entry.check(below(name, str(pattern)), entry)


@dataclass(frozen=True)
class Nullable:
    """What ``kind`` allows, or ``None``."""

    kind: Kind

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` if ``value``, given for the setting ``name``, can't be."""
        if value is not None:
            try:
                self.kind.check(name, value)
            except AmcError as error:
                raise AmcError(f"{error}, or null") from None


def check_all(section: str, values: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    """Checks those of ``values`` that ``kinds`` says something of, as settings of ``section``. Raises ``AmcError``."""
    for key, kind in kinds.items():
        if key in values:
            kind.check(below(section, key), values[key])


def require_section(name: str, value: object) -> None:
    """Refuses what is no section of named settings. Raises ``AmcError``."""
    if not isinstance(value, Mapping):
        raise AmcError(f"{shown(name, value)}: is a section of settings; give them one by one, {name}.KEY=VALUE")


def refuse_unknown_keys(section: str, given: Iterable[str], known: Iterable[str], whose: str = "") -> None:
    """Refuses settings that there aren't.

    Args:
        section: as users write it; empty at the top.
        given: names of the settings.
        known: names of those that there are.
        whose: they are, if not simply the section's.

    Raises:
        AmcError: names the first of ``given`` that is not ``known``, and what there is.
    """
    for key in given:
        if key not in known:
            owner = f"{whose} has no such setting" if whose else "unknown"
            raise AmcError(f"{below(section, str(key))}: {owner}; {_nearest(str(key), tuple(known))}")


def below(section: str, key: str) -> str:
    """The setting ``key`` of ``section`` as users write it."""
    return f"{section}.{key}" if section else key


def _refuse_slip(name: str, value: float, high: float) -> None:
    """Says of a number that is far too large only that: its range has no end that means something."""
    if value > high:
        raise AmcError(f"{shown(name, value)}: give a number of at most {high:.12g}")


def _nearest(given: str, names: tuple[str, ...]) -> str:
    """What could be meant, and what there is."""
    near = difflib.get_close_matches(given, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}give one of {', '.join(names[:MOST_NAMES])}" if names else "it has none"
