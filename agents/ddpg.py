"""AMC's agent: DDPG, explored, rewarded and trained as in AMC §3.2."""

from __future__ import annotations

from stable_baselines3 import DDPG

from agents.exploring import ExploringAgent, TruncatedNormalExploration


class EpisodicDDPG(TruncatedNormalExploration, DDPG):
    """SB3's DDPG, explored, warmed up and trained as in AMC."""


class DDPGAgent(ExploringAgent):
    """DDPG with AMC's settings."""

    name = "ddpg"
    algorithm = EpisodicDDPG
