"""What a search can be told beside network and data, checked before anything expensive starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import agents
from amc import importance as importances
from amc import recovery as recoveries
from amc.budget import COSTS
from amc.checks import one_of, refuse_unknown, require
from amc.early_stop import StopRule
from amc.errors import AmcError
from amc.evaluate import PRECISIONS
from amc.rewards import Reward, accuracy, error_log_flops, error_log_latency, error_log_params, get_reward
from envs.observations import MEASURED

# With a budget of this cost that every plan uses up, the reward orders plans by their accuracy.
ORDERED_BY_ACCURACY = {"macs": error_log_flops, "params": error_log_params, "latency_ms": error_log_latency}
CURVE_RULES = ("threshold", "size_aware")  # made of the sensitivity curves
START_RULES = ("uniform", "shallow", "deep", *MEASURED, *CURVE_RULES)  # whose plans a search can start at


@dataclass(frozen=True)
class Settings:
    """What is seldom changed.

    Attributes:
        cost: what the budget limits: ``macs``, ``params`` or ``latency_ms`` (measures a table first).
        min_keep: smallest keep ratio of any group.
        channel_round: kept counts are multiples of it.
        rule: how the budget is enforced. ``project``: the finished walk is moved onto it by one common shift of the
            actions' logits; ``clip``: each action so that the groups to come can still meet it (AMC, Algorithm 1).
        observation: ``amc`` (as in the paper), ``portable`` (the same meaning on every network), or how much each
            group matters to the outputs: ``response`` (alone, :mod:`amc.responses`), ``price`` (within the budget,
            :mod:`amc.prices`).
        prune_residual: ``False`` keeps residual streams whole.
        freeze: names or patterns of layers that stay whole, with what they read and write.
        calibration_images: training images for importance and recovery.
        images: validation images that each plan is scored on; ``None``: all.
        batch_size: images in one forward pass.
        early_stop: leave a plan's other images out as soon as it is surely less accurate than the most accurate plan
            so far. Its metrics are then estimates, and it can't be the result. Needs a budget. ``auto``: where all
            plans use the budget up, the reward orders them by accuracy, and the finals have no recovery of their own.
        early_stop_margin, early_stop_confidence, early_stop_min_images: see :class:`amc.early_stop.StopRule`.
        precision: ``fp32``, ``bf16``, or ``auto``: bf16 on hardware that has it if accuracy stays the same.
        curves: measure sensitivity curves before the search, for the rules ``threshold`` and ``size_aware``; ``auto``:
            if the agent is one of them or starts at its plan.
        prior: show each group's sensitivity to the agent, as a last number of the observation; needs the curves too.
        responses, prices: measure the groups' responses, prices before the search, for warm-ups by the rule of that
            name, too; ``auto``: if the agent is this rule or starts at its plan, or the observation is made of them.
        finalists: so many of the best plans are judged again at the end, on all validation images; the best of them is
            the result. 0: the best by the search's own reward.
        finals_recovery: name of the recovery there, with its own default settings; ``None``: the search's.
        agent: settings of the agent, such as ``warmup_episodes``.
        recovery: settings of the recovery, such as ``positions``.
    """

    cost: str = "macs"
    min_keep: float = 0.1
    channel_round: int = 1
    rule: Literal["clip", "project"] = "project"
    observation: Literal["amc", "portable", "response", "price"] = "amc"
    prune_residual: bool = True
    freeze: Sequence[str] = ()
    calibration_images: int = 512
    images: int | None = 1000
    batch_size: int = 125
    early_stop: bool | Literal["auto"] = "auto"
    early_stop_margin: float = StopRule.margin
    early_stop_confidence: float = StopRule.confidence
    early_stop_min_images: int = StopRule.min_images
    precision: str = "auto"
    curves: bool | Literal["auto"] = "auto"
    prior: bool = False
    responses: bool | Literal["auto"] = "auto"
    prices: bool | Literal["auto"] = "auto"
    finalists: int = 5
    finals_recovery: str | None = None
    agent: Mapping[str, Any] = field(default_factory=dict)
    recovery: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("budget.cost", self.cost, COSTS)
        one_of("budget.rule", self.rule, ("clip", "project"))
        one_of("observation", self.observation, ("amc", "portable", *MEASURED))
        one_of("evaluate.precision", self.precision, PRECISIONS)
        require("evaluate.calibration_images", self.calibration_images, int, 1)
        require("evaluate.batch_size", self.batch_size, int, 1)
        require("finalists", self.finalists, int, 0)
        if self.finals_recovery is not None:
            one_of("finals_recovery", self.finals_recovery, recoveries.NAMES)
        require("prior", self.prior, bool)
        if self.curves != "auto":
            require("curves", self.curves, bool, hint=", or auto")
        for what in MEASURED:
            if self._asked(what) != "auto":
                require(f"{what}s", self._asked(what), bool, hint=", or auto")
            if self.observation == what and self._asked(what) is False:
                raise AmcError(f"observation={what}: is made of the {what}s; give {what}s=auto or true")
        if self.prior and self.curves is False:
            raise AmcError("prior=true: is made of the sensitivity curves; give curves=auto or true")
        require("prune_residual", self.prune_residual, bool)
        if self.early_stop != "auto":
            require("evaluate.early_stop", self.early_stop, bool, hint=", or auto")
        StopRule(self.early_stop_margin, self.early_stop_confidence, self.early_stop_min_images)
        refuse_unknown("recovery", self.recovery, ("positions", "damping", "batch_size"))
        if self.images is not None:
            require("evaluate.images", self.images, int, 1)

    def check_agent(self, agent: str) -> None:
        """Raises ``AmcError`` if ``agent`` can't have its settings, or needs what shall not be measured."""
        try:
            agents.check_settings(agent, self.agent)
        except ValueError as error:
            raise AmcError(str(error)) from error
        if "start" in self.agent:
            one_of("agent.start", self.agent["start"], START_RULES)
        if self.curves is False and self._curve_rule(agent):
            raise AmcError(
                f"curves=false: the rule '{self._curve_rule(agent)}' is made of the sensitivity curves; give "
                "curves=auto or true"
            )
        for what in MEASURED:
            if self._asked(what) is False and what in (agent, self.agent.get("start")):
                raise AmcError(f"{what}s=false: the rule '{what}' is made of the {what}s; give {what}s=auto or true")

    def _curve_rule(self, agent: str) -> str | None:
        """The rule made of curves that the agent plays or starts at, if any."""
        return next((rule for rule in CURVE_RULES if rule in (agent, self.agent.get("start"))), None)

    def needs_curves(self, agent: str) -> bool:
        """Whether sensitivity curves are measured before the agent's first episode."""
        return self.curves is True or self.prior or (self.curves == "auto" and self._curve_rule(agent) is not None)

    def needs(self, what: str, agent: str | None) -> bool:
        """Whether ``response`` or ``price`` is measured of each group; ``agent`` is the one that will play, if any."""
        asked = self._asked(what)
        return what in (agent, self.observation, self.agent.get("start")) if asked == "auto" else asked

    def _asked(self, what: str) -> bool | Literal["auto"]:
        return {"response": self.responses, "price": self.prices}[what]

    @property
    def stop_rule(self) -> StopRule | None:
        """When plans are stopped early; ``None``: never, as long as ``auto`` is not settled."""
        if self.early_stop is not True:
            return None
        return StopRule(self.early_stop_margin, self.early_stop_confidence, self.early_stop_min_images)


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


def check_cutting(importance: str, recovery: str, seed: int) -> None:
    """The part of :func:`check_choices` that every command which cuts networks shares."""
    one_of("importance", importance, importances.NAMES)
    one_of("recovery", recovery, recoveries.NAMES)
    require("seed", seed, int, 0)
