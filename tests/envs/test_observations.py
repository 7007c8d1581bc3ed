from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amc.core.errors import AmcError
from amc.core.types import LayerGroup
from envs.observations import FEATURES, STATIC, amc, features_of, portable, static_features

STEM = LayerGroup("a", "conv3x3", 8, 1, False, 4, 8, 8, 1, 3, 4096, 288)
POINT = LayerGroup("b", "conv1x1", 16, 1, False, 8, 4, 4, 2, 1, 1024, 128)
DEPTH = LayerGroup("c", "depthwise3x3", 16, 1, False, 16, 4, 2, 1, 3, 1024, 144)


def groups_strategy() -> st.SearchStrategy[list[LayerGroup]]:
    group = st.builds(
        LayerGroup,
        name=st.just("g"),
        kind=st.sampled_from(["conv3x3", "linear", "grouped3x3", "depthwise5x5", "conv1x7"]),
        channels=st.integers(1, 4096),
        step=st.just(1),
        residual=st.booleans(),
        in_channels=st.integers(1, 30_000),
        height=st.integers(1, 256),
        width=st.integers(1, 256),
        stride=st.integers(1, 4),
        kernel=st.integers(1, 11),
        macs=st.integers(0, 10**10),
        params=st.integers(0, 10**8),
    )
    return st.lists(group, min_size=1, max_size=8)


def test_the_features() -> None:
    assert len(FEATURES) == 12
    assert FEATURES[:9] == STATIC


def test_amc_is_min_max_per_network() -> None:
    expected = [
        # index, type, in, out, height, width, stride, kernel, MACs
        [0.0, 0, 0, 0, 1, 1, 0, 1, 1],
        [0.5, 0, 1 / 3, 1, 0, 1 / 3, 1, 0, 0],  # in: (8 − 4) / (16 − 4); width: (4 − 2) / (8 − 2)
        [1.0, 1, 1, 1, 0, 0, 0, 1, 0],
    ]
    np.testing.assert_allclose(amc([STEM, POINT, DEPTH]), expected)


def test_amc_of_a_single_group_is_zero() -> None:
    np.testing.assert_array_equal(amc([STEM]), np.zeros((1, 9)))


def test_portable_literally() -> None:
    log3 = np.log2(3) / 4
    # Mean MACs: (4096 + 1024 + 1024) / 3 = 2048; so 0.5 + log2(2) / 16 = 0.5625 and 0.5 + log2(½) / 16 = 0.4375.
    expected = [
        [1 / 6, 0, 2 / 16, 3 / 16, 0, 0, 0, log3, 0.5625],
        [3 / 6, 0, 3 / 16, 4 / 16, 1 / 8, 1 / 8, 1 / 3, 0, 0.4375],
        [5 / 6, 1, 4 / 16, 4 / 16, 1 / 8, 2 / 8, 0, log3, 0.4375],
    ]
    np.testing.assert_allclose(portable([STEM, POINT, DEPTH]), expected)


@given(groups_strategy())
def test_all_features_lie_in_the_unit_interval(groups: list[LayerGroup]) -> None:
    for layout in ("amc", "portable"):
        features = static_features(layout, groups)
        assert features.shape == (len(groups), 9)
        assert ((features >= 0) & (features <= 1)).all()


def test_twice_the_width_moves_only_the_portable_channel_features() -> None:
    groups = [STEM, POINT, DEPTH]
    wide = [
        replace(g, channels=2 * g.channels, in_channels=2 * g.in_channels, macs=4 * g.macs, params=4 * g.params)
        for g in groups
    ]
    moved = portable(wide) - portable(groups)
    np.testing.assert_allclose(moved[:, 2:4], 1 / 16)
    np.testing.assert_allclose(np.delete(moved, [2, 3], axis=1), 0, atol=1e-12)


def test_a_larger_input_moves_no_portable_feature() -> None:
    groups = [STEM, POINT, DEPTH]
    large = [replace(g, height=2 * g.height, width=2 * g.width, macs=4 * g.macs) for g in groups]
    np.testing.assert_allclose(portable(large), portable(groups))


def test_repeated_blocks_look_the_same_at_the_same_place() -> None:
    groups = [STEM, POINT, DEPTH]
    deep = portable([g for g in groups for _ in range(2)])
    for twin in (deep[0::2], deep[1::2]):
        np.testing.assert_allclose(twin[:, 1:], portable(groups)[:, 1:])
    np.testing.assert_allclose((deep[0::2, 0] + deep[1::2, 0]) / 2, portable(groups)[:, 0])


@pytest.mark.parametrize("layout", ["response", "price"])
def test_what_is_measured_literally(layout: str) -> None:
    # Geometric mean of 1, 2 and 4: 2. MACs as in portable.
    expected = [[0.5 - np.log(2) / 8, 0.5625], [0.5, 0.4375], [0.5 + np.log(2) / 8, 0.4375]]
    found = static_features(layout, [STEM, POINT, DEPTH], {layout: {"a": 1.0, "b": 2.0, "c": 4.0}})
    np.testing.assert_allclose(found, expected)
    assert features_of(layout) == (layout, "macs")
    # what is kept apart: the architecture, and the unit
    other = [replace(g, channels=512, in_channels=7, height=99, kernel=1, kind="linear") for g in (STEM, POINT, DEPTH)]
    again = static_features(layout, other, {layout: {"a": 0.5, "b": 1.0, "c": 2.0}})
    np.testing.assert_allclose(again, expected)


def test_response_without_responses() -> None:
    with pytest.raises(AmcError, match="observation=response: the groups' responses were not measured"):
        static_features("response", [STEM], {"price": {"a": 1.0}})


def test_unknown_layout() -> None:
    with pytest.raises(AmcError, match="observation=paper: unknown; give one of amc, portable, response, price"):
        static_features("paper", [STEM])
