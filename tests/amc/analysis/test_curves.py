from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amc.analysis.curves import BROKEN_LOSS, Curves, Point, measure_curves
from amc.core.errors import AmcError
from amc.core.types import LayerGroup, Metrics, PruningPlan
from tests.support import toys

GROUPS = [
    toys.group("a", 10),
    toys.group("b", 4),
    LayerGroup("out", "linear", 10, 1, False, 3, 8, 8, 1, 3, 10, 10, (), "the network's output"),
]
DENSE = Metrics(0.9, 0.3, 100)


class Fake:
    """Loss: 0.3 + 0.01 for each channel that a lost and 0.1 for each of b; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[PruningPlan] = []

    def __call__(self, plan: PruningPlan) -> Metrics:
        self.asked.append(plan)
        lost = 0.01 * (10 - plan["a"]) + 0.1 * (4 - plan["b"])
        return Metrics(0.9 - lost, 0.3 + lost, 100, {"forward": 0.25, "cut": 0.25})


def test_each_group_alone_at_each_ratio() -> None:
    fake = Fake()
    curves = measure_curves(GROUPS, fake, DENSE, [0.8, 0.5, 0.2])
    assert curves.names == ("a", "b")  # the frozen one has no curve
    assert curves.kept.tolist() == [[8, 5, 2], [3, 2, 1]]
    assert curves.loss == pytest.approx(np.array([[0.32, 0.35, 0.38], [0.4, 0.5, 0.6]]))
    assert curves.score == pytest.approx(np.array([[0.88, 0.85, 0.82], [0.8, 0.7, 0.6]]))
    assert [(plan["a"], plan["b"], plan["out"]) for plan in fake.asked] == [
        (8, 4, 10), (5, 4, 10), (2, 4, 10), (10, 3, 10), (10, 2, 10), (10, 1, 10),
    ]  # fmt: skip
    assert curves.seconds == pytest.approx(3.0)  # six values of half a second


def test_ratios_that_round_to_one_count_are_measured_once() -> None:
    fake = Fake()
    curves = measure_curves(GROUPS, fake, DENSE, [0.3, 0.25, 0.2])
    assert curves.kept.tolist() == [[3, 2, 2], [1, 1, 1]]
    assert len(fake.asked) == 3
    assert curves.seconds == pytest.approx(1.5)
    assert curves.loss_at("b", 0.25) == pytest.approx(0.6)


def test_known_values_are_not_measured_again_and_new_ones_are_handed_out() -> None:
    whole = measure_curves(GROUPS, Fake(), DENSE, [0.8, 0.5, 0.2])
    seen: list[tuple[Point, int, int]] = []
    stopped = [Point("a", 8, 0.88, 0.32), Point("b", 2, 0.7, 0.5), Point("elsewhere", 3, 0.1, 9)]
    fake = Fake()
    resumed = measure_curves(
        GROUPS, fake, DENSE, [0.8, 0.5, 0.2], known=stopped, on_point=lambda *event: seen.append(event)
    )
    assert [(point.group, point.kept, done, total) for point, done, total in seen] == [
        ("a", 5, 3, 6), ("a", 2, 4, 6), ("b", 3, 5, 6), ("b", 1, 6, 6),
    ]  # fmt: skip
    assert len(fake.asked) == 4
    assert resumed.loss == pytest.approx(whole.loss)


def test_a_network_whose_outputs_overflow_has_a_large_loss() -> None:
    curves = measure_curves(GROUPS, lambda plan: Metrics(0.0, float("nan"), 100), DENSE, [0.5])
    assert curves.loss.tolist() == [[BROKEN_LOSS], [BROKEN_LOSS]]


@pytest.fixture
def curves() -> Curves:
    """One group of 10 channels: loss 0 uncut, then 0.1 at 0.8, 0.05 at 0.6 and 0.3 at 0.2."""
    model = toys.chain([10])
    return toys.curves(model, [[0.1, 0.05, 0.3]], [0.8, 0.6, 0.2])


def test_linear_between_what_was_measured(curves: Curves) -> None:
    for ratio, loss in ((1.0, 0.0), (0.9, 0.05), (0.8, 0.1), (0.7, 0.075), (0.4, 0.175), (0.2, 0.3)):
        assert curves.loss_at("l0", ratio) == pytest.approx(loss)


def test_below_the_smallest_ratio_the_last_slope_goes_on(curves: Curves) -> None:
    assert curves.loss_at("l0", 0.1) == pytest.approx(0.3 + 0.1 * 0.25 / 0.4)
    falling = toys.curves(toys.chain([10]), [[0.4, 0.1]], [0.6, 0.3])
    assert falling.loss_at("l0", 0.1) == pytest.approx(0.1)  # fewer channels are no cure


def test_made_monotone_a_bump_counts_for_all_below(curves: Curves) -> None:
    found = curves.loss_increase("l0", np.array([1.0, 0.8, 0.7, 0.6, 0.2]))
    assert found == pytest.approx(np.array([0, 0.1, 0.1, 0.1, 0.3]))
    assert curves.score_drop("l0", 0.6) == pytest.approx(0.1)


def test_better_than_uncut_counts_as_no_loss() -> None:
    lucky = toys.curves(toys.chain([10]), [[-0.0, 0.2]], [0.5, 0.2])
    lucky = Curves.from_json({**lucky.to_json(), "dense_accuracy": 0.95, "dense_loss": 0.05})
    assert lucky.loss_at("l0", 0.5) == pytest.approx(0.0)
    assert lucky.loss_increase("l0", 0.5) == 0
    assert lucky.score_drop("l0", 0.5) == 0


def test_the_keep_ratio_for_a_drop(curves: Curves) -> None:
    assert curves.keep_ratio_at_drop("l0", 0.0) == 1.0
    assert curves.keep_ratio_at_drop("l0", 0.05) == 0.9
    assert curves.keep_ratio_at_drop("l0", 0.1) == 0.6
    assert curves.keep_ratio_at_drop("l0", 0.9) == 0.2  # nothing was measured below


def test_a_ratio_that_keeps_everything_is_the_uncut_network() -> None:
    rounded = toys.curves(toys.chain([2]), [[0.0, 0.2]], [0.9, 0.5])
    assert rounded.kept.tolist() == [[2, 1]]
    assert rounded.loss_at("l0", 0.75) == pytest.approx(0.1)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(0.05, 1), st.floats(0.05, 1))
def test_monotone_for_any_curve(loss: list[float], first: float, second: float) -> None:
    made = toys.curves(toys.chain([20]), [loss], [0.8, 0.6, 0.4, 0.2])
    low, high = sorted((first, second))
    assert made.loss_increase("l0", low) >= made.loss_increase("l0", high) - 1e-12
    assert made.loss_increase("l0", low) >= made.loss_at("l0", low) - 1e-12
    assert 1 >= made.score_drop("l0", low) >= made.score_drop("l0", high) - 1e-12


def test_json_round_trip_is_exact() -> None:
    made = toys.random_curves(toys.stream(8, [6, 7]), 0)
    again = Curves.from_json(json.loads(json.dumps(made.to_json())))
    assert again.to_json() == made.to_json()
    assert (again.loss == made.loss).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 0}, "is this a file of curves"),
        ({"names": ["a", "b"]}, "groups"),
        ({"loss": [[1.0]]}, "loss"),
        ({"kept": [[0, 5, 2]]}, "no channel"),
        ({"accuracy": [[0.5, 0.5, 1.5]]}, "score"),
        ({"images": None}, "damaged"),
        ({"keep_ratios": [0.2, 0.6, 0.8]}, "descending"),
    ],
)
def test_damaged_curves(curves: Curves, change: dict[str, object], says: str) -> None:
    with pytest.raises(AmcError, match=says):
        Curves.from_json({**curves.to_json(), **change})


@pytest.mark.parametrize("ratios", [[], [1.0, 0.5], [0.5, 0.5], [0.2, 0.5], [0.5, 0.0], 0.5, ["half"]])
def test_impossible_ratios(ratios: list[float]) -> None:
    with pytest.raises(AmcError, match="keep_ratios"):
        measure_curves(GROUPS, Fake(), DENSE, ratios)


def test_nothing_to_measure() -> None:
    with pytest.raises(AmcError, match="zero prunable groups"):
        measure_curves(GROUPS[2:], Fake(), DENSE, [0.5])
    with pytest.raises(AmcError, match="no curve of group 'other'"):
        measure_curves(GROUPS, Fake(), DENSE, [0.5]).loss_at("other", 0.5)
