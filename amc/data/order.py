"""The fixed order that every data set is shuffled into."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def fixed_order(n: int) -> npt.NDArray[np.int64]:
    """A permutation of 0 … n − 1 that depends on ``n`` alone, so a split never moves between runs or machines."""
    # RandomState, unlike Generator, promises the same stream in every numpy version.
    return np.random.RandomState(0).permutation(n).astype(np.int64)
