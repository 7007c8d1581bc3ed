"""Actors that output given actions: one for every group, or those of the best episodes."""

from __future__ import annotations

import math

import torch
from stable_baselines3.common.policies import BasePolicy

from agents.rl.replay import EpisodeReplayBuffer
from agents.streams import one_thread

SMALL = 0.01  # of the last layer's drawn weights that remain: layers still differ, by less than a hundredth
MARGIN = 0.02  # from 0 and 1: tanh is flat there, and an actor that starts flat can't learn
FIT_STEPS, FIT_RATE, FIT_ERROR = 1000, 1e-3, 1e-6  # of Adam; a mean square error, of actions in [-1, 1], to stop at


def start_at(actor: dict[str, torch.Tensor], last_layer: str, action: float) -> None:
    """Replaces an actor's last layer, which a tanh follows, by one that outputs ``action`` for every observation.

    Args:
        actor: its weights; the tensors of the last layer are replaced, not written to.
        last_layer: its name.
        action: in [0, 1]; taken as 0.02 or 0.98 beyond these.
    """
    scaled = 2 * min(max(action, MARGIN), 1 - MARGIN) - 1
    actor[f"{last_layer}.weight"] = actor[f"{last_layer}.weight"] * SMALL
    actor[f"{last_layer}.bias"] = torch.full_like(actor[f"{last_layer}.bias"], math.atanh(scaled))


def fit_to_best(policy: BasePolicy, buffer: EpisodeReplayBuffer) -> None:
    """Trains a policy's actor, in place, until it repeats the best tenth of each network's buffered episodes.

    As nearly as what it sees allows: of different actions for one observation it gives the mean. Draws no random
    numbers; optimisers, critics and targets stay as they are.
    """
    best = buffer.best_transitions()
    observations, actions = (buffer.to_torch(array[best, 0]) for array in (buffer.observations, buffer.actions))
    wanted = actions.clamp(2 * MARGIN - 1, 1 - 2 * MARGIN)
    optimiser = torch.optim.Adam(policy.get_submodule("actor").parameters(), lr=FIT_RATE)
    with one_thread(), torch.enable_grad():
        for _ in range(FIT_STEPS):
            error = (policy._predict(observations, deterministic=True) - wanted).square().mean()
            if float(error.detach()) < FIT_ERROR:
                break
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
    optimiser.zero_grad()
