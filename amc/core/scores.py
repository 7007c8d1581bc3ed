"""A network's scores, and how a metric's values map onto them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

# (outputs [n, …] in float32, targets [n, …], reduction="none" | "sum" | "mean") → loss, as in torch.nn.functional;
# or (outputs, targets) → mean loss, as of a module
Loss = Callable[..., Any]
FURTHEST = 1e300  # units from the best value: of an open scale's score 0; files hold no infinities


@dataclass(frozen=True)
class Scale:
    """A metric's values as scores in [0, 1], 1 the best, and back.

    Attributes:
        best: the value whose score is 1.
        unit: what is added to it on the way to worse values. On a closed scale ``best + unit`` is the worst value, with
            the score 0; on an open one, whose values have no end, its score is ½.
        is_open: whether values have no end: ``score = 1 / (1 + (value − best) / unit)``. Of perplexity, from 1 on in
            units of 1, that is 1 / perplexity.

    Raises:
        ValueError: a unit of 0.
    """

    best: float = 1.0
    unit: float = -1.0
    is_open: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.best) and math.isfinite(self.unit) and self.unit != 0):
            raise ValueError(f"no scale from {self.best} in units of {self.unit}")

    @property
    def is_fraction(self) -> bool:
        """Whether values are the scores themselves, which people read as percentages."""
        return self == FRACTION

    def score_of(self, value: float) -> float:
        """The score of a value; 0 of NaN."""
        if math.isnan(value):
            return 0.0
        if self.is_open:
            return 1 / (1 + min(max(0.0, (value - self.best) / self.unit), FURTHEST))
        worst = self.best + self.unit
        return min(1.0, max(0.0, (value - worst) / (self.best - worst)))

    def value_of(self, score: float) -> float:
        """The value that has a score, within what rounding leaves of it."""
        if self.is_fraction:
            return score
        if self.is_open:
            return self.best + self.unit * (1 / score - 1 if score > 1 / FURTHEST else FURTHEST)
        return self.best + self.unit * (1 - score)

    def drawn(self, score: float) -> float:
        """The number on an axis: of a fraction its percentage."""
        return 100 * score if self.is_fraction else self.value_of(score)

    def axis(self, name: str) -> str:
        """What stands at that axis."""
        return f"{name}, %" if self.is_fraction else name

    def text(self, score: float, space: str = "") -> str:
        """The value for people: ``93.39%``, or ``24.52``; ``space`` stands before the per cent sign."""
        return f"{100 * score:.2f}{space}%" if self.is_fraction else f"{self.value_of(score):.4g}"

    def change(self, before: float, after: float) -> str:
        """The difference of two scores for people: ``+1.20 points``, or ``+3.1``."""
        if self.is_fraction:
            return f"{100 * (after - before):+.2f} points"
        return f"{self.value_of(after) - self.value_of(before):+.4g}"

    def to_json(self) -> list[float | bool]:
        """Plain data, read back with :meth:`from_json`."""
        return [self.best, self.unit, self.is_open]

    @classmethod
    def from_json(cls, data: Any) -> Scale:
        """What :meth:`to_json` gave; a fraction for ``None``. ``TypeError`` or ``ValueError`` for anything else."""
        if data is None:
            return FRACTION
        best, unit, is_open = data
        return cls(float(best), float(unit), bool(is_open))


FRACTION = Scale()
PERPLEXITY = Scale(best=1.0, unit=1.0, is_open=True)
LOSS = Scale(best=0.0, unit=1.0, is_open=True)


@dataclass(frozen=True)
class Metrics:
    """A network's scores on a set of examples.

    Attributes:
        score: the task's metric as a fraction in [0, 1], 1 the best.
        loss: mean of the task's loss.
        images: how many examples it was measured on.
        seconds: where the time went (``cut``, ``recovery``, ``forward``); not part of equality.
        metric: name of the metric, for people and files.
        scale: of the metric's values.
        reference: loss of the dense network, where :attr:`error` is measured by it.
    """

    score: float
    loss: float
    images: int
    seconds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    metric: str = "accuracy"
    scale: Scale = FRACTION
    reference: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"{self.metric} {self.score} is not a fraction in [0, 1]")

    @property
    def accuracy(self) -> float:
        """The score, for rewards and scripts that call it so."""
        return self.score

    @property
    def error(self) -> float:
        """1 − score; of a loss or perplexity, which have no end, the loss over the dense network's."""
        return 1 - self.score if self.reference is None else self.loss / self.reference

    @property
    def value(self) -> float:
        """What the metric is: 24.5 for a perplexity, 0.93 for an accuracy."""
        return self.scale.value_of(self.score)

    def __str__(self) -> str:
        """The value for people."""
        return self.scale.text(self.score)

    def to_json(self) -> dict[str, Any]:
        """Value, under the metric's name, loss and number of examples; of no fraction also score and scale."""
        own = {} if self.scale.is_fraction else {"score": self.score, "scale": self.scale.to_json()}
        return {self.metric: self.value, "loss": self.loss, "images": self.images, **own}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Metrics:
        """What :meth:`to_json` gave. ``ValueError``, ``TypeError`` or ``KeyError`` if it is something else."""
        (metric,) = set(data) - {"loss", "images", "score", "scale"}
        score = data["score"] if "scale" in data else data[metric]
        return cls(score, data["loss"], data["images"], metric=metric, scale=Scale.from_json(data.get("scale")))
