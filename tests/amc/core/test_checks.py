from __future__ import annotations

import math

import numpy as np
import pytest

from amc.core.checks import Interval, refuse_unknown, require, shown
from amc.core.errors import AmcError, first_line


@pytest.mark.parametrize(
    ("value", "kind", "low", "high", "ends"),
    [
        (1, int, 1, math.inf, "[]"),
        (np.int64(3), int, 1, 3, "[]"),
        (10**400, int, 1, math.inf, "[]"),
        (1, float, 0, 1, "(]"),
        (np.float32(0.5), float, 0, 1, "()"),
        (-3.5, float, -math.inf, math.inf, "[]"),
        (False, bool, 0, 1, "[]"),
    ],
)
def test_what_fits_passes(value: object, kind: type, low: float, high: float, ends: str) -> None:
    require("a.b", value, kind, Interval(low, high, ends=ends))


@pytest.mark.parametrize(
    ("value", "kind", "low", "high", "ends", "advice"),
    [
        (0, int, 1, math.inf, "[]", "a whole number of at least 1"),
        (1.0, int, 1, math.inf, "[]", "a whole number of at least 1"),
        (True, int, 1, math.inf, "[]", "a whole number of at least 1"),
        ("x", float, 0, math.inf, "(]", "a number above 0"),
        (0, float, 0, 1, "(]", "a number in (0, 1]"),
        (1, float, 0, 1, "[)", "a number in [0, 1)"),
        (None, float, 0, 1, "[]", "a number in [0, 1]"),
        ([1], float, -math.inf, math.inf, "[]", "a number"),
        (math.nan, float, -math.inf, math.inf, "[]", "a number"),
        (math.inf, float, 0, math.inf, "[]", "a number of at least 0"),
        (1, bool, 0, 1, "[]", "true or false"),
    ],
)
def test_what_does_not_fit_is_one_line(
    value: object, kind: type, low: float, high: float, ends: str, advice: str
) -> None:
    with pytest.raises(AmcError) as caught:
        require("a.b", value, kind, Interval(low, high, ends=ends), hint="!")
    assert str(caught.value) == f"{shown('a.b', value)}: give {advice}!"


def test_unknown_settings_are_named() -> None:
    refuse_unknown("dataset", ["root"], ["name", "root"])
    with pytest.raises(AmcError, match=r"^dataset\.rot: unknown; give one of name, root$"):
        refuse_unknown("dataset", ["root", "rot"], ["name", "root"])


def test_the_first_line_of_an_error() -> None:
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert first_line(AssertionError()) == "AssertionError"


def test_a_value_is_shown_as_users_write_it_in_one_line_that_is_not_long() -> None:
    assert [shown("a", value) for value in (None, True, 1, "x\ny")] == ["a=null", "a=true", "a=1", "a=x y"]
    assert shown("a", "x" * 500) == f"a={'x' * 80}…"
