"""Mixed-integer program for HiGHS: one choice per item, items coupled in pairs by a shared budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Program:
    """Minimise ``Σ_g value_g[k_g]`` over choices ``k`` with ``Σ_g alone_g[k_g] + Σ_gh pairs_gh[k_g, k_h] ≤ 1``.

    Attributes:
        values: of each item's choices (less is better), ``[choices]`` each.
        alone: share of the budget that each choice uses by itself, ``[choices]`` each.
        pairs: items (g, h), g < h → what two choices use together, ``[choices of g, choices of h]``.
    """

    values: Sequence[Floats]
    alone: Sequence[Floats]
    pairs: Mapping[tuple[int, int], Floats]


@dataclass(frozen=True)
class Solution:
    """``chosen``: a choice per item, ``None`` if none was found in time; ``bound``: no value is below it."""

    chosen: tuple[int, ...] | None
    bound: float


def solve(program: Program, time_limit_seconds: float) -> Solution:
    """Solves it, or stops at the time limit with the best solution found and the bound proven.

    One binary variable x per item and choice. Each product x_gk · x_hl of a coupled pair becomes a variable y_kl ≥ 0
    whose sums over l and k are x_gk and x_hl (the local polytope): exact for whole x, and a tight relaxation.
    """
    sizes = [len(values) for values in program.values]
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(int)  # of each item's x
    shapes = [(sizes[g], sizes[h]) for g, h in program.pairs]
    pair_start = start[-1] + np.concatenate([[0], np.cumsum([k * m for k, m in shapes])]).astype(int)
    variables = int(pair_start[-1])
    cost = np.zeros(variables)
    use = np.zeros(variables)
    for g, size in enumerate(sizes):
        cost[start[g] : start[g] + size] = program.values[g]
        use[start[g] : start[g] + size] = program.alone[g]
    for p, uses in enumerate(program.pairs.values()):
        use[pair_start[p] : pair_start[p + 1]] = uses.ravel()
    found = milp(
        cost,
        integrality=np.arange(variables) < start[-1],
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(use[None, :], -np.inf, 1.0),
            _one_choice_each(sizes, start, variables),
            *_marginals(list(program.pairs), shapes, start, pair_start, variables),
        ],
        options={"time_limit": time_limit_seconds, "mip_rel_gap": 1e-6},
    )
    bound = float(found.mip_dual_bound) if found.mip_dual_bound is not None else 0.0
    bound = max(bound, sum(float(np.min(values)) for values in program.values))
    if found.x is None:
        return Solution(None, bound)
    return Solution(tuple(int(np.argmax(found.x[a:b])) for a, b in pairwise(start)), bound)


def _one_choice_each(sizes: Sequence[int], start: npt.NDArray[np.int64], variables: int) -> LinearConstraint:
    rows = np.repeat(np.arange(len(sizes)), sizes)
    matrix = coo_array((np.ones(start[-1]), (rows, np.arange(start[-1]))), shape=(len(sizes), variables))
    return LinearConstraint(matrix.tocsc(), 1.0, 1.0)


def _marginals(
    pairs: Sequence[tuple[int, int]],
    shapes: Sequence[tuple[int, int]],
    start: npt.NDArray[np.int64],
    pair_start: npt.NDArray[np.int64],
    variables: int,
) -> list[LinearConstraint]:
    """Σ_l y_kl = x_gk and Σ_k y_kl = x_hl for every coupled pair (g, h)."""
    if not pairs:
        return []
    rows, columns, signs, row = [], [], [], 0
    for (g, h), (k, m), y in zip(pairs, shapes, pair_start[:-1], strict=True):
        places = y + np.arange(k * m)
        rows += [row + np.arange(k * m) // m, row + k + np.arange(k * m) % m, row + np.arange(k + m)]
        columns += [places, places, np.concatenate([start[g] + np.arange(k), start[h] + np.arange(m)])]
        signs += [np.ones(2 * k * m), -np.ones(k + m)]
        row += k + m
    matrix = coo_array((np.concatenate(signs), (np.concatenate(rows), np.concatenate(columns))), shape=(row, variables))
    return [LinearConstraint(matrix.tocsc(), 0.0, 0.0)]
