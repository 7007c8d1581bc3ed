"""Agents that search keep ratios. They know neither networks nor pruning: only an environment."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from agents.base import Agent, EpisodeOutcome
from agents.base import Env as Env
from agents.settings import as_settings

__all__ = ["NAMES", "Agent", "EpisodeOutcome", "check_settings", "has_free_budget", "make"]

# Imported when asked for: Stable-Baselines3 takes seconds, and a uniform agent doesn't need it.
_CLASSES = {
    "ddpg": "agents.rl.ddpg:DDPGAgent",
    "amc": "agents.rl.ddpg:AMCAgent",
    "td3": "agents.rl.td3:TD3Agent",
    "sac": "agents.rl.sac:SACAgent",
    "ppo": "agents.rl.ppo:PPOAgent",
    "random": "agents.heuristics:RandomAgent",
    "uniform": "agents.heuristics:UniformAgent",
    "shallow": "agents.heuristics:ShallowAgent",
    "deep": "agents.heuristics:DeepAgent",
    "response": "agents.heuristics:ResponseAgent",
    "price": "agents.heuristics:PriceAgent",
    "threshold": "agents.heuristics:ThresholdAgent",
    "size_aware": "agents.heuristics:SizeAwareAgent",
    "cma_es": "agents.black_box.cma_es:CMAESAgent",
    "tpe": "agents.black_box.tpe:TPEAgent",
    "annealing": "agents.black_box.annealing:AnnealingAgent",
    "evolution": "agents.black_box.evolution:EvolutionAgent",
    "level_switch": "agents.black_box.level_switch:LevelSwitchAgent",
    "netadapt": "agents.black_box.netadapt:NetAdaptAgent",
}
NAMES = tuple(_CLASSES)


def make(name: str, env: Env, seed: int, episodes: int | None = None, **settings: Any) -> Agent:
    """The agent called ``name``, untrained.

    Args:
        name: one of :data:`NAMES`.
        env: actions are one number in [0, 1]; the reward comes with the last step; see the agent's class for what
            the reset info must hold.
        seed: of everything the agent draws; the global random states are neither used nor changed.
        episodes: the most that will be played, for agents that plan ahead; ``None``: not known.
        settings: of the agent, as in ``conf/agent/<name>.yaml``.

    Raises:
        ValueError: unknown agent or setting, a setting whose value makes no sense, or a package that is missing.
    """
    check_settings(name, settings)
    cls = _class_of(name)
    if "episodes" in inspect.signature(cls).parameters:
        settings["episodes"] = episodes
    return cls(env, seed, **settings)  # type: ignore[call-arg]


def check_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Checks an agent's settings as :func:`make` does, before there is an environment.

    Raises:
        ValueError: unknown agent or setting, or a value that makes no sense.
    """
    cls = _class_of(name)
    known = _settings_of(cls)
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"agent.{unknown[0]}: {name} has no such setting; it has {', '.join(known) or 'none'}")
    settings_type = getattr(cls, "settings_type", None)
    if settings_type is not None:
        settings_type(**as_settings(settings))
    elif hasattr(cls, "check"):
        cls.check(**settings)


def has_free_budget(name: str) -> bool:
    """Whether the agent called ``name`` meets the budget by itself, see :attr:`Agent.free_budget`."""
    return _class_of(name).free_budget


def _class_of(name: str) -> type[Agent]:
    if name not in _CLASSES:
        raise ValueError(f"agent={name}: unknown; give one of {', '.join(NAMES)}")
    module, _, attribute = _CLASSES[name].partition(":")
    cls: type[Agent] = getattr(importlib.import_module(module), attribute)
    return cls


def _settings_of(cls: type[Agent]) -> list[str]:
    """Names of the settings that ``cls`` takes besides environment, seed and number of episodes."""
    settings_type = getattr(cls, "settings_type", None)
    if settings_type is not None:
        return [field.name for field in fields(settings_type)]
    return [name for name in inspect.signature(cls).parameters if name not in ("env", "seed", "episodes")]
