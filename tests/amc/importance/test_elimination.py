from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from amc.importance.elimination import Loss, removal_order

RIDGE = 0.1


@dataclass(frozen=True)
class Rows:
    """A layer's explicit rows: inputs ``x`` ``[n, c · m]``, dense weights ``w`` ``[c · m, out]``; brute force."""

    channels: Tensor
    x: Tensor
    w: Tensor

    @classmethod
    def random(cls, seed: int, channels: Sequence[int], m: int, out: int) -> Rows:
        generator = torch.Generator().manual_seed(seed)
        p = len(channels) * m
        mixing = torch.randn(p, p, generator=generator, dtype=torch.float64)  # correlated features
        x = torch.randn(40, p, generator=generator, dtype=torch.float64) @ mixing
        w = torch.randn(p, out, generator=generator, dtype=torch.float64)
        return cls(torch.tensor(channels), x, w)

    def loss(self) -> Loss:
        c, m = len(self.channels), self.w.shape[0] // len(self.channels)
        gram = self.x.T @ self.x + RIDGE * torch.eye(c * m)
        return Loss(self.channels, torch.linalg.inv(gram).view(c, m, c, m), self.w.view(c, m, -1))

    def error(self, gone: Sequence[int]) -> float:
        """Squared error of the best weights without these channels, the ridge pulling towards ``w``, by lstsq."""
        m = self.w.shape[0] // len(self.channels)
        stays = torch.tensor([int(c) not in gone for c in self.channels]).repeat_interleave(m)
        rows = torch.cat([self.x, RIDGE**0.5 * torch.eye(len(self.w), dtype=torch.float64)])
        target = rows @ self.w
        if not stays.any():
            return float(target.square().sum())
        found = torch.linalg.lstsq(rows[:, stays], target).solution
        return float((rows[:, stays] @ found - target).square().sum())


def brute_force(layers: Sequence[Rows], candidates: Sequence[int], gone: Sequence[int], count: int) -> list[int]:
    """Greedy elimination of ``count`` of the candidates after ``gone``, each step refitted from scratch."""
    order: list[int] = []
    for _ in range(count):
        left = [c for c in candidates if c not in order]
        order.append(min(left, key=lambda c: sum(layer.error([*gone, *order, c]) for layer in layers)))
    return order


def some_layers(seed: int) -> list[Rows]:
    """Three consumers of seven channels: several features for each, one for each, and one that reads only five."""
    return [
        Rows.random(seed, range(7), 3, 4),
        Rows.random(seed + 1, range(7), 1, 2),
        Rows.random(seed + 2, [0, 2, 3, 5, 6], 2, 1),
    ]


@given(seed=st.integers(0, 2**31), gone=st.sets(st.integers(0, 6), max_size=5))
@settings(max_examples=20)
def test_losses_are_those_of_least_squares_on_the_rows(seed: int, gone: set[int]) -> None:
    for layer in some_layers(seed):
        loss = layer.loss()
        loss.remove(torch.tensor(sorted(gone), dtype=torch.int64))
        before = layer.error(sorted(gone))
        for c, found in zip(layer.channels.tolist(), loss.each.tolist(), strict=True):
            expected = 0.0 if c in gone else layer.error([*gone, c]) - before
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_it_does_not_matter_in_how_many_steps_channels_go() -> None:
    for layer in some_layers(0):
        together, singly = layer.loss(), layer.loss()
        together.remove(torch.tensor([5, 0, 2]))
        for c in (2, 5, 0):
            singly.remove(torch.tensor(c))
        torch.testing.assert_close(together.each, singly.each)


def test_a_part_of_the_channels_tells_the_same() -> None:
    for layer in some_layers(0):
        whole = layer.loss()
        whole.remove(torch.tensor([3]))
        part = whole.among(torch.tensor([0, 5, 6]))
        for gone in (5, 0):
            where = torch.isin(whole.channels, part.channels)
            torch.testing.assert_close(part.each, whole.each[where])
            whole.remove(torch.tensor(gone))
            part.remove(torch.tensor(gone))


@given(seed=st.integers(0, 2**31))
@settings(max_examples=15)
def test_the_order_is_that_of_brute_force(seed: int) -> None:
    layers = some_layers(seed)
    expected = brute_force(layers, range(7), [], 7)
    for max_passes in (7, 1):  # either way every step looks at every channel
        assert removal_order([x.loss() for x in layers], 7, max_passes=max_passes) == expected


def test_greedy_elimination_is_not_the_order_of_the_first_losses() -> None:
    """Two of a kind: alone each is worth nothing, together they are worth most."""
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    layer = Rows(torch.arange(4), x[:, [0, 1, 1, 2]], torch.tensor([[2.0], [2.0], [2.0], [1.0]], dtype=torch.float64))
    first = layer.loss().each
    assert first[1] < first[0]
    assert first[2] < first[3]
    assert removal_order([layer.loss()], 4)[0] in (1, 2)
    assert removal_order([layer.loss()], 4)[3] in (1, 2)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=15)
def test_wide_groups_lose_several_channels_a_pass(seed: int) -> None:
    """Three passes over seven channels: each time the six (or all) cheapest, of which three go one by one."""
    layers = some_layers(seed)
    expected: list[int] = []
    while len(expected) < 7:
        left = [c for c in range(7) if c not in expected]
        cost = {c: sum(layer.error([*expected, c]) for layer in layers) for c in left}
        pool = sorted(left, key=lambda c: cost[c])[:6]
        expected += brute_force(layers, pool, expected, min(3, len(left)))
    assert removal_order([x.loss() for x in layers], 7, max_passes=3) == expected


@pytest.mark.parametrize("max_passes", [1, 2, 64])
def test_convolution_groups_lose_equally_many(max_passes: int) -> None:
    """What a plan can keep has equally many channels of each group, so that is what elimination goes through."""
    whole, halves = Rows.random(0, range(8), 2, 3), [Rows.random(i, range(4 * i, 4 * i + 4), 2, 1) for i in range(2)]
    order = removal_order([x.loss() for x in (whole, *halves)], 8, step=2, max_passes=max_passes)
    assert sorted(order) == list(range(8))
    for i in range(0, 8, 2):
        assert {c // 4 for c in order[i : i + 2]} == {0, 1}


def test_steps_follow_brute_force_within_each_round() -> None:
    layers = [Rows.random(3, range(6), 2, 3), Rows.random(4, range(3), 2, 2), Rows.random(5, range(3, 6), 2, 2)]
    expected: list[int] = []
    for _ in range(3):
        first = brute_force(layers, [c for c in range(6) if c not in expected], expected, 1)
        other = [c for c in range(6) if c not in expected and c // 3 != first[0] // 3]
        expected += first + brute_force(layers, other, [*expected, *first], 1)
    assert removal_order([x.loss() for x in layers], 6, step=2) == expected


def test_channels_that_are_worth_the_same_go_in_their_order() -> None:
    same = Rows(torch.arange(5), torch.eye(5, dtype=torch.float64), torch.ones(5, 1, dtype=torch.float64))
    assert removal_order([same.loss()], 5) == [0, 1, 2, 3, 4]


def test_nearly_singular_systems_stay_accurate() -> None:
    """Features that are almost copies of each other, with a ridge of 1e-6 of the mean diagonal."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(300, 10, generator=generator, dtype=torch.float64)
    x = torch.cat([base, base + 1e-5 * torch.randn(300, 10, generator=generator, dtype=torch.float64)], dim=1)
    gram = x.T @ x
    ridge = 1e-6 * float(gram.diagonal().mean())
    w = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    loss = Loss(torch.arange(20), torch.linalg.inv(gram + ridge * torch.eye(20)).view(20, 1, 20, 1), w.view(20, 1, 3))
    rows = torch.cat([x, ridge**0.5 * torch.eye(20, dtype=torch.float64)])
    gone: list[int] = []
    before = 0.0
    for c in np.random.default_rng(0).permutation(20)[:17].tolist():
        found = float(loss.each[c])
        gone.append(c)
        stays = [i for i in range(20) if i not in gone]
        residual = rows @ w - rows[:, stays] @ torch.linalg.lstsq(rows[:, stays], rows @ w).solution
        after = float(residual.square().sum())
        assert found == pytest.approx(after - before, rel=1e-4, abs=1e-6 * after)
        loss.remove(torch.tensor(c))
        before = after
