from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amc.analysis.heuristics.counts import allowed_counts, shares
from amc.pruning.bounds import Bounds
from amc.pruning.constraints import Limits
from tests.support import toys


def bounds(channels: int, min_keep: float, channel_round: int = 1, step: int = 1) -> Bounds:
    return Limits(min_keep, channel_round).of([toys.group("g", channels, step=step)])["g"]


def test_counts_in_whole_units_from_the_minimum_to_all() -> None:
    assert allowed_counts(bounds(6, 0.1)).tolist() == [1, 2, 3, 4, 5, 6]
    assert allowed_counts(bounds(6, 0.5)).tolist() == [3, 4, 5, 6]
    assert allowed_counts(bounds(12, 0.1, step=3)).tolist() == [3, 6, 9, 12]
    assert allowed_counts(bounds(20, 0.1, 8)).tolist() == [8, 16, 20]
    assert allowed_counts(bounds(1, 0.1)).tolist() == [1]


def test_a_coarse_grid_keeps_both_ends() -> None:
    assert allowed_counts(bounds(10, 0.1), most=4).tolist() == [1, 4, 7, 10]
    assert allowed_counts(bounds(10, 0.1), most=1).tolist() == [1, 10]


@given(st.integers(1, 200), st.floats(0.01, 1), st.integers(1, 16), st.integers(2, 20))
def test_every_count_is_one_that_a_plan_may_have(channels: int, min_keep: float, unit: int, most: int) -> None:
    group = toys.group("g", channels)
    counts = allowed_counts(bounds(channels, min_keep, unit), most)
    assert len(counts) <= most
    assert counts[0] == group.min_channels(min_keep, unit)
    assert counts[-1] == channels
    assert all(group.round_channels(n / channels, unit) == n for n in counts)


def test_shares_count_what_makes_and_what_reads_the_channels() -> None:
    model = toys.stream(8, [6])
    # stem 2 · 8 · 3, mix 8 · 8, into and out of the block 3 · 6 · 8 each: all touch the stream, the last two the block
    assert shares(model) == {"stem": (1.0, 1.0), "a0": pytest.approx((288 / 400, 288 / 400))}
