from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.rl.running_std import RunningStd


def of(values: list[float]) -> RunningStd:
    running = RunningStd()
    for value in values:
        running.add(value)
    return running


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.sampled_from([0.0, 1e6]))
def test_is_the_standard_deviation_of_all_values(values: list[float], offset: float) -> None:
    expected = float(np.std(values))
    found = of([value + offset for value in values]).std
    assert (found or 0.0) == pytest.approx(expected, abs=1e-5)


def test_equal_values_have_none() -> None:
    assert RunningStd().std is None
    assert of([0.1]).std is None
    assert of([0.1] * 9).std is None
    assert of([1.0, 3.0]).std == 1.0


def test_state_round_trip() -> None:
    whole, other = of([1.0, 5.0, 2.0]), RunningStd()
    other.load_state(whole.state())
    for running in (whole, other):
        running.add(7.5)
    assert other.std == whole.std == pytest.approx(np.std([1.0, 5.0, 2.0, 7.5]))
