"""When is a plan surely worse than the best one? A paired sequential test on the images seen so far; plain arithmetic.

Two plans are compared image by image. Images that both get right, or both wrong, say nothing; of the others, *won*
counts those that the new plan alone gets right, *lost* those that the best plan alone does. Pairing removes what the
images have in common (easy and hard ones), which is most of an accuracy's scatter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from amc.checks import require


@dataclass(frozen=True)
class StopRule:
    """How sure one must be, and of what.

    Attributes:
        margin: a plan is given up only if it is worse by more than this, a fraction of the images.
        confidence: that a plan that is not worse by more than the margin is seen to the end, all looks together.
        min_images: before so many images nothing is given up.

    Raises:
        AmcError: a value that can't be.
    """

    margin: float = 0.0
    confidence: float = 0.99
    min_images: int = 250

    def __post_init__(self) -> None:
        require("evaluate.early_stop_margin", self.margin, float, 0, 1, ends="[)")
        require("evaluate.early_stop_confidence", self.confidence, float, 0.5, 1, ends="()")
        require("evaluate.early_stop_min_images", self.min_images, int, 2)

    def looks(self, total: int, batch_size: int) -> int:
        """How often a plan can be given up: after each batch that leaves enough images behind and some ahead."""
        return max(0, (total - 1) // batch_size - (self.min_images - 1) // batch_size)

    def z(self, total: int, batch_size: int) -> float:
        """Standard errors that one look asks for.

        The error probability is shared equally among all looks (Bonferroni's bound: no more than their sum, however
        dependent the looks are).
        """
        return NormalDist().inv_cdf(1 - (1 - self.confidence) / max(1, self.looks(total, batch_size)))

    def stops(self, won: int, lost: int, seen: int, total: int, batch_size: int) -> bool:
        """Whether the plan is given up after ``seen`` of ``total`` images, taken in a random order.

        What is tested is the difference on all ``total`` images, so its standard error shrinks to 0 as ``seen`` comes
        near ``total`` (finite population correction, Cochran 1977 §2.6).
        """
        if seen < self.min_images or seen >= total:
            return False
        mean = (won - lost) / seen
        error = standard_error(won, lost, seen, total)
        return mean + self.z(total, batch_size) * error < -self.margin


def standard_error(won: int, lost: int, seen: int, total: int) -> float:
    """Of the mean difference in right answers, as an estimate of that on all ``total`` images; ``seen`` is over 1."""
    variance = (won + lost - (won - lost) ** 2 / seen) / (seen - 1)
    return math.sqrt(variance / seen * (1 - seen / total))


def estimate(best: float, difference: float) -> float:
    """A plan's accuracy on all images (regression estimate with slope 1): the best plan's, known on all, + difference.

    Unbiased for a number of images fixed beforehand. A plan that is stopped was stopped *because* it looked bad, so
    its estimate lies too low on average: by 0.1 to 0.9 points for plans that are 0.5 to 10 points behind on 5,000
    images and differ from the best in 6 to 15 % of the answers (simulated in the tests). It lies below the best's
    accuracy in any case.

    Args:
        best: accuracy of the best plan on all images.
        difference: mean difference in right answers on the images seen, in [−1, 1].
    """
    return min(1.0, max(0.0, best + difference))
