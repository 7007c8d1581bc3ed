"""Interactions between layer groups: loss of a pair pruned together against the sum of each alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from amc.analysis.curves import Curves, Evaluate, prunable
from amc.core.checks import number, text
from amc.core.types import LayerGroup, PruningPlan
from amc.core.values import Real, Whole, check_all

KINDS = {"pairs": Whole(low=0), "keep_ratio": Real(high=1, ends="()")}


@dataclass(frozen=True)
class Interaction:
    """Two groups cut together, everything else dense.

    Attributes:
        first, second: the groups, in walk order.
        together: loss of both cut, above the dense network's, in nats.
        apart: the sum of what each costs alone, from the curves.
        score: of both cut.
    """

    first: str
    second: str
    together: float
    apart: float
    score: float

    def to_json(self) -> dict[str, Any]:
        """Plain data, read back with :meth:`from_json`."""
        return {("accuracy" if name == "score" else name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Any) -> Interaction:
        """Raises ``TypeError``, ``LookupError`` or ``ValueError`` if ``data`` is something else."""
        losses = number(data["together"]), number(data["apart"])
        return cls(text(data["first"]), text(data["second"]), *losses, number(data["accuracy"], 0, 1))


@dataclass(frozen=True)
class Independence:
    """Additivity of losses over pairs of groups.

    Attributes:
        pairs: how many were measured.
        correlation: between both cut and the sum of each alone; ``None`` if one of the two never changes.
        mean_ratio: mean of both cut ÷ mean of the sums (1: they add up; above: they make each other worse); ``None``
            if the sums' mean is not positive. A mean of ratios would be dominated by pairs that lose next to nothing.
    """

    pairs: int
    correlation: float | None
    mean_ratio: float | None


@dataclass(frozen=True)
class PairSample:
    """A random sample of pairs of groups.

    Attributes:
        pairs: their number; at most all there are.
        keep_ratio: of both groups, rounded to whole channels.
        seed: of the sample.

    Raises:
        AmcError: impossible numbers.
    """

    pairs: int
    keep_ratio: float
    seed: int = 0

    def __post_init__(self) -> None:
        check_all("interactions", vars(self), KINDS)


def sample_pairs(names: Sequence[str], pairs: int, seed: int) -> list[tuple[str, str]]:
    """``pairs`` different pairs in random order, or all there are; each in the order of ``names``."""
    first, second = np.triu_indices(len(names), 1)
    chosen = np.random.default_rng(seed).permutation(len(first))[:pairs]
    return [(names[first[i]], names[second[i]]) for i in chosen]


def measure_interactions(
    curves: Curves,
    groups: Sequence[LayerGroup],
    evaluate: Evaluate,
    sample: PairSample,
    *,
    known: Collection[Interaction] = (),
    on_pair: Callable[[Interaction, int, int], None] | None = None,
) -> tuple[Interaction, ...]:
    """Cuts a random sample of pairs of groups together.

    Args:
        curves: of the network; interpolated at a keep ratio that they lack.
        groups: of the network.
        evaluate: plan → metrics, the same that measured the curves.
        sample: which pairs.
        known: pairs measured before a resume.
        on_pair: called after each new measurement with the pair, the number of pairs so far and in total.
    """
    by_name = {g.name: g for g in prunable(groups)}
    found = {(i.first, i.second): i for i in known}
    wanted = sample_pairs(list(by_name), sample.pairs, sample.seed)
    done = sum(pair in found for pair in wanted)
    for pair in wanted:
        if pair in found:
            continue
        kept = {name: by_name[name].round_channels(sample.keep_ratio) for name in pair}
        metrics = evaluate(PruningPlan.make(groups, kept))
        apart = sum(curves.loss_at(n, count / by_name[n].channels) - curves.dense_loss for n, count in kept.items())
        found[pair] = Interaction(*pair, metrics.loss - curves.dense_loss, float(apart), metrics.score)
        done += 1
        if on_pair is not None:
            on_pair(found[pair], done, len(wanted))
    return tuple(found[pair] for pair in wanted)


def independence(rows: Sequence[Interaction]) -> Independence:
    """How far the losses of ``rows`` add up."""
    together, apart = np.array([r.together for r in rows]), np.array([r.apart for r in rows])
    varies = len(rows) > 1 and together.std() > 0 and apart.std() > 0
    ratio = float(together.mean() / apart.mean()) if len(rows) and apart.mean() > 0 else None
    return Independence(len(rows), float(np.corrcoef(together, apart)[0, 1]) if varies else None, ratio)
