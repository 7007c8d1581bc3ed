"""Plans as points in R^n: logits relative to the uniform plan."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

EDGE = 0.01  # a uniform action of 0 or 1 would have no finite logit


def around(uniform_action: float, offsets: npt.ArrayLike) -> list[float]:
    """The actions whose logits are ``offsets`` away from the uniform action's.

    Args:
        uniform_action: in [0, 1]; counts as at least 0.01 and at most 0.99.
        offsets: ``[n]``, any numbers; 0 is the uniform action.

    Returns:
        ``n`` actions in [0, 1].
    """
    centre = logit(np.clip(float(uniform_action), EDGE, 1 - EDGE))
    actions: list[float] = expit(centre + np.asarray(offsets, dtype=np.float64)).tolist()
    return actions
