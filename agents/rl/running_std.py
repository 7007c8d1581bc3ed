"""The standard deviation of numbers that come one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SMALLEST = 1e-6  # below this, numbers differ by rounding alone


class RunningStd:
    """Welford's algorithm (1962): exact however many numbers come, and without cancellation."""

    def __init__(self) -> None:
        self.count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, value: float) -> None:
        self.count += 1
        before = value - self._mean
        self._mean += before / self.count
        self._squares += before * (value - self._mean)

    @property
    def std(self) -> float | None:
        """The population's standard deviation; ``None`` until two numbers differed by more than rounding."""
        std = (self._squares / self.count) ** 0.5 if self.count else 0.0
        return std if std > SMALLEST else None

    def state(self) -> dict[str, Any]:
        return {"count": self.count, "mean": self._mean, "squares": self._squares}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.count, self._mean, self._squares = int(state["count"]), float(state["mean"]), float(state["squares"])
