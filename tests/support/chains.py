"""Chains of 1×1 convolutions whose costs are products of neighbouring widths."""

from __future__ import annotations

import numpy as np

from amc.core.places import ChannelSlice
from amc.core.types import LayerGroup
from amc.pruning.cost import CostModel
from amc.pruning.layers import LayerShape


def chain(widths: list[int]) -> CostModel:
    """3 → widths[0] → … → 5 output channels; one MAC per channel pair."""
    groups, layers, inputs = [], [], 3
    for i, width in enumerate([*widths, 5]):
        layers.append(LayerShape(str(i), width, inputs, macs_per_pair=1))
        inputs = width
    for i, width in enumerate(widths):
        places = [
            ChannelSlice(str(i + j), axis, np.arange(width), np.arange(width)) for j, axis in enumerate(("out", "in"))
        ]
        groups.append(LayerGroup(str(i), "conv1x1", width, 1, False, 1, 1, 1, 1, 1, 1, 1, tuple(places)))
    return CostModel(groups, layers)
