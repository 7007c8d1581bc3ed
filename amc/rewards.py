"""Rewards: pure functions of a plan's metrics, its cost and the dense network's cost. Higher is better.

When to use which:

* ``error_log_flops`` = −error · ln(MACs) (AMC §3.3.2) weighs accuracy against size, softly: ln(MACs) moves by only 3 %
  when 4.1 G MACs halve (ln 4.1e9 = 22.13, ln 2.05e9 = 21.44). Alone (``budget=none``) it finds redundancy that costs
  no accuracy and hardly compresses further. Under a hard budget it mostly ranks plans by their error.
* ``error_log_params`` and ``error_log_latency``: the same where size on disk or speed on the device is what counts.
* ``accuracy``: under a hard budget (AMC's resource-constrained search), where every plan is small enough already.
  Never without a budget: nothing would be pruned.

A user's own reward is any callable with the same three arguments, given by its dotted path. One that reads
``cost.latency_ms`` says so by an attribute, ``my_reward.needs = ("latency_ms",)``: the table is then measured.
"""

# ruff: noqa: ARG001 (every reward takes the same three arguments)

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from amc.core.callables import find_callable
from amc.core.errors import AmcError
from amc.core.types import Cost, Metrics

Reward = Callable[[Metrics, Cost, Cost], float]
LATENCY_MS = "latency_ms"


def error_log_flops(metrics: Metrics, cost: Cost, original: Cost) -> float:
    """−error · ln(MACs) (AMC §3.3.2, where MACs are called FLOPs)."""
    return -metrics.error * math.log(cost.macs)


def error_log_params(metrics: Metrics, cost: Cost, original: Cost) -> float:
    """−error · ln(parameters) (AMC §3.3.2)."""
    return -metrics.error * math.log(cost.params)


def error_log_latency(metrics: Metrics, cost: Cost, original: Cost) -> float:
    """−error · ln(latency in µs). In ms the logarithm of a fast network would be negative and reward errors.

    Raises:
        AmcError: no latency table was measured.
    """
    return -metrics.error * math.log(1000 * cost.get("latency_ms"))


error_log_latency.needs = (LATENCY_MS,)  # type: ignore[attr-defined]


def accuracy(metrics: Metrics, cost: Cost, original: Cost) -> float:
    """Top-1 accuracy, a fraction in [0, 1]; for a search under a hard budget."""
    return metrics.score


REWARDS: dict[str, Reward] = {f.__name__: f for f in (error_log_flops, error_log_params, error_log_latency, accuracy)}


def get_reward(name: str, **kwargs: Any) -> Reward:
    """The reward called ``name``, with ``kwargs`` as its further arguments.

    Args:
        name: a name in :data:`REWARDS`, or a dotted path to a callable: ``my_package.my_module.my_reward``.
        kwargs: passed to it in every call.

    Raises:
        AmcError: there is no such reward.
    """
    advice = f"give one of {', '.join(REWARDS)}, or the dotted path of your own callable (my_pkg.my_reward)"
    reward: Reward = REWARDS[name] if name in REWARDS else find_callable("reward", name, advice)
    check_callable(name, reward, kwargs)
    return partial(reward, **kwargs) if kwargs else reward


def resolved(reward: str | Reward) -> Reward:
    """The callable that a name, a dotted path or a callable stands for.

    Raises:
        AmcError: there is none, or it can't be called as a reward is.
    """
    if isinstance(reward, str):
        return get_reward(reward)
    check_callable(getattr(reward, "__name__", repr(reward)), reward, {})
    return reward


def check_callable(name: str, reward: Any, kwargs: Mapping[str, Any]) -> None:
    """Raises ``AmcError`` unless ``reward`` can be called with metrics, two costs, and ``kwargs``."""
    if not callable(reward) or inspect.isclass(reward):
        raise AmcError(
            f"reward={name}: is no function; give one of (metrics, cost, original cost) that returns a number"
        )
    try:
        signature = inspect.signature(reward)
    except ValueError:  # of a few functions that are written in C; none of them takes metrics
        raise AmcError(f"reward={name}: doesn't say what it takes; give a function of your own") from None
    try:
        signature.bind(None, None, None, **kwargs)
    except TypeError as error:
        given = "".join(f", {key}={value}" for key, value in kwargs.items())
        raise AmcError(f"reward={name}: can't be called with (metrics, cost, original cost{given}): {error}") from None


def needs_of(reward: Reward) -> tuple[str, ...]:
    """The costs besides MACs and parameters that ``reward`` reads, from its attribute ``needs``."""
    function = reward.func if isinstance(reward, partial) else reward
    return tuple(getattr(function, "needs", ()))
