"""The size-aware heuristic: of all plans within the budget, the one with the least sum of its groups' own losses."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amc.analysis.curves import Curves
from amc.analysis.heuristics.counts import allowed_counts, fewest_within, smallest_limit
from amc.analysis.heuristics.integer_program import Program, Solution, solve
from amc.core.checks import Interval, require
from amc.core.errors import AmcError
from amc.core.types import PruningPlan
from amc.pruning.bounds import Counts
from amc.pruning.budget import Budget
from amc.pruning.cost import CostModel, CostTerms

Floats = npt.NDArray[np.float64]
PAIR_VARIABLES = 60_000  # more make the program too slow: groups then get fewer counts to choose from
ATTEMPTS = 4


@dataclass(frozen=True)
class SizeAware:
    """The size-aware heuristic's plan, with its predicted loss.

    Attributes:
        plan: within the budget.
        predicted_loss: of the plan, if losses added up: the dense network's plus every group's increase, in nats.
        lower_bound: no plan of the same choices within the budget has a smaller predicted loss.
        choices: how many counts each group had to choose from, at most.
        seconds: time of the choice.
    """

    plan: PruningPlan
    predicted_loss: float
    lower_bound: float
    choices: int
    seconds: float

    @property
    def gap(self) -> float:
        """The most, in nats, by which a plan of the same choices could be better; 0: this one is proven optimal."""
        return max(self.predicted_loss - self.lower_bound, 0.0)


def size_aware_plan(
    curves: Curves,
    budget: Budget,
    cost_model: CostModel,
    *,
    choices: int = 16,
    time_limit_seconds: float = 60.0,
) -> SizeAware:
    """Minimises the summed loss increase under the budget, exactly, on a grid of counts for each group.

    A layer's cost is a product of its input and output channels, so it depends on two groups at once; the program
    models this exactly, residual streams included
    (:mod:`amc.analysis.heuristics.integer_program`).
    A network of very many couplings (every layer of a dense block with every one before it) gets a coarser grid, so
    that the program stays solvable; the result's ``gap`` tells what the time limit left unproven.

    Args:
        curves: of the network; interpolated and made monotone.
        budget: in MACs or parameters, with the groups' bounds.
        cost_model: of the network.
        choices: counts that each group may choose from, evenly spread from its minimum to all channels.
        time_limit_seconds: for the solver.

    Raises:
        AmcError: a latency budget, no budget, or impossible numbers.
    """
    require("choices", choices, int, Interval(2))
    require("time_limit_seconds", time_limit_seconds, float, Interval(0, ends="(]"))
    if budget.keep is None:
        raise AmcError("rule=size_aware: needs a budget to keep to; give budget.keep=0.5, say")
    started = time.perf_counter()
    terms = cost_model.terms(budget.cost)
    choices = _affordable(choices, terms, budget, cost_model)
    counts = {g.name: allowed_counts(budget.bounds[g.name], choices) for g in budget.groups}
    harm = {g.name: curves.loss_increase(g.name, counts[g.name] / g.channels) for g in budget.groups}
    kept, bound = _best(counts, harm, terms, budget, cost_model, time_limit_seconds)
    predicted = _summed(kept, counts, harm)
    return SizeAware(
        plan=PruningPlan.make(cost_model.groups, kept),
        predicted_loss=curves.dense_loss + predicted,
        lower_bound=curves.dense_loss + min(bound, predicted),
        choices=choices,
        seconds=time.perf_counter() - started,
    )


def _best(
    counts: Mapping[str, Counts],
    harm: Mapping[str, Floats],
    terms: CostTerms,
    budget: Budget,
    cost_model: CostModel,
    time_limit_seconds: float,
) -> tuple[dict[str, int], float]:
    """The best plan found and the lower bound on the summed loss of any."""
    ends = time.perf_counter() + time_limit_seconds
    simple = fewest_within(counts, harm, smallest_limit(counts, harm, budget.fits))  # always exists
    limit, bound = np.floor(budget.limit + 1e-9) + 0.5, 0.0  # costs are whole numbers: the half is for rounding alone
    for attempt in range(ATTEMPTS):
        left = ends - time.perf_counter()
        if left <= 0:
            break
        found = solve(_program(counts, harm, terms, limit, cost_model), left)
        bound = found.bound if attempt == 0 else bound  # a tighter limit's bound holds for fewer plans
        kept = _kept(found, counts)
        if kept is None:
            break
        if budget.fits(kept):
            return min(kept, simple, key=lambda plan: _summed(plan, counts, harm)), bound
        # The solver meets a limit within a millionth; of a large network that is more than one MAC.
        limit -= budget.value(kept) - budget.limit
    return simple, bound


def _program(
    counts: Mapping[str, Counts], harm: Mapping[str, Floats], terms: CostTerms, limit: float, cost_model: CostModel
) -> Program:
    """Minimise Σ harm with the cost, a polynomial of the kept counts, within ``limit``; scaled to a limit of 1."""
    fixed = cost_model.counts({})
    names = list(counts)
    columns = [next(i for i, g in enumerate(cost_model.groups) if g.name == name) for name in names]
    fixed[columns] = 0  # leaves the groups that can't be pruned
    both = terms.pairwise + terms.pairwise.T - np.diag(np.diag(terms.pairwise))
    linear = terms.linear + both @ fixed
    scale = limit - terms.value(fixed)
    alone = [
        (linear[column] * counts[name] + terms.pairwise[column, column] * counts[name] ** 2) / scale
        for name, column in zip(names, columns, strict=True)
    ]
    pairs = {
        (i, j): both[columns[i], columns[j]] * np.outer(counts[names[i]], counts[names[j]]) / scale
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if both[columns[i], columns[j]]
    }
    return Program([harm[name] for name in names], alone, pairs)


def _kept(found: Solution, counts: Mapping[str, Counts]) -> dict[str, int] | None:
    if found.chosen is None:
        return None
    return {name: int(options[choice]) for (name, options), choice in zip(counts.items(), found.chosen, strict=True)}


def _summed(kept: Mapping[str, int], counts: Mapping[str, Counts], harm: Mapping[str, Floats]) -> float:
    return sum(float(harm[name][np.searchsorted(counts[name], count)]) for name, count in kept.items())


def _affordable(choices: int, terms: CostTerms, budget: Budget, cost_model: CostModel) -> int:
    """As many counts per group as keep the variables of all coupled pairs within ``PAIR_VARIABLES``, at least 3."""
    free = [i for i, g in enumerate(cost_model.groups) if g.frozen is None]
    coupled = int((np.triu(terms.pairwise[np.ix_(free, free)], 1) != 0).sum())
    sizes: Sequence[int] = [len(bounds.counts()) for bounds in budget.bounds.values()]
    most = min(choices, max(sizes))
    while most > 3 and coupled * most**2 > PAIR_VARIABLES:
        most -= 1
    return most
