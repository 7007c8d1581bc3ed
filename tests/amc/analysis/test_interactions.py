from __future__ import annotations

import pytest

from amc.analysis.interactions import Interaction, PairSample, independence, measure_interactions, sample_pairs
from amc.core.errors import AmcError
from amc.core.types import Metrics, PruningPlan
from tests.support import toys

MODEL = toys.chain([10, 10, 10])
CURVES = toys.curves(MODEL, [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]], [0.5, 0.1])


def doubled(plan: PruningPlan) -> Metrics:
    """Twice the sum of what each group alone loses."""
    loss = 2 * sum(float(CURVES.loss_at(name, ratio)) for name, ratio in plan.keep_ratios().items())
    return Metrics(0.5, loss, 100)


def test_both_cut_against_the_sum_of_each_alone() -> None:
    rows = measure_interactions(CURVES, MODEL.groups, doubled, PairSample(10, 0.5))
    found = {(r.first, r.second): (r.together, r.apart) for r in rows}
    assert set(found) == {("l0", "l1"), ("l0", "l2"), ("l1", "l2")}  # all there are
    assert found["l0", "l2"] == pytest.approx((1.2, 0.6))
    told = independence(rows)
    assert (told.pairs, told.correlation, told.mean_ratio) == (3, pytest.approx(1), pytest.approx(2))


def test_known_pairs_are_not_measured_again() -> None:
    known = [Interaction("l0", "l2", 9.0, 1.0, 0.1)]
    seen = []
    rows = measure_interactions(
        CURVES,
        MODEL.groups,
        doubled,
        PairSample(3, 0.5),
        known=known,
        on_pair=lambda row, done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(2, 3), (3, 3)]
    assert sum(row.together == 9.0 for row in rows) == 1


def test_pairs_are_different_and_the_seed_decides() -> None:
    names = [f"g{i}" for i in range(20)]
    pairs = sample_pairs(names, 50, 0)
    assert len(set(pairs)) == 50
    assert all(names.index(first) < names.index(second) for first, second in pairs)
    assert sample_pairs(names, 50, 0) == pairs != sample_pairs(names, 50, 1)
    assert sample_pairs(names, 10, 0) == pairs[:10]  # more pairs go on where fewer ended
    assert len(sample_pairs(names, 1000, 0)) == 190
    assert sample_pairs(["alone"], 5, 0) == []


def test_nothing_to_tell() -> None:
    assert independence([]).correlation is None
    assert independence([Interaction("a", "b", 0.1, 0.0, 0.9)] * 2).mean_ratio is None
    assert independence([Interaction("a", "b", 0.1, 0.05, 0.9)]).mean_ratio == 2


def test_correlation_of_three_pairs() -> None:
    rows = [Interaction("a", "b", y, x, 0.9) for x, y in ((1.0, 1.0), (2.0, 3.0), (3.0, 2.0))]
    # deviations −1 0 1 and −1 1 0: 1 / √(2 · 2)
    assert independence(rows).correlation == pytest.approx(0.5)
    assert independence(rows).mean_ratio == pytest.approx(1.0)


def test_impossible_numbers() -> None:
    with pytest.raises(AmcError, match=r"interactions\.keep_ratio=1"):
        PairSample(1, 1.0)
    with pytest.raises(AmcError, match=r"interactions\.pairs=-1"):
        PairSample(-1, 0.5)
