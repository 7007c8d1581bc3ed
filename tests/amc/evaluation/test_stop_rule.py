from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from amc.core.errors import AmcError
from amc.evaluation.racing import StopRule, estimate, standard_error

TOTAL, BATCH = 5000, 125


def test_looks_and_the_standard_errors_they_ask_for() -> None:
    rule = StopRule(confidence=0.99, min_images=250)
    assert rule.looks(1000, 125) == 6  # after 250, 375, 500, 625, 750 and 875 images
    assert rule.looks(TOTAL, BATCH) == 38
    assert rule.z(1000, 125) == pytest.approx(2.935, abs=1e-3)  # 1 − 0.01 / 6
    assert rule.z(TOTAL, BATCH) == pytest.approx(3.467, abs=1e-3)  # 1 − 0.01 / 38
    assert rule.looks(250, 125) == 0  # all images are seen before the first look
    assert rule.z(250, 125) == pytest.approx(2.326, abs=1e-3)


def test_the_standard_error_by_arithmetic() -> None:
    # 100 differences: 3 × +1, 7 × −1, 90 × 0. Mean −0.04; variance (10 − 100 · 0.0016) / 99 = 9.84 / 99
    assert standard_error(3, 7, 100, 200) == pytest.approx(math.sqrt(9.84 / 99 / 100 * 0.5))
    assert standard_error(3, 7, 100, 100) == 0  # all were seen: nothing is left to chance


def test_stops_by_arithmetic() -> None:
    rule = StopRule(confidence=0.99, min_images=250)
    # k images lost of 250, none won: √k / √((1 − k/250) (1 − 250/5000)) standard errors; 3.31 and 3.48 beside 3.47
    assert not rule.stops(0, 10, 250, TOTAL, BATCH)
    assert rule.stops(0, 11, 250, TOTAL, BATCH)
    assert not rule.stops(6, 17, 250, TOTAL, BATCH)  # the same difference among more that differ
    assert not StopRule(margin=0.03, min_images=250).stops(
        0, 11, 250, TOTAL, BATCH
    )  # 4.4 points behind, but not surely 3
    assert not StopRule(min_images=500).stops(0, 13, 250, TOTAL, BATCH)


counts = st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(2, 1000)).filter(lambda c: c[0] + c[1] <= c[2])
rules = st.builds(StopRule, st.floats(0, 0.2), st.floats(0.6, 0.999), st.integers(2, 400))


@given(counts, rules)
def test_only_a_plan_behind_by_more_than_the_margin_is_stopped_and_not_too_early(
    count: tuple[int, int, int], rule: StopRule
) -> None:
    won, lost, seen = count
    if rule.stops(won, lost, seen, TOTAL, BATCH):
        assert seen >= rule.min_images
        assert (lost - won) / seen > rule.margin
        assert estimate(0.9, (won - lost) / seen) < 0.9


@given(counts, rules)
def test_one_more_right_answer_never_gets_a_plan_stopped(count: tuple[int, int, int], rule: StopRule) -> None:
    won, lost, seen = count
    assume(not rule.stops(won, lost, seen, TOTAL, BATCH))
    if won + lost < seen:  # an image that both had the same answer to
        assert not rule.stops(won + 1, lost, seen, TOTAL, BATCH)
    if lost > 0:
        assert not rule.stops(won, lost - 1, seen, TOTAL, BATCH)


@given(counts, rules)
def test_a_stricter_rule_stops_less(count: tuple[int, int, int], rule: StopRule) -> None:
    stricter = StopRule(rule.margin + 0.01, (1 + rule.confidence) / 2, rule.min_images)
    assert rule.stops(*count, TOTAL, BATCH) or not stricter.stops(*count, TOTAL, BATCH)


def test_estimates_are_fractions() -> None:
    assert estimate(0.9, -0.05) == pytest.approx(0.85)
    assert estimate(0.6, -1.0) == 0
    assert estimate(0.9, 0.2) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"margin": -0.1}, "early_stop_margin=-0.1"), ({"margin": 1.0}, "early_stop_margin=1.0"),
     ({"confidence": 1.0}, "early_stop_confidence=1.0"), ({"min_images": 1}, "early_stop_min_images=1")],
)  # fmt: skip
def test_impossible_rules(settings: dict[str, float], message: str) -> None:
    with pytest.raises(AmcError, match=message):
        StopRule(**settings)  # type: ignore[arg-type]


def simulated(behind: float, differing: float, runs: int = 400) -> tuple[float, float]:
    """Of plans ``behind`` the best on all 5,000 images: the share stopped, and the mean error of what is returned."""
    rng = np.random.default_rng(0)
    lost, won = round((differing + behind) / 2 * TOTAL), round((differing - behind) / 2 * TOTAL)
    differences = np.array([1] * won + [-1] * lost + [0] * (TOTAL - won - lost))
    rule, errors, stopped = StopRule(), [], 0
    for _ in range(runs):
        order = rng.permutation(differences)
        gained, missed = (np.cumsum(order == value)[BATCH - 1 :: BATCH] for value in (1, -1))
        for w, m, seen in zip(gained.tolist(), missed.tolist(), range(BATCH, TOTAL + 1, BATCH), strict=True):
            if rule.stops(w, m, seen, TOTAL, BATCH):
                stopped += 1
                break
        errors.append((w - m) / seen + behind)
    return stopped / runs, float(np.mean(errors))


def test_a_plan_as_good_as_the_best_is_seen_to_the_end() -> None:
    for differing in (0.06, 0.15):
        share, bias = simulated(0.0, differing)
        assert share <= 0.01 + 3 * math.sqrt(0.01 / 400)
        assert abs(bias) < 0.0005


@pytest.mark.parametrize("differing", [0.06, 0.15])
@pytest.mark.parametrize("behind", [0.005, 0.02, 0.05])
def test_stopped_plans_look_worse_than_they_are_by_less_than_a_point(behind: float, differing: float) -> None:
    share, bias = simulated(behind, differing)
    assert share > 0.95
    assert -0.01 < bias < -0.0005


def test_at_a_number_of_images_fixed_beforehand_the_estimate_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    differences = np.array([1] * 75 + [-1] * 225 + [0] * 4700)  # 3 points behind a best plan with 90 %
    estimates = [estimate(0.9, float(rng.permutation(differences)[:250].mean())) for _ in range(2000)]
    # The true counts on 250 images would be 3.75 and 11.25: 0.015 of scatter each, 0.0003 of the mean of 2,000
    assert float(np.mean(estimates)) == pytest.approx(0.87, abs=0.001)
