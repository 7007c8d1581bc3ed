"""Checks of a search's choices that need to know agents and rewards."""

from __future__ import annotations

from dataclasses import replace

import agents
from amc.core.checks import one_of, require
from amc.core.errors import AmcError
from amc.rewards import Reward, accuracy, error_log_flops, error_log_latency, error_log_params, get_reward
from amc.task.settings import Settings, check_cutting
from envs.observations import MEASURED

# With a budget of this cost that every plan uses up, the reward orders plans by their accuracy.
ORDERED_BY_ACCURACY = {"macs": error_log_flops, "params": error_log_params, "latency_ms": error_log_latency}
CURVE_RULES = ("threshold", "size_aware")  # made of the sensitivity curves
START_RULES = ("uniform", "shallow", "deep", *MEASURED, *CURVE_RULES)  # whose plans a search can start at


def check_choices(reward: str | Reward, importance: str, recovery: str, agent: str, episodes: int, seed: int) -> Reward:
    """Refuses unknown names and impossible numbers, and resolves the reward.

    Raises:
        AmcError: names the setting and what can be given.
    """
    check_cutting(importance, recovery, seed)
    one_of("agent", agent, agents.NAMES)
    require("episodes", episodes, int, 1)
    return get_reward(reward) if isinstance(reward, str) else reward


def settle_early_stop(settings: Settings, budget: float | None, agent: str, reward: Reward) -> Settings:
    """``settings`` with ``early_stop`` on or off instead of ``auto``.

    Raises:
        AmcError: it is on where a less accurate plan can be the better one: there is no budget, or the agent's plans do
            not all meet it.
    """
    any_size = budget is None or agents.has_free_budget(agent)
    if settings.early_stop == "auto":
        by_accuracy = settings.rule == "project" and reward in (accuracy, ORDERED_BY_ACCURACY[settings.cost])
        return replace(settings, early_stop=not any_size and by_accuracy and not settings.finals_recovery)
    if settings.early_stop and any_size:
        why = "without a budget" if budget is None else f"and agent={agent} tries plans of any size"
        raise AmcError(f"evaluate.early_stop=true: judges plans by accuracy alone, {why}; give early_stop=false")
    return settings


def check_agent(settings: Settings, agent: str) -> None:
    """Raises ``AmcError`` if ``agent`` can't have its settings, or needs what shall not be measured."""
    try:
        agents.check_settings(agent, settings.agent)
    except ValueError as error:
        raise AmcError(str(error)) from error
    start = settings.agent.get("start")
    if "start" in settings.agent:
        one_of("agent.start", start, START_RULES)
    from_curves = curve_heuristic(settings, agent)
    if settings.curves is False and from_curves:
        raise AmcError(
            f"curves=false: the rule '{from_curves}' is made of the sensitivity curves; give curves=auto or true"
        )
    for what in MEASURED:
        if settings.asked(what) is False and what in (agent, start):
            raise AmcError(f"{what}s=false: the rule '{what}' is made of the {what}s; give {what}s=auto or true")


def curve_heuristic(settings: Settings, agent: str) -> str | None:
    """The heuristic made of sensitivity curves that the agent plays or starts at, if any."""
    return next((name for name in CURVE_RULES if name in (agent, settings.agent.get("start"))), None)


def needs_curves(settings: Settings, agent: str) -> bool:
    """Whether sensitivity curves are measured before the agent's first episode."""
    wanted = settings.curves
    return wanted is True or settings.prior or (wanted == "auto" and curve_heuristic(settings, agent) is not None)
