"""Plans against the best plan so far: each is seen only as far as needed to tell that it is worse."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from amc.early_stop import StopRule, estimate
from amc.types import Metrics

State = Mapping[str, Tensor]


class Contest:
    """Keeps the answers of the most accurate plan that was seen in full, and judges the next plan by them."""

    def __init__(self, rule: StopRule, images: int, batch_size: int) -> None:
        """``images``: how many there are, in an order that is the same for every plan and mixes the classes."""
        self._rule, self._images, self._batch_size = rule, images, batch_size
        self._right: Tensor | None = None  # of the best plan, bool [images]
        self._losses: Tensor | None = None  # of the best plan, float32 [images]

    def newcomer(self) -> Callable[[Tensor], bool]:
        """For one plan: takes its right answers batch by batch and says when it is surely worse than the best."""
        won = lost = seen = 0

        def enough(right: Tensor) -> bool:
            nonlocal won, lost, seen
            if self._right is None:
                return False
            best = self._right[seen : seen + len(right)]
            seen += len(right)
            won += int((right & ~best).sum())
            lost += int((best & ~right).sum())
            return self._rule.stops(won, lost, seen, self._images, self._batch_size)

        return enough

    def judge(self, right: Tensor, losses: Tensor) -> Metrics:
        """The plan's metrics; a plan seen in full that has more right answers than the best takes its place.

        Args:
            right: answers on the images seen, bool ``[m]``.
            losses: cross-entropy on them, ``[m]``.

        Returns:
            Of a plan seen in full its own. Of another the regression estimate: the best plan's on all images plus the
            mean difference on those seen (see :func:`amc.early_stop.estimate`), with ``images`` = m.
        """
        seen = len(right)
        if seen < self._images and self._right is not None and self._losses is not None:
            difference = (int(right.sum()) - int(self._right[:seen].sum())) / seen
            accuracy = estimate(int(self._right.sum()) / self._images, difference)
            loss = _mean(self._losses) + _mean(losses - self._losses[:seen])
            return Metrics(accuracy, loss, seen)
        if self._right is None or int(right.sum()) > int(self._right.sum()):
            self._right, self._losses = right, losses
        return Metrics(int(right.sum()) / seen, _mean(losses), seen)

    def state(self) -> dict[str, Tensor]:
        """The best plan's answers; empty before the first plan. For :meth:`load_state`."""
        if self._right is None or self._losses is None:
            return {}
        return {"right": self._right.cpu(), "losses": self._losses.cpu()}

    def load_state(self, state: State, device: torch.device) -> None:
        """Goes on as after the plan that ``state`` was taken at.

        Raises:
            ValueError: it is of other images.
        """
        if state and not all(
            isinstance(state.get(key), Tensor) and state[key].shape == (self._images,) for key in ("right", "losses")
        ):
            raise ValueError(f"no answers on {self._images} images")
        self._right = state["right"].to(device) if state else None
        self._losses = state["losses"].to(device) if state else None


def _mean(losses: Tensor) -> float:
    return float(losses.double().mean())
