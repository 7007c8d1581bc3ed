"""TD3 (Fujimoto et al. 2018): DDPG with two critics, delayed actor updates and smoothed targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stable_baselines3 import TD3

from agents.rl.deterministic import ExplorationSettings, ExploringAgent, TruncatedNormalExploration
from agents.settings import require


@dataclass(frozen=True)
class TD3Settings(ExplorationSettings):
    """Settings of TD3.

    Attributes:
        policy_delay: critic updates per actor update.
        target_policy_noise: σ of the noise on the target's action, in SB3's [−1, 1].
        target_noise_clip: its largest absolute value.
    """

    policy_delay: int = 2
    target_policy_noise: float = 0.2
    target_noise_clip: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require("policy_delay", self.policy_delay, self.policy_delay >= 1, "1 or more")
        require("target_policy_noise", self.target_policy_noise, self.target_policy_noise >= 0, "0 or more")
        require("target_noise_clip", self.target_noise_clip, self.target_noise_clip >= 0, "0 or more")


class EpisodicTD3(TruncatedNormalExploration, TD3):
    """SB3's TD3, explored, warmed up and trained as in AMC."""


class TD3Agent(ExploringAgent):
    """TD3 in DDPG's place."""

    name = "td3"
    algorithm = EpisodicTD3
    settings_type = TD3Settings

    def _algorithm_settings(self) -> dict[str, Any]:
        assert isinstance(self.settings, TD3Settings)
        names = ("policy_delay", "target_policy_noise", "target_noise_clip")
        return {name: getattr(self.settings, name) for name in names}
