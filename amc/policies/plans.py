"""A learned policy's plans for a network, at full strength and nearer to the uniform plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from agents.policy.policy import Policy
from amc.core.checks import Interval, require
from amc.core.errors import AmcError
from amc.core.types import PruningPlan
from amc.rewards import accuracy
from amc.task.problem import Problem

EDGE = 0.01  # actions are clipped to this distance from 0 and 1, so that their logits are finite
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

Act = Callable[..., float]


def walks(policy: Policy, problem: Problem, strengths: Iterable[float]) -> dict[float, PruningPlan]:
    """Strength → the policy's plan; nothing is evaluated.

    At strength s each action's logit is s times as far from the uniform action's as the policy's own: 1 is the policy,
    0 the uniform plan. The best strength differs by network, even where the pattern is the same (measured in
    ``experiments/transfer``). Without a budget there is no uniform plan, and only strength 1.

    Raises:
        AmcError: the policy needs another version of its observation, or a strength is not a number from 0 to 2.
    """
    chosen = list(strengths)
    for strength in chosen:
        require("strengths", strength, float, Interval(0, 2))
    if not chosen:
        raise AmcError("strengths=[]: give one or more numbers from 0 to 2")
    if problem.budget.keep is None:
        chosen = [1.0]
    act = _actions(policy, problem)
    return {s: problem.plan_of(act if s == 1 else _weakened(act, s)) for s in chosen}


def policy_plans(policy: Policy, problem: Problem) -> dict[str, dict[str, int]]:
    """Plans of ``policy`` for the warm-up of a search that starts from it: name → group name → kept channels.

    At four strengths; strength 0, the uniform plan, is played anyway. Without a budget at full strength only.
    """
    walked = walks(policy, problem, STRENGTHS[1:])
    return {f"policy at {strength:g}": dict(plan.kept) for strength, plan in walked.items()}


def _weakened(act: Act, strength: float) -> Act:
    def weaker(observation: npt.NDArray[Any], start: Mapping[str, Any]) -> float:
        uniform = float(start["uniform_action"])
        if strength == 0:
            return uniform
        own, centre = (logit(np.clip(action, EDGE, 1 - EDGE)) for action in (act(observation, start), uniform))
        return float(expit(centre + strength * (own - centre)))

    return weaker


def _actions(policy: Policy, problem: Problem) -> Act:
    """The policy's actions, rescaled to the keep ratios that they meant where it was trained."""
    env = problem.env(accuracy)
    try:
        policy.require_observation(env.metadata["policy"]["observation"])
    except ValueError as error:
        raise AmcError(str(error)) from error
    smallest = problem.budget.least_keep
    before = float(policy.action.get("min_keep", smallest))

    def act(observation: npt.NDArray[Any], _start: Mapping[str, Any]) -> float:
        action = policy.act(observation)
        if smallest in (before, 1):  # with 1 every action keeps all channels
            return action
        return min(max((before + action * (1 - before) - smallest) / (1 - smallest), 0.0), 1.0)

    return act
