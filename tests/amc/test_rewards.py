from __future__ import annotations

import math

import pytest

from amc.core.errors import AmcError
from amc.core.types import Cost, Metrics
from amc.rewards import REWARDS, accuracy, error_log_flops, error_log_latency, error_log_params, get_reward

METRICS = Metrics(score=0.75, loss=1.0, images=100)
ORIGINAL = Cost(macs=4_000_000, params=2_000)


def test_error_log_flops() -> None:
    # ln(1,000,000) = 13.8155; × −0.25
    assert error_log_flops(METRICS, Cost(1_000_000, 10), ORIGINAL) == pytest.approx(-3.453878, abs=1e-6)


def test_error_log_params() -> None:
    # ln(1,000) = 6.9078; × −0.25
    assert error_log_params(METRICS, Cost(7, 1_000), ORIGINAL) == pytest.approx(-1.726939, abs=1e-6)


def test_error_log_latency_is_in_microseconds() -> None:
    # 0.5 ms = 500 µs, ln(500) = 6.2146; × −0.25
    assert error_log_latency(METRICS, Cost(7, 7, 0.5), ORIGINAL) == pytest.approx(-1.553652, abs=1e-6)


def test_a_fast_network_is_not_rewarded_for_errors() -> None:
    fast = Cost(7, 7, 0.01)
    assert error_log_latency(METRICS, fast, ORIGINAL) < error_log_latency(Metrics(0.9, 1.0, 100), fast, ORIGINAL)


def test_latency_that_was_not_measured_is_refused() -> None:
    with pytest.raises(AmcError, match="no latency table"):
        error_log_latency(METRICS, Cost(7, 7), ORIGINAL)


def test_accuracy_ignores_the_cost() -> None:
    assert accuracy(METRICS, Cost(1, 1), ORIGINAL) == 0.75


def test_halving_macs_moves_the_logarithm_by_three_percent() -> None:
    # The claim in the module's docstring: 22.13 and 21.44.
    assert math.log(2.05e9) / math.log(4.1e9) == pytest.approx(0.9687, abs=1e-4)


@pytest.mark.parametrize("name", REWARDS)
def test_found_by_name_and_by_path(name: str) -> None:
    assert get_reward(name) is REWARDS[name] is get_reward(f"amc.rewards.{name}")


def test_a_users_callable_with_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "users_rewards.py").write_text(
        "def scaled(metrics, cost, original, factor=1):\n    return factor * 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert get_reward("users_rewards.scaled", factor=3)(METRICS, ORIGINAL, ORIGINAL) == 6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("eror_log_flops", "reward=eror_log_flops: unknown; give one of error_log_flops"),
        ("no_such_package.reward", "no_such_package can't be imported"),
        ("amc.rewards.no_such", "amc.rewards has no callable 'no_such'"),
        ("amc.rewards.REWARDS", "amc.rewards has no callable 'REWARDS'"),
        ("..reward", "reward=..reward: unknown; give one of"),
        ("", "reward=: unknown; give one of"),
    ],
)
def test_unknown_reward(name: str, message: str) -> None:
    with pytest.raises(AmcError, match="reward=") as error:
        get_reward(name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
