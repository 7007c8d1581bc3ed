"""Search settings, validated on construction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from amc import recovery as recoveries
from amc.core.checks import refuse_unknown
from amc.core.errors import AmcError
from amc.core.files import plain
from amc.core.values import LARGEST_SEED, Flag, Kind, Many, Nullable, OneOf, Text, Whole, check_all
from amc.evaluation.evaluator import PRECISIONS
from amc.evaluation.racing import KINDS as STOP_KINDS
from amc.evaluation.racing import StopRule
from amc.pruning.budget import KINDS as BUDGET_KINDS
from amc.pruning.constraints import CONSTRAINTS, Limits
from amc.pruning.groups import HEADS, WIDTH
from envs.observations import MEASURED

AUTO_FLAG = Flag(also=("auto",))
SEED = Whole(low=0, high=LARGEST_SEED)
FREEZE = Many(entry=Text(what="a layer's name or pattern"), example="[conv1]")
# What may be cut: settings of every command that cuts.
SCOPE: dict[str, Kind] = {
    "prune_residual": Flag(),
    "prune_depth": Flag(),
    "uniform_per_axis": Flag(),
    "head_unit": OneOf(names=(HEADS, WIDTH)),
    "freeze": FREEZE,
}
# The kinds of the settings below, by their sections on the command line.
KINDS: dict[str, Kind] = {
    "observation": OneOf(names=("amc", "portable", *MEASURED)),
    **SCOPE,
    "constraints": CONSTRAINTS,
    "curves": AUTO_FLAG,
    "prior": Flag(),
    "responses": AUTO_FLAG,
    "prices": AUTO_FLAG,
    "finalists": Whole(low=0),
    "finals_recovery": OneOf(names=recoveries.NAMES, also=(None,)),
}
BUDGET: dict[str, Kind] = {**BUDGET_KINDS, "rule": OneOf(names=("clip", "project"))}
EVALUATE: dict[str, Kind] = {
    "calibration_images": Whole(),
    "images": Nullable(Whole()),
    "batch_size": Whole(),
    "precision": OneOf(names=PRECISIONS),
    "early_stop": AUTO_FLAG,
    **{f"early_stop_{name}": kind for name, kind in STOP_KINDS.items()},
}


def scope_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of a command's settings those that say what may be cut, for :func:`amc.pruning.network.trace_network`."""
    return {key: settings[key] for key in SCOPE}


@dataclass(frozen=True)
class Settings:
    """Search settings that are seldom changed.

    Attributes:
        cost: what the budget limits: ``macs``, ``params`` or ``latency_ms`` (measures a table first).
        min_keep: smallest keep ratio of any group.
        min_channels: fewest channels of any group; one that has no more stays whole.
        channel_round: kept counts are multiples of it; or kind of layer, by name or pattern → such a number, 1 for the
            other kinds: ``{"linear": 8, "conv*": 4}``.
        rule: enforcement of the budget. ``project``: the finished walk is moved onto it by one common shift of the
            actions' logits; ``clip``: each action, so that later groups can still meet it (AMC, Algorithm 1).
        observation: ``amc`` (as in the paper), ``portable`` (the same meaning on every network), or each group's
            effect on the outputs: ``response`` (cut alone, :mod:`amc.analysis.responses`), ``price`` (within the
            budget, :mod:`amc.analysis.prices`).
        prune_residual: ``False`` keeps residual streams whole.
        prune_depth: residual branches may be dropped as a whole, too: keep ratio 0.
        uniform_per_axis: one keep ratio for what repeated blocks have in common (the heads of all layers, say), so that
            all blocks stay alike; with ``prune_depth`` whole blocks are dropped.
        head_unit: what goes in attention: ``heads`` as a whole, or the ``width`` of all heads of a layer.
        freeze: names or patterns of layers that keep all input and output channels.
        constraints: name or pattern of layers → what holds for their groups alone, in place of the three above:
            ``min_keep``, ``max_keep``, ``min_channels``, ``channel_round``, or ``keep``, which gives the keep ratio
            itself, without a search: ``{"layer1.*": {"min_keep": 0.5, "max_keep": 0.9}, "conv1": {"keep": 0.75}}``. Of
            several patterns that match, later ones win key by key.
        calibration_images: training images for importance and recovery.
        images: validation images that each plan is scored on; ``None``: all.
        batch_size: images in one forward pass.
        early_stop: racing: skip a plan's remaining images as soon as it is surely less accurate than the incumbent, the
            most accurate plan so far. Its metrics are then estimates, and it can't be the result. Needs a budget.
            ``auto``: where all plans use the budget up, the reward ranks them by accuracy, and the finals have no
            recovery of their own.
        early_stop_margin, early_stop_confidence, early_stop_min_images: see :class:`amc.evaluation.racing.StopRule`.
        precision: ``fp32``, ``bf16``, or ``auto``: bf16 on hardware that has it if accuracy stays the same.
        curves: measure sensitivity curves before the search, for the heuristics ``threshold`` and ``size_aware``;
            ``auto``: if the agent is one of them or starts at its plan.
        prior: append each group's sensitivity to the observation; needs the curves too.
        responses, prices: measure the groups' responses, prices before the search; warm-ups then play the heuristic of
            that name, too. ``auto``: if it is the agent or its start, or the observation is made of them.
        finalists: number of best plans that are scored again at the end, on all validation images; the best of them is
            the result. 0: the best by the search's own reward.
        finals_recovery: name of the finals' recovery, with its default settings; ``None``: the search's.
        agent: settings of the agent, such as ``warmup_episodes``.
        recovery: settings of the recovery, such as ``positions``.
    """

    cost: str = "macs"
    min_keep: float = 0.1
    min_channels: int = 1
    channel_round: int | Mapping[str, int] = 1
    rule: Literal["clip", "project"] = "project"
    observation: Literal["amc", "portable", "response", "price"] = "amc"
    prune_residual: bool = True
    prune_depth: bool = False
    uniform_per_axis: bool = False
    head_unit: Literal["heads", "width"] = "heads"
    freeze: Sequence[str] = ()
    constraints: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    calibration_images: int = 512
    images: int | None = 1000
    batch_size: int = 125
    early_stop: bool | Literal["auto"] = "auto"
    early_stop_margin: float = StopRule.margin
    early_stop_confidence: float = StopRule.confidence
    early_stop_min_images: int = StopRule.min_images
    precision: str = "auto"
    curves: bool | Literal["auto"] = "auto"
    prior: bool = False
    responses: bool | Literal["auto"] = "auto"
    prices: bool | Literal["auto"] = "auto"
    finalists: int = 5
    finals_recovery: str | None = None
    agent: Mapping[str, Any] = field(default_factory=dict)
    recovery: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for section, kinds in (("", KINDS), ("budget", BUDGET), ("evaluate", EVALUATE)):
            check_all(section, vars(self), kinds)
        for what in MEASURED:
            if self.observation == what and self.asked(what) is False:
                raise AmcError(f"observation={what}: is made of the {what}s; give {what}s=auto or true")
        if self.prior and self.curves is False:
            raise AmcError("prior=true: is made of the sensitivity curves; give curves=auto or true")
        refuse_unknown("recovery", self.recovery, recoveries.KINDS)
        check_all("recovery", self.recovery, recoveries.KINDS)
        # From a file or a command line, a layer's name may be a number, and none of them null.
        object.__setattr__(self, "constraints", plain(self.constraints or {}))
        object.__setattr__(self, "channel_round", plain(self.channel_round))

    @property
    def limits(self) -> dict[str, Any]:
        """What bounds each group's channels, as arguments of :class:`amc.pruning.budget.Budget`."""
        return {f.name: getattr(self, f.name) for f in fields(Limits)}

    def limit_facts(self, keep: float | None) -> dict[str, Any]:
        """Entries of ``summary.json``: the budget, and the bounds of single layers if there are any."""
        facts = {"budget": {"cost": self.cost, "keep": keep}}
        return {**facts, "constraints": self.constraints} if self.constraints else facts

    def needs(self, what: str, agent: str | None) -> bool:
        """Whether ``what``, ``response`` or ``price``, must be measured; ``agent``: the one that will play, if any."""
        asked = self.asked(what)
        return what in (agent, self.observation, self.agent.get("start")) if asked == "auto" else asked

    def asked(self, what: str) -> bool | Literal["auto"]:
        """``responses`` or ``prices`` as given."""
        return {"response": self.responses, "price": self.prices}[what]

    @property
    def stop_rule(self) -> StopRule | None:
        """Stop rule of racing; ``None``: no racing, also while ``auto`` is not settled."""
        if self.early_stop is not True:
            return None
        return StopRule(self.early_stop_margin, self.early_stop_confidence, self.early_stop_min_images)
