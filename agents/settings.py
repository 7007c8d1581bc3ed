"""Settings that all learning agents share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Settings:
    """What all learning agents have in common; the values are AMC's (§3.2 and §4) where the paper gives them.

    Attributes:
        hidden: units of each hidden layer, of actor and critic alike.
        actor_learning_rate, critic_learning_rate: of Adam.
        tau: share of the trained network that moves into its target at each update.
        gamma: discount; 1, as the last reward is what every step is for.
        batch_size: transitions in one update.
        buffer_episodes: how many episodes the replay buffer holds.
        warmup_episodes: episodes of uniformly random actions before learning begins.
        baseline_decay: share of the rewards' moving average that remains at each episode.
    """

    hidden: tuple[int, ...] = (300, 300)
    actor_learning_rate: float = 1e-4
    critic_learning_rate: float = 1e-3
    tau: float = 0.01
    gamma: float = 1.0
    batch_size: int = 64
    buffer_episodes: int = 100
    warmup_episodes: int = 100
    baseline_decay: float = 0.95

    def __post_init__(self) -> None:
        for field in fields(self):
            _require_type(field.name, getattr(self, field.name), field.default)
        for name in ("actor_learning_rate", "critic_learning_rate"):
            require(name, getattr(self, name), getattr(self, name) > 0, "greater than 0")
        for name in ("batch_size", "buffer_episodes"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        for name in ("tau", "gamma", "baseline_decay"):
            require(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "in [0, 1]")
        require("warmup_episodes", self.warmup_episodes, self.warmup_episodes >= 0, "0 or more")
        require(
            "hidden",
            self.hidden,
            len(self.hidden) > 0 and min(self.hidden) > 0,
            "of at least one width, each greater than 0",
        )


def require(name: str, value: object, holds: bool, wanted: str) -> None:
    """Raises ``ValueError`` with one line for the user if a setting does not hold."""
    if not holds:
        raise ValueError(f"agent.{name}={value}: give a value {wanted}")


def _require_type(name: str, value: Any, default: Any) -> None:
    """A setting must be of its default's kind: a whole number, a number, or a list of whole numbers."""
    if isinstance(default, int):
        require(name, value, type(value) is int, "that is a whole number")
    elif isinstance(default, float):
        require(name, value, type(value) in (int, float), "that is a number")
    elif isinstance(default, tuple):
        whole = isinstance(value, tuple) and all(type(entry) is int for entry in value)
        require(name, value, whole, "that is a list of whole numbers")
