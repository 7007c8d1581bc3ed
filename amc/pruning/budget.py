"""Hard budgets: clip each action so that the finished plan can still meet the budget (AMC, Algorithm 1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from amc.core.errors import AmcError
from amc.core.types import Cost, LayerGroup
from amc.core.values import Kind, OneOf, Real, Whole, check_all
from amc.pruning.bisect import last_whole
from amc.pruning.constraints import CONSTRAINTS, Limits, MinKeep, Rounding
from amc.pruning.cost import CostModel

COSTS = ("macs", "params", "latency_ms")
KINDS: dict[str, Kind] = {
    "cost": OneOf(names=COSTS),
    "keep": Real(high=1, ends="(]", hint=", or budget=none for no budget"),
    "min_keep": MinKeep(),
    "min_channels": Whole(),
    "channel_round": Rounding(),
}


def check_budget(cost: str, keep: float | None, limits: Mapping[str, Any]) -> None:
    """Checks a budget's settings before there is a network; ``limits``: of :class:`Limits`. Raises ``AmcError``."""
    check_all("budget", {"cost": cost, **limits, **({} if keep is None else {"keep": keep})}, KINDS)
    check_all("", limits, {"constraints": CONSTRAINTS})


class Budget:
    """The cost that a plan may not exceed, as a fraction of the dense network's. Pure: holds no walk state."""

    def __init__(
        self,
        cost_model: CostModel,
        cost: str = "macs",
        keep: float | None = 0.5,
        min_keep: float = 0.1,
        channel_round: int | Mapping[str, int] = 1,
        min_channels: int = 1,
        constraints: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        """``keep=None`` means no budget: every action passes.

        Args:
            cost_model: of the network.
            cost: what is limited, one of :data:`COSTS`.
            keep: largest cost as a fraction of the dense network's.
            min_keep, channel_round, min_channels, constraints: see :class:`amc.pruning.constraints.Limits`.

        Raises:
            AmcError: zero prunable groups, unknown cost, a number of the wrong kind or range, bounds that contradict
                each other, or a ``keep`` below what they can reach.
        """
        self.limits = Limits(min_keep, channel_round, min_channels, constraints or {})
        check_budget(cost, keep, vars(self.limits))
        self.cost, self.keep = cost, keep
        self.groups = tuple(g for g in cost_model.groups if g.frozen is None)
        self._model = cost_model
        if not self.groups:
            raise AmcError(_nothing_to_prune(cost_model))
        full = cost_model.counts({})
        if getattr(cost_model, cost)(full) is None:
            raise AmcError(f"budget.cost={cost}: no latency table was measured for this network")
        self.limit = float("inf") if keep is None else keep * cost_model.value(cost, full)
        self.bounds = self.limits.of(cost_model.groups)
        self.floor = {name: bounds.lowest for name, bounds in self.bounds.items()}
        self.least_keep = min(bounds.min_keep for bounds in self.bounds.values())  # what the smallest action asks for
        lowest = cost_model.value(cost, cost_model.counts(self.floor))
        self.smallest = lowest / cost_model.value(cost, full)  # reachable, as a fraction of the dense network's cost
        if lowest > self.limit:
            raise AmcError(
                f"budget.keep={keep}: can't be reached; with {' and '.join(self._floors.values())} the smallest "
                f"reachable value is {self.smallest:.4f} of the {cost}{_outside(cost_model, cost)}. Raise budget.keep "
                f"or lower {' or '.join(self._floors)}."
            )

    @property
    def _floors(self) -> dict[str, str]:
        """The settings that hold the smallest plan up → how they are given."""
        limits = self.limits
        floors = {"min_keep": f"min_keep={limits.min_keep}"}
        if limits.min_channels > 1:
            floors["min_channels"] = f"min_channels={limits.min_channels}"
        return {**floors, "the constraints": "the constraints"} if limits.constraints else floors

    def allows(self, cost: Cost) -> bool:
        """Whether a plan of this cost meets the budget."""
        return self.keep is None or cost.get(self.cost) <= self.limit

    def value(self, kept: Mapping[str, int]) -> float:
        """Cost of a plan, group name → kept channels, in the budget's unit."""
        return self._model.value(self.cost, self._model.counts(kept))

    def fits(self, kept: Mapping[str, int]) -> bool:
        """Whether a plan, group name → kept channels, meets the budget."""
        return self.value(kept) <= self.limit

    def clip(self, group: LayerGroup, channels: int, partial: Mapping[str, int]) -> int:
        """The most channels ≤ ``channels`` with which the budget can still be met (AMC, Algorithm 1).

        Within the group's bounds, whatever ``channels`` is.

        Args:
            group: the group being decided.
            channels: the agent's choice.
            partial: decisions so far, group name → kept channels; groups not in it are yet to come and count with
                their smallest size.
        """
        bounds = self.bounds[group.name]
        channels = bounds.inside(channels)
        if self.keep is None:
            return channels
        counts = self._model.counts({**self.floor, **partial})
        column = self._model.groups.index(group)

        def fits(kept: int) -> bool:
            counts[column] = kept
            return self._model.value(self.cost, counts) <= self.limit

        if fits(channels):
            return channels
        unit = bounds.unit
        most = last_whole(lambda units: fits(units * unit), bounds.lowest // unit, channels // unit + 1)
        return bounds.inside(most * unit)


def _outside(cost_model: CostModel, cost: str) -> str:
    """The share of MACs that no plan changes, if it is worth a word."""
    share = 0.0 if cost != "macs" else cost_model.rest.constant("macs") / cost_model.cost().macs
    return f" ({share:.4f} are attention, recurrent layers and others that can't be cut)" if share > 0.01 else ""


def _nothing_to_prune(cost_model: CostModel) -> str:
    reasons = Counter(g.frozen for g in cost_model.groups)
    found = "; ".join(f"{count} × {reason}" for reason, count in reasons.items()) or "the model has no layer groups"
    return f"zero prunable groups ({found}); freeze less, or choose another model"
