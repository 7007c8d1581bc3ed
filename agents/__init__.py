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
    "ddpg": "agents.ddpg:DDPGAgent",
    "amc": "agents.ddpg:AMCAgent",
    "td3": "agents.td3:TD3Agent",
    "sac": "agents.sac:SACAgent",
    "ppo": "agents.ppo:PPOAgent",
    "random": "agents.plain:RandomAgent",
    "uniform": "agents.plain:UniformAgent",
    "shallow": "agents.plain:ShallowAgent",
    "deep": "agents.plain:DeepAgent",
    "response": "agents.plain:ResponseAgent",
    "price": "agents.plain:PriceAgent",
    "threshold": "agents.plain:ThresholdAgent",
    "size_aware": "agents.plain:SizeAwareAgent",
    "cma_es": "agents.cma_es:CMAESAgent",
    "tpe": "agents.tpe:TPEAgent",
    "annealing": "agents.annealing:AnnealingAgent",
    "evolution": "agents.evolution:EvolutionAgent",
    "netadapt": "agents.netadapt:NetAdaptAgent",
}
NAMES = tuple(_CLASSES)


def make(name: str, env: Env, seed: int, episodes: int | None = None, **settings: Any) -> Agent:
    """The agent called ``name``, untrained.

    Args:
        name: one of :data:`NAMES`.
        env: actions are one number in [0, 1]; the reward comes with the last step; see the agent's class for what
            the reset info must hold.
        seed: of everything the agent draws; the global random states are neither used nor changed.
        episodes: how many will be played at most, for agents that divide them up; ``None``: not known.
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
    """Refuses, before there is an environment, what :func:`make` would refuse whatever the environment.

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
    """Whether the agent called ``name`` sees to the budget itself, see :attr:`Agent.free_budget`."""
    return _class_of(name).free_budget


def _class_of(name: str) -> type[Agent]:
    if name not in _CLASSES:
        raise ValueError(f"agent={name}: unknown; give one of {', '.join(NAMES)}")
    module, _, attribute = _CLASSES[name].partition(":")
    cls: type[Agent] = getattr(importlib.import_module(module), attribute)
    return cls


def _settings_of(cls: type[Agent]) -> list[str]:
    """The names that ``cls`` takes beside environment, seed and number of episodes."""
    settings_type = getattr(cls, "settings_type", None)
    if settings_type is not None:
        return [field.name for field in fields(settings_type)]
    return [name for name in inspect.signature(cls).parameters if name not in ("env", "seed", "episodes")]
