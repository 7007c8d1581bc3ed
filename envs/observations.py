"""Observations of a layer group, all in [0, 1]: AMC's features (AMC §3.1) in two scales, or a measurement.

What depends on the network alone is computed once (the functions here, one per layout). In AMC's layouts three more
features, fractions, change along the walk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from amc.core.errors import AmcError
from amc.core.types import LayerGroup

LAYOUT_VERSION = 1  # raise it when a feature changes its place or meaning: stored policies depend on it
STATIC = ("index", "type", "in_channels", "out_channels", "height", "width", "stride", "kernel", "macs")
DYNAMIC = ("reduced", "rest", "last_action")
FEATURES = STATIC + DYNAMIC
MEASURED = ("response", "price")  # of each group before a search: an observation and a heuristic of that name each
PRIOR = "sensitivity"  # behind the others, where the environment was given a prior

# From layers that mix all channels to those that mix none.
TYPES = {"conv": 0.0, "linear": 1 / 3, "grouped": 2 / 3, "depthwise": 1.0}

Features = npt.NDArray[np.float64]


def amc(groups: Sequence[LayerGroup]) -> Features:
    """Each feature scaled by its smallest and largest value in this network (AMC §3.1); 0 where all are equal.

    Returns:
        ``[groups, 9]``, in the order of :data:`STATIC`.
    """
    raw = np.array(
        [
            (i, _type(g), g.in_channels, g.channels, g.height, g.width, g.stride, g.kernel, g.macs)
            for i, g in enumerate(groups)
        ],
        dtype=np.float64,
    )
    smallest, span = raw.min(axis=0), np.ptp(raw, axis=0)
    scaled: Features = (raw - smallest) / np.where(span == 0, 1, span)
    return scaled


def portable(groups: Sequence[LayerGroup]) -> Features:
    """Logarithms and fractions that mean the same on every network.

    Twice the width moves the two channel features by 1/16 each and nothing else; a larger input moves nothing; a
    network of the same blocks, repeated, shows the same values at the same place of the walk.

    Returns:
        ``[groups, 9]``, in the order of :data:`STATIC`.
    """
    n = len(groups)
    tallest, widest = max(g.height for g in groups), max(g.width for g in groups)
    mean_macs = max(sum(g.macs for g in groups) / n, 1)
    raw = np.array(
        [
            (
                (i + 0.5) / n,
                _type(g),
                np.log2(g.in_channels) / 16,
                np.log2(g.channels) / 16,
                np.log2(tallest / g.height) / 8,
                np.log2(widest / g.width) / 8,
                np.log2(g.stride) / 3,
                np.log2(g.kernel) / 4,
                0.5 + np.log2(max(g.macs, 1) / mean_macs) / 16,
            )
            for i, g in enumerate(groups)
        ],
        dtype=np.float64,
    )
    return np.clip(raw, 0, 1)


LAYOUTS: dict[str, Callable[[Sequence[LayerGroup]], Features]] = {"amc": amc, "portable": portable}


def measured(groups: Sequence[LayerGroup], amounts: Mapping[str, float]) -> Features:
    """Measured importance of each group to this network's outputs, and its MACs; nothing of the architecture.

    A group's place, width or kernel tells a policy what to keep in the family of networks that it was trained on, and
    the opposite in another: residual networks keep their last blocks, plain ones their first. Nor does anything change
    along the walk, which would be its place by another name.

    Args:
        groups: of the walk.
        amounts: group name → its response or price, greater than 0, in any unit.

    Returns:
        ``[groups, 2]``: ½ + ln(amount / the geometric mean) / 8, and MACs as in :func:`portable`.
    """
    logs = np.log([amounts[g.name] for g in groups])
    macs = portable(groups)[:, STATIC.index("macs")]
    features: Features = np.clip(np.stack([0.5 + (logs - logs.mean()) / 8, macs], axis=1), 0, 1)
    return features


def features_of(layout: str) -> tuple[str, ...]:
    """Names of the observation's features, in order; without the prior."""
    return (layout, "macs") if layout in MEASURED else FEATURES


def static_features(
    layout: str, groups: Sequence[LayerGroup], amounts: Mapping[str, Mapping[str, float]] | None = None
) -> Features:
    """The features of each group that do not change along the walk.

    Args:
        layout: its name.
        groups: of the walk.
        amounts: measurements: ``response`` or ``price`` → group name → amount.

    Returns:
        ``[groups, 9]``, of what is measured ``[groups, 2]``.

    Raises:
        AmcError: unknown layout, or one of a measurement that is not given.
    """
    if layout in MEASURED:
        if layout not in (amounts or {}):
            raise AmcError(f"observation={layout}: the groups' {layout}s were not measured")
        return measured(groups, (amounts or {})[layout])
    if layout not in LAYOUTS:
        raise AmcError(f"observation={layout}: unknown; give one of {', '.join((*LAYOUTS, *MEASURED))}")
    return LAYOUTS[layout](groups)


def _type(group: LayerGroup) -> float:
    return next((number for prefix, number in TYPES.items() if group.kind.startswith(prefix)), TYPES["conv"])
