from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.rl.exploration import truncated_normal


def draw(mean: float, sigma: float, n: int = 100_000) -> np.ndarray:
    return truncated_normal(np.full(n, mean), sigma, np.random.default_rng(0))


@given(mean=st.floats(0, 1), sigma=st.floats(0, 10), seed=st.integers(0, 2**32))
def test_stays_in_the_unit_interval(mean: float, sigma: float, seed: int) -> None:
    sample = truncated_normal(np.full(100, mean), sigma, np.random.default_rng(seed))
    assert ((sample >= 0) & (sample <= 1)).all()


def test_is_centred_on_a_mean_far_from_the_ends() -> None:
    sample = draw(0.4, 0.05)
    assert sample.mean() == pytest.approx(0.4, abs=0.001)
    assert sample.std() == pytest.approx(0.05, abs=0.001)


def test_at_the_end_it_is_half_a_normal() -> None:
    # Mean of a half-normal: σ · √(2/π) = 0.1 · 0.7979.
    assert draw(0.0, 0.1).mean() == pytest.approx(0.07979, abs=0.001)
    assert draw(1.0, 0.1).mean() == pytest.approx(1 - 0.07979, abs=0.001)


def test_cuts_instead_of_clipping() -> None:
    # Clipping would put half of the samples on 0.
    assert (draw(0.0, 0.5) == 0).mean() < 0.001


def test_wide_noise_around_the_middle_is_symmetric_and_nearly_uniform() -> None:
    sample = draw(0.5, 10.0)
    assert sample.mean() == pytest.approx(0.5, abs=0.005)
    assert sample.std() == pytest.approx(1 / np.sqrt(12), abs=0.005)


def test_without_noise_it_is_the_mean_and_the_stream_still_advances() -> None:
    rng, twin = np.random.default_rng(0), np.random.default_rng(0)
    np.testing.assert_array_equal(truncated_normal(np.array([0.3]), 0.0, rng), [0.3])
    twin.random(1)
    assert rng.random() == twin.random()
