"""DDPG, explored, rewarded and trained as in AMC §3.2: with AMC's settings, and with some that did better."""

from __future__ import annotations

from dataclasses import dataclass

from stable_baselines3 import DDPG

from agents.rl.deterministic import ExplorationSettings, ExploringAgent, TruncatedNormalExploration


@dataclass(frozen=True)
class DDPGSettings(ExplorationSettings):
    """Settings of DDPG: those of :class:`ExplorationSettings`, with values that did better over seeds than AMC's.

    Measured in ``experiments/does_rl_help``.
    """

    actor_start: str = "auto"
    warmup: str = "rules"
    warmup_episodes: int | None = 10
    sigma: float = 0.2
    sigma_decay: float = 0.99
    best_share: float = 0.5


class EpisodicDDPG(TruncatedNormalExploration, DDPG):
    """SB3's DDPG, explored and trained as in AMC."""


class DDPGAgent(ExploringAgent):
    """DDPG as in AMC, except for its start and its exploration."""

    name = "ddpg"
    algorithm = EpisodicDDPG
    settings_type = DDPGSettings


class AMCAgent(ExploringAgent):
    """DDPG with AMC's settings (§3.2 and §4)."""

    name = "amc"
    algorithm = EpisodicDDPG
