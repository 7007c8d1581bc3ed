"""One environment over several networks, an episode on each in turn, to train one agent on all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from amc.core.errors import AmcError
from envs.channel_pruning import ChannelPruningEnv

Vector = npt.NDArray[np.float32]


class SeveralNetworksEnv(gym.Env[Vector, Vector]):
    """Walks the first network, then the second …, then the first again; see :class:`ChannelPruningEnv` for each walk.

    The networks must show the same observation, and it should mean the same on each of them (``portable``,
    ``response``, ``price``). Which one comes next depends only on how many episodes were finished: a reset in the
    middle of a walk begins it again.

    ## Info

    * ``reset``: as in :class:`ChannelPruningEnv`, of the network that comes now, and its name (``network``), its number
      (``place``), how often it was walked before (``turn``), how many ``networks`` there are, and the steps of the
      ``longest`` walk.
    * every step: as in :class:`ChannelPruningEnv`, and ``network``.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium's own declaration)

    def __init__(self, envs: Mapping[str, ChannelPruningEnv]) -> None:
        """``envs``: name of a network → its walk, in the order that they come in.

        Raises:
            AmcError: no network, or their observations or actions mean different things.
        """
        if not envs:
            raise AmcError("no network to walk; give one or more")
        self._envs = dict(envs)
        names = list(envs)
        first = envs[names[0]]
        for name in names[1:]:
            if envs[name].metadata["policy"] != first.metadata["policy"]:
                raise AmcError(f"{name}: its observation or its budget is not that of {names[0]}; give all the same")
        self._longest = max(int(env.reset()[1]["steps"]) for env in envs.values())
        self.finished = 0  # episodes; a resumed run restores it
        self.observation_space, self.action_space = first.observation_space, first.action_space
        self.metadata = {**type(self).metadata, "policy": first.metadata["policy"]}
        self._name = names[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Vector, dict[str, Any]]:
        """Begins the walk over the network whose turn it is."""
        super().reset(seed=seed)
        self._name = list(self._envs)[self.finished % len(self._envs)]
        observation, start = self._envs[self._name].reset(seed=seed, options=options)
        turn, place = divmod(self.finished, len(self._envs))
        own = {"network": self._name, "place": place, "turn": turn}
        return observation, {**start, **own, "networks": len(self._envs), "longest": self._longest}

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Decides the current network's next group; see :meth:`ChannelPruningEnv.step`."""
        observation, reward, terminated, truncated, info = self._envs[self._name].step(action)
        self.finished += terminated
        return observation, reward, terminated, truncated, {"network": self._name, **info}
