"""SAC (Haarnoja et al. 2018): a stochastic policy, which explores by itself as much as its entropy is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stable_baselines3 import SAC

from agents.rl.episodic import Episodic
from agents.rl.off_policy import OffPolicyAgent
from agents.settings import LARGEST, Settings, require


@dataclass(frozen=True)
class SACSettings(Settings):
    """Settings of SAC.

    Attributes:
        ent_coef: weight of the entropy; ``auto`` fits it, ``auto_0.1`` from 0.1 on, a number fixes it.
    """

    ent_coef: str | float = "auto_0.1"

    def __post_init__(self) -> None:
        super().__post_init__()
        number = str(self.ent_coef).removeprefix("auto_")
        fits = number == "auto" or (_is_number(number) and float(number) > 0)
        require("ent_coef", self.ent_coef, fits, "auto, auto_<start> or a number, greater than 0")


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) <= LARGEST
    except ValueError:
        return False


class EpisodicSAC(Episodic, SAC):
    """SB3's SAC, warmed up and trained episode by episode; explores by its own distribution."""


class SACAgent(OffPolicyAgent):
    """SAC in DDPG's place."""

    name = "sac"
    algorithm = EpisodicSAC
    settings_type = SACSettings

    def _algorithm_settings(self) -> dict[str, Any]:
        assert isinstance(self.settings, SACSettings)
        return {"ent_coef": self.settings.ent_coef}
