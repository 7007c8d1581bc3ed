"""Hard budgets: clip each action so that the finished plan can still meet the budget (AMC, Algorithm 1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from amc.core.errors import AmcError
from amc.core.types import Cost, LayerGroup
from amc.core.values import OneOf, Real, Whole, check_all
from amc.pruning.bisect import last_whole
from amc.pruning.cost import CostModel

COSTS = ("macs", "params", "latency_ms")
KINDS = {
    "cost": OneOf(names=COSTS),
    "keep": Real(high=1, ends="(]", hint=", or budget=none for no budget"),
    "min_keep": Real(high=1, ends="(]"),
    "channel_round": Whole(),
}


def check_budget(cost: str, keep: float | None, min_keep: float, channel_round: int) -> None:
    """Checks a budget's settings before there is a network. Raises ``AmcError`` naming the setting."""
    given = {"cost": cost, "min_keep": min_keep, "channel_round": channel_round}
    check_all("budget", given if keep is None else {**given, "keep": keep}, KINDS)


def check_rounding(groups: Iterable[LayerGroup], channel_round: int) -> None:
    """Refuses a rounding beyond every group, with which only whole groups would be left. Raises ``AmcError``."""
    widest = max((g.channels for g in groups if g.frozen is None), default=channel_round)
    if channel_round > widest:
        raise AmcError(
            f"budget.channel_round={channel_round}: no layer group has more than {widest} channels, so none could be "
            "pruned; give a divisor of the channel counts, such as 8"
        )


class Budget:
    """The cost that a plan may not exceed, as a fraction of the dense network's. Pure: holds no walk state."""

    def __init__(
        self,
        cost_model: CostModel,
        cost: str = "macs",
        keep: float | None = 0.5,
        min_keep: float = 0.1,
        channel_round: int = 1,
    ) -> None:
        """``keep=None`` means no budget: every action passes.

        Raises:
            AmcError: zero prunable groups, unknown cost, a number of the wrong kind or range, or a ``keep`` below
                what ``min_keep`` can reach.
        """
        check_budget(cost, keep, min_keep, channel_round)
        self.cost, self.keep, self.min_keep, self.channel_round = cost, keep, min_keep, channel_round
        self.groups = tuple(g for g in cost_model.groups if g.frozen is None)
        self._model = cost_model
        if not self.groups:
            raise AmcError(_nothing_to_prune(cost_model))
        full = cost_model.counts({})
        if getattr(cost_model, cost)(full) is None:
            raise AmcError(f"budget.cost={cost}: no latency table was measured for this network")
        self.limit = float("inf") if keep is None else keep * cost_model.value(cost, full)
        self.floor = {g.name: g.min_channels(min_keep, channel_round) for g in self.groups}
        lowest = cost_model.value(cost, cost_model.counts(self.floor))
        self.smallest = lowest / cost_model.value(cost, full)  # reachable, as a fraction of the dense network's cost
        if lowest > self.limit:
            raise AmcError(
                f"budget.keep={keep}: can't be reached; with min_keep={min_keep} the smallest reachable value is "
                f"{self.smallest:.4f} of the {cost}{_outside(cost_model, cost)}. Raise budget.keep or lower min_keep."
            )

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

        Args:
            group: the group being decided.
            channels: the agent's choice.
            partial: decisions so far, group name → kept channels; groups not in it are yet to come and count with
                their smallest size.
        """
        channels = max(channels, self.floor[group.name])
        if self.keep is None:
            return channels
        counts = self._model.counts({**self.floor, **partial})
        column = self._model.groups.index(group)

        def fits(kept: int) -> bool:
            counts[column] = kept
            return self._model.value(self.cost, counts) <= self.limit

        if fits(channels):
            return channels
        unit = group.unit(self.channel_round)
        most = last_whole(lambda units: fits(units * unit), self.floor[group.name] // unit, channels // unit + 1)
        return max(most * unit, self.floor[group.name])


def _outside(cost_model: CostModel, cost: str) -> str:
    """The share of MACs that no plan changes, if it is worth a word."""
    rest = cost_model.rest.macs
    share = 0.0 if cost != "macs" or rest is None else rest.constant / cost_model.cost().macs
    return f" ({share:.4f} are attention, recurrent layers and others that can't be cut)" if share > 0.01 else ""


def _nothing_to_prune(cost_model: CostModel) -> str:
    reasons = Counter(g.frozen for g in cost_model.groups)
    found = "; ".join(f"{count} × {reason}" for reason, count in reasons.items()) or "the model has no layer groups"
    return f"zero prunable groups ({found}); freeze less, or choose another model"
