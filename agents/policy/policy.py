"""A learned policy without its agent: metadata, weights and the action it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import linear

from agents.streams import one_thread


@dataclass(frozen=True)
class Policy:
    """A validated policy, from :func:`agents.policy.files.read_policy`.

    Attributes:
        agent: the name of the agent that learned it, and ``agent_class``, its class.
        episodes: how many it had played.
        hidden: units of each hidden layer; with ``weights`` all that is needed to build the networks again.
        actor_layers: names of the actor's linear layers, from observation to action.
        layout, layout_version, features: of the observation that the policy reads.
        action: what its action means (``meaning``, ``min_keep``).
        budget: facts about the budget that it was trained for; the entries of the file whose name starts so.
        trained_on: the environment's description of the training networks.
        weights: ``actor.…`` and ``critic.…`` → float32 tensor.
    """

    agent: str
    agent_class: str
    episodes: int
    hidden: tuple[int, ...]
    actor_layers: tuple[str, ...]
    layout: str
    layout_version: int
    features: tuple[str, ...]
    action: Mapping[str, Any]
    budget: Mapping[str, Any]
    trained_on: Mapping[str, Any]
    weights: Mapping[str, torch.Tensor]

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """The weights of ``actor`` or ``critic``, without the prefix in their names."""
        start = f"{prefix}."
        return {name.removeprefix(start): w for name, w in self.weights.items() if name.startswith(start)}

    def act(self, observation: npt.ArrayLike) -> float:
        """The action, in [0, 1], that the actor takes on an observation ``[features]`` (SAC, PPO: the mean action).

        Raises:
            ValueError: an observation of another size.
        """
        x = torch.from_numpy(np.array(observation, dtype=np.float32))
        if x.shape != (len(self.features),):
            raise ValueError(f"policy: an observation of shape {list(x.shape)}; this one reads [{len(self.features)}]")
        with torch.no_grad(), one_thread():
            for layer in self.actor_layers[:-1]:
                x = self._layer(layer, x).relu()
            action = (self._layer(self.actor_layers[-1], x).tanh() + 1) / 2
        return float(action)

    def _layer(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.weights[f"actor.{name}.weight"], self.weights[f"actor.{name}.bias"])

    def require_observation(self, observation: Mapping[str, Any]) -> None:
        """Checks that an environment's observation is the one this policy reads.

        Args:
            observation: the environment's ``metadata["policy"]["observation"]``.

        Raises:
            ValueError: another layout, another version of it, or other features.
        """
        layout, version = observation.get("layout"), observation.get("version")
        if layout != self.layout:
            raise ValueError(
                f"policy: it reads the observation '{self.layout}', the environment shows '{layout}'; "
                "choose the policy's observation for the environment"
            )
        if version != self.layout_version:
            raise ValueError(
                f"policy: it reads version {self.layout_version} of the observation '{layout}', the environment "
                f"shows version {version}; train again with this version or use the version that wrote it"
            )
        if tuple(observation.get("features", ())) != self.features:
            raise ValueError(
                f"policy: other features than the environment's in version {version} of the observation '{layout}'; "
                "train again in this environment"
            )
