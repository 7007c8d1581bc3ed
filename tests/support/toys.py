"""Curves and cost models with known answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amc.analysis.curves import Curves
from amc.core.places import ChannelSlice
from amc.core.types import LayerGroup
from amc.pruning.cost import CostModel
from amc.pruning.layers import LayerShape


def group(name: str, channels: int, slices: Sequence[tuple[str, str]] = (), step: int = 1) -> LayerGroup:
    every = np.arange(channels)
    where = tuple(ChannelSlice(layer, axis, every, every) for layer, axis in slices)  # type: ignore[arg-type]
    return LayerGroup(name, "conv3x3", channels, step, False, 3, 8, 8, 1, 3, 10, 10, where)


def chain(channels: Sequence[int], inputs: int = 3, classes: int = 5) -> CostModel:
    """Layers one behind the other; the last one's outputs belong to no group. One MAC and one weight per pair."""
    sizes = [inputs, *channels, classes]
    layers = [LayerShape(f"l{i}", sizes[i + 1], sizes[i], 1, 1) for i in range(len(sizes) - 1)]
    groups = [group(f"l{i}", n, [(f"l{i}", "out"), (f"l{i + 1}", "in")]) for i, n in enumerate(channels)]
    return CostModel(groups, layers)


def stream(channels: int, inside: Sequence[int]) -> CostModel:
    """A stem, blocks that read and write its stream, and one layer from the stream to itself."""
    layers = [LayerShape("stem", channels, 3, 2, 2), LayerShape("mix", channels, channels, 1, 1)]
    slices = [("stem", "out"), ("mix", "out"), ("mix", "in")]
    groups = []
    for i, n in enumerate(inside):
        layers += [LayerShape(f"a{i}", n, channels, 3, 3), LayerShape(f"b{i}", channels, n, 3, 3)]
        slices += [(f"a{i}", "in"), (f"b{i}", "out")]
        groups.append(group(f"a{i}", n, [(f"a{i}", "out"), (f"b{i}", "in")]))
    return CostModel([group("stem", channels, slices), *groups], layers)


def curves(model: CostModel, loss: Sequence[Sequence[float]], keep_ratios: Sequence[float]) -> Curves:
    """Curves of every group with these losses above 0 of the dense network; accuracy is 1 − loss."""
    values = np.array(loss, dtype=float)
    return Curves(
        names=tuple(g.name for g in model.groups),
        channels=tuple(g.channels for g in model.groups),
        keep_ratios=tuple(keep_ratios),
        kept=np.array([[g.round_channels(r) for r in keep_ratios] for g in model.groups]),
        score=1 - values,
        loss=values,
        dense_score=1.0,
        dense_loss=0.0,
        images=100,
    )


def random_curves(model: CostModel, seed: int) -> Curves:
    """Convex losses, some groups much more sensitive than others."""
    random = np.random.default_rng(seed)
    ratios = (0.8, 0.6, 0.4, 0.2)
    height, power = random.uniform(0.01, 0.5, len(model.groups)), random.uniform(1, 4, len(model.groups))
    return curves(model, [[h * (1 - r) ** p for r in ratios] for h, p in zip(height, power, strict=True)], ratios)
