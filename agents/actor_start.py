"""An untrained actor that outputs a given action, so that exploration begins around it."""

from __future__ import annotations

import math

import torch

SMALL = 0.01  # of the last layer's drawn weights that remain: layers still differ, by less than a hundredth
MARGIN = 0.02  # from 0 and 1: tanh is flat there, and an actor that starts flat can't learn


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
