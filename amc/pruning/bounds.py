"""Channel counts that one layer group may keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amc.core.types import LayerGroup

Counts = npt.NDArray[np.int64]
DROP_BELOW = 0.2  # keep ratio: a branch of which an action asks for less is dropped


@dataclass(frozen=True)
class Bounds:
    """Counts that a group may keep: multiples of ``unit`` between ``lowest`` and ``highest``, and these two.

    Made by :meth:`amc.pruning.constraints.Limits.of`.

    Attributes:
        group: that it is about.
        lowest, highest: fewest and most channels; equal where the user gave the group its keep ratio.
        channel_round: counts are multiples of it, but for all channels.
        min_keep: keep ratio that was asked for at least, before it was rounded to whole channels.
    """

    group: LayerGroup
    lowest: int
    highest: int
    channel_round: int
    min_keep: float

    def __str__(self) -> str:
        """``16 … 64 by 8``."""
        by = f" by {self.unit}" if self.unit > 1 else ""
        return str(self.lowest) if self.lowest == self.highest else f"{self.lowest} … {self.highest}{by}"

    @property
    def unit(self) -> int:
        """Rounding unit, a multiple of the group's own step."""
        return self.group.unit(self.channel_round)

    def inside(self, channels: int) -> int:
        """``channels``, or the nearest bound."""
        return min(max(channels, self.lowest), self.highest)

    def nearest(self, keep_ratio: float) -> int:
        """The allowed count nearest to ``keep_ratio``; 1.0 gives the most. A branch goes where little is asked."""
        if self.group.branch is not None:
            return self.inside(int(keep_ratio >= DROP_BELOW))
        return self.inside(self.group.round_channels(keep_ratio, self.channel_round))

    def more(self, channels: int) -> int:
        """One unit more than ``channels``, the most at most."""
        return self.inside(channels + self.unit)

    def counts(self) -> Counts:
        """All allowed counts, ascending."""
        return np.unique(np.append(np.arange(self.lowest, self.highest, self.unit), self.highest)).astype(np.int64)
