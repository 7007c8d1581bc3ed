"""Settings that learning agents share, and their checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, ClassVar

from amc.core.errors import AmcError
from amc.core.memory import require_memory

FEATURES = 12  # of an observation
STEP_BYTES = 8 * FEATURES + 24  # of a step in a replay buffer: two observations, action, reward, end, network
COPIES = 12  # of each weight: actor and critic, their targets, gradients, and Adam's two averages
LARGEST = 1_000_000  # beyond it a number is a slip of the hand, or an infinity
MOST_LAYERS, WIDEST = 16, 4096  # such a network is held in memory, several times
MOST_BUFFERED = 100_000  # episodes, of some dozens of transitions each


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of all learning agents.

    Attributes:
        hidden: units of each hidden layer, of actor and critic alike.
        actor_start: ``default`` leaves the actor's weights as they were drawn; ``uniform`` has the untrained actor
            give every group the environment's ``uniform_action``, so that exploration begins around a plan that
            meets the budget without being clipped.
    """

    actor_starts: ClassVar[tuple[str, ...]] = ("default", "uniform")

    hidden: tuple[int, ...] = (300, 300)
    actor_start: str = "default"

    def __post_init__(self) -> None:
        for field in fields(self):
            value, optional = getattr(self, field.name), "None" in str(field.type)
            if value is not None or not optional:
                _require_type(field.name, value, field.default)
        widths = len(self.hidden) > 0 and min(self.hidden) > 0
        require("hidden", self.hidden, widths, "of at least one width, each greater than 0")
        small = len(self.hidden) <= MOST_LAYERS and max(self.hidden) <= WIDEST
        require("hidden", self.hidden, small, f"of at most {MOST_LAYERS} widths, none above {WIDEST}")
        weights = sum(before * after for before, after in pairwise((FEATURES, *self.hidden, 1)))
        need_memory("hidden", list(self.hidden), COPIES * 4 * weights)
        self._require_choice("actor_start", *self.actor_starts)

    def _require_positive(self, *names: str) -> None:
        for name in names:
            require(name, getattr(self, name), getattr(self, name) > 0, "greater than 0")

    def _require_at_least(self, smallest: float, *names: str) -> None:
        for name in names:
            require(name, getattr(self, name), getattr(self, name) >= smallest, f"{smallest} or more")

    def _require_fraction(self, *names: str) -> None:
        for name in names:
            require(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "in [0, 1]")

    def _require_choice(self, name: str, *choices: str) -> None:
        require(name, getattr(self, name), getattr(self, name) in choices, f"that is one of {', '.join(choices)}")


@dataclass(frozen=True)
class Settings(NetworkSettings):
    """Settings of off-policy agents; the values are AMC's (§3.2 and §4) where the paper gives them.

    Attributes:
        actor_learning_rate, critic_learning_rate: of Adam.
        tau: share of the trained network that moves into its target at each update.
        gamma: discount; 1, as the last reward is what every step is for.
        batch_size: transitions in one update.
        buffer_episodes: how many episodes the replay buffer holds.
        warmup_episodes: episodes played without the actor before learning begins; ``None``, with ``warmup=rules``: each
            heuristic once, on each network.
        baseline_decay: share of the rewards' moving average that remains at each episode.
        warmup: what warm-up plays: ``random``, uniformly random actions; ``rules``, each of the environment's
            heuristics once and then, in turn, each with noise.
        warmup_sigma: standard deviation of that noise, a truncated normal on the action's [0, 1].
        updates_per_step: updates of the networks for each step that was collected.
        reward_scale: ``none``; or ``std``, which divides rewards, after the baseline is taken off, by the standard
            deviation of all episodes' rewards so far.
        best_share: share of each batch that is drawn from the best tenth of the buffered episodes.
        actor_start: besides those of all agents ``best``: as ``uniform``, and when warm-up is over the actor is fitted
            to the best tenth of its episodes, at least one; ``auto``: ``best`` where there is a warm-up and the
            environment says ``static_observation``, for what such an actor can express at all is little; ``uniform``
            elsewhere.
    """

    actor_starts = ("auto", "best", "default", "uniform")

    actor_learning_rate: float = 1e-4
    critic_learning_rate: float = 1e-3
    tau: float = 0.01
    gamma: float = 1.0
    batch_size: int = 64
    buffer_episodes: int = 100
    warmup_episodes: int | None = 100
    baseline_decay: float = 0.95
    warmup: str = "random"
    warmup_sigma: float = 0.15
    updates_per_step: int = 1
    reward_scale: str = "none"
    best_share: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_positive("actor_learning_rate", "critic_learning_rate")
        self._require_at_least(1, "batch_size", "buffer_episodes", "updates_per_step")
        fits = self.buffer_episodes <= MOST_BUFFERED
        require("buffer_episodes", self.buffer_episodes, fits, f"of at most {MOST_BUFFERED:,}: it is held in memory")
        self._require_at_least(0, "warmup_sigma")
        if self.warmup_episodes is None:
            require("warmup", self.warmup, self.warmup == "rules", "of rules, or a number of warmup_episodes")
        else:
            self._require_at_least(int(self.actor_start == "best"), "warmup_episodes")
        need_memory("batch_size", self.batch_size, COPIES * 4 * self.batch_size * max(self.hidden))
        self._require_fraction("tau", "gamma", "baseline_decay", "best_share")
        self._require_choice("warmup", "random", "rules")
        self._require_choice("reward_scale", "none", "std")


def as_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they come from a configuration file, whose lists are tuples here."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}


def require(name: str, value: object, holds: bool, wanted: str) -> None:
    """Raises ``ValueError`` with one line for the user if a setting does not hold, or is no number of this world."""
    if type(value) in (int, float) and not abs(value) <= LARGEST:  # type: ignore[arg-type]
        raise ValueError(f"agent.{name}={value}: give a number of at most {LARGEST:,}")
    if not holds:
        raise ValueError(f"agent.{name}={value}: give a value {wanted}")


def need_memory(name: str, value: object, needed_bytes: float) -> None:
    """Raises ``ValueError`` with one line if a setting takes more memory than is free."""
    try:
        require_memory(f"agent.{name}={value}", needed_bytes, "give less")
    except AmcError as error:
        raise ValueError(str(error)) from error


def _require_type(name: str, value: Any, default: Any) -> None:
    """A setting must be of its default's kind: a whole number, a number, or a list of whole numbers."""
    if isinstance(default, int):
        require(name, value, type(value) is int, "that is a whole number")
    elif isinstance(default, float):
        require(name, value, type(value) in (int, float), "that is a number")
    elif isinstance(default, tuple):
        whole = isinstance(value, tuple) and all(type(entry) is int for entry in value)
        require(name, value, whole, "that is a list of whole numbers")
