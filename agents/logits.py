"""Plans as points in R^n: logits relative to the uniform plan, or to another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

EDGE = 0.01  # a uniform action of 0 or 1 would have no finite logit


def around(centre: npt.ArrayLike, offsets: npt.ArrayLike) -> list[float]:
    """The actions whose logits are ``offsets`` away from those of ``centre``.

    Args:
        centre: the uniform action, or ``[n]`` actions, in [0, 1]; they count as at least 0.01 and at most 0.99.
        offsets: ``[n]``, any numbers; 0 is the centre.

    Returns:
        ``n`` actions in [0, 1].
    """
    logits = logit(np.clip(np.asarray(centre, dtype=np.float64), EDGE, 1 - EDGE))
    actions: list[float] = expit(logits + np.asarray(offsets, dtype=np.float64)).tolist()
    return actions
