from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from amc.analysis.heuristics.integer_program import Program, solve


def test_without_couplings() -> None:
    # 0.4 + 0.4 + nothing fits; both of the better choices would use 1.2
    program = Program([np.array([5.0, 1.0]), np.array([3.0, 1.0])], [np.array([0.4, 0.6])] * 2, {})
    found = solve(program, 10)
    assert found.chosen == (1, 0)
    assert found.bound == pytest.approx(4)


def test_a_coupling_decides() -> None:
    program = Program([np.array([1.0, 0.0])] * 2, [np.zeros(2)] * 2, {(0, 1): np.array([[0.0, 0.0], [0.0, 1.1]])})
    found = solve(program, 10)
    assert found.chosen is not None
    assert sorted(found.chosen) == [0, 1]
    assert found.bound == pytest.approx(1)


def test_nothing_fits() -> None:
    assert solve(Program([np.array([1.0, 2.0])], [np.array([1.5, 2.0])], {}), 10).chosen is None


@pytest.mark.parametrize("seed", range(5))
def test_unlike_sizes_and_a_ring_of_couplings(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = (2, 3, 4)
    values = [random.uniform(0, 1, n) for n in sizes]
    alone = [random.uniform(0, 0.3, n) for n in sizes]
    pairs = {(g, h): random.uniform(0, 0.3, (sizes[g], sizes[h])) for g, h in ((0, 1), (1, 2), (0, 2))}
    best = min(
        sum(v[k] for v, k in zip(values, chosen, strict=True))
        for chosen in product(*map(range, sizes))
        if sum(a[k] for a, k in zip(alone, chosen, strict=True))
        + sum(use[chosen[g], chosen[h]] for (g, h), use in pairs.items())
        <= 1
    )
    found = solve(Program(values, alone, pairs), 10)
    assert found.chosen is not None
    assert sum(v[k] for v, k in zip(values, found.chosen, strict=True)) == pytest.approx(best)
