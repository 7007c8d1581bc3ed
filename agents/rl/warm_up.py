"""Warm-up by an environment's heuristics: plans that meet the budget, and plans around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.rl.exploration import truncated_normal


def rule_vectors(start: Mapping[str, Any]) -> list[npt.NDArray[np.float64]]:
    """The action vectors of the heuristics in a reset's info, each ``[steps]``, in their order.

    Raises:
        ValueError: the environment has no heuristics, or one of another length than its episodes.
    """
    rules = start.get("rules")
    if not rules:
        raise ValueError("agent.warmup=rules: the environment's reset info has no 'rules'; take agent.warmup=random")
    for name, actions in rules.items():
        if len(actions) != start["steps"]:
            raise ValueError(f"agent.warmup=rules: rule '{name}' has {len(actions)} actions for {start['steps']} steps")
    return [np.asarray(actions, dtype=np.float64) for actions in rules.values()]


def rule_action(
    rules: list[npt.NDArray[np.float64]], episode: int, step: int, sigma: float, rng: np.random.Generator
) -> float:
    """The action at ``step`` of a network's warm-up episode ``episode``.

    The first episodes play each heuristic once as it is; later ones play them in turn, with a truncated normal of
    standard deviation ``sigma`` around each action.
    """
    mean = rules[episode % len(rules)][step : step + 1]
    action = mean if episode < len(rules) else truncated_normal(mean, sigma, rng)
    return float(action[0])
