"""Search choices, validated on construction, and the checks that involve agents and rewards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import agents
from amc.core.checks import one_of
from amc.core.errors import AmcError
from amc.core.values import Whole
from amc.evaluation.evaluator import Evaluator
from amc.rewards import Reward, accuracy, error_log_flops, error_log_latency, error_log_params
from amc.task.method import Method
from amc.task.settings import Settings
from amc.tracking.episodes import read_episodes
from amc.tracking.run_dir import EPISODES as EPISODE_LOG
from envs.observations import MEASURED

EPISODES = Whole(high=10**7)

# Where every plan uses up a budget of this cost, the reward ranks plans by accuracy.
ORDERED_BY_ACCURACY = {"macs": error_log_flops, "params": error_log_params, "latency_ms": error_log_latency}
CURVE_HEURISTICS = ("threshold", "size_aware")  # made of the sensitivity curves
START_HEURISTICS = ("uniform", "shallow", "deep", *MEASURED, *CURVE_HEURISTICS)  # whose plans a search can start at


@dataclass(frozen=True)
class Choices:
    """Search choices, validated on construction.

    Attributes:
        budget: largest cost as a fraction of the dense network's; ``None``: no limit.
        reward: of a finished plan, as a callable.
        reward_name: as the user gave it.
        agent: one of :data:`agents.NAMES`.
        episodes: how many plans to try, on each network.
        method: how networks are cut and recovered.
        settings: everything else.
        relative: whether the reward is divided by the dense network's, to be comparable across networks.

    Raises:
        AmcError: names the setting and what can be given.
    """

    budget: float | None
    reward: Reward
    reward_name: str
    agent: str
    episodes: int
    method: Method
    settings: Settings
    relative: bool = False

    def __post_init__(self) -> None:
        check_choices(self.agent, self.episodes)

    @property
    def facts(self) -> dict[str, Any]:
        """Entries of ``summary.json``."""
        method = self.method
        return {
            "agent": self.agent,
            "reward": self.reward_name,
            "importance": method.importance,
            "recovery": method.recovery,
            **self.settings.limit_facts(self.budget),
            "seed": method.seed,
        }

    @property
    def config(self) -> dict[str, Any]:
        """The stored configuration of a search from Python."""
        return {"settings": asdict(self.settings)}

    @property
    def reward_of(self) -> Callable[[Evaluator], Reward]:
        """Evaluator → the reward of the plans that it scores."""
        return _relative if self.relative else lambda evaluator: self.reward

    def settled(self) -> Choices:
        """With racing on or off instead of ``auto``; see :func:`settle_early_stop`."""
        return replace(self, settings=settle_early_stop(self.settings, self.budget, self.agent, self.reward))


def method_of(settings: Settings, importance: str, recovery: str, seed: int) -> Method:
    """The method, with calibration and recovery by ``settings``. Raises ``AmcError`` for an unknown name."""
    return Method(importance, recovery, seed, settings.calibration_images, settings.recovery)


def name_of(reward: str | Reward) -> str:
    """A reward's name in ``summary.json``."""
    return reward if isinstance(reward, str) else getattr(reward, "__name__", "custom")


def _relative(evaluator: Evaluator) -> Reward:
    """A plan's score divided by the dense network's on the same images: comparable across networks."""
    return lambda metrics, cost, original: metrics.score / evaluator.dense.score


def check_choices(agent: str, episodes: int) -> None:
    """Rejects unknown names and impossible numbers.

    Raises:
        AmcError: names the setting and what can be given.
    """
    one_of("agent", agent, agents.NAMES)
    EPISODES.check("episodes", episodes)


def check_played(folder: str | Path, episodes: int) -> None:
    """Refuses to go on with a run for fewer ``episodes`` than it has played, on each of its networks.

    Raises:
        AmcError: says how many were played.
    """
    logs = [Path(folder) / EPISODE_LOG, *(Path(folder) / "networks").glob(f"*/{EPISODE_LOG}")]
    played = max((len(read_episodes(log)) for log in logs if log.is_file()), default=0)
    if episodes < played:
        raise AmcError(f"episodes={episodes}: the run in {folder} has played {played} already; give as many or more")


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
    """Raises ``AmcError`` if ``agent`` can't have its settings, or needs measurements that are switched off."""
    try:
        agents.check_settings(agent, settings.agent)
    except ValueError as error:
        raise AmcError(str(error)) from error
    start = settings.agent.get("start")
    if "start" in settings.agent:
        one_of("agent.start", start, START_HEURISTICS)
    from_curves = curve_heuristic(settings, agent)
    if settings.curves is False and from_curves:
        raise AmcError(
            f"curves=false: the heuristic '{from_curves}' is made of the sensitivity curves; give curves=auto or true"
        )
    for what in MEASURED:
        if settings.asked(what) is False and what in (agent, start):
            raise AmcError(f"{what}s=false: the heuristic '{what}' is made of the {what}s; give {what}s=auto or true")


def curve_heuristic(settings: Settings, agent: str) -> str | None:
    """The heuristic made of sensitivity curves that the agent plays or starts at, if any."""
    return next((name for name in CURVE_HEURISTICS if name in (agent, settings.agent.get("start"))), None)


def needs_curves(settings: Settings, agent: str) -> bool:
    """Whether sensitivity curves are measured before the agent's first episode."""
    wanted = settings.curves
    return wanted is True or settings.prior or (wanted == "auto" and curve_heuristic(settings, agent) is not None)
