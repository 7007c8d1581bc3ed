"""Plan → MACs and parameters, by arithmetic alone: no forward pass, microseconds per plan."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amc.core.errors import AmcError
from amc.core.types import Cost, LayerGroup, PruningPlan
from amc.pruning.layers import LayerShape, is_inside


@dataclass(frozen=True, eq=False)
class CostTerms:
    """A cost as a polynomial of the kept counts ``c``: ``constant + linear · c + Σ_g≤h pairwise[g, h] · c_g · c_h``.

    Attributes:
        constant: the cost that no plan changes.
        linear: ``[groups]``.
        pairwise: ``[groups, groups]``, upper triangular; the diagonal belongs to groups at both ends of a layer.
    """

    constant: float
    linear: npt.NDArray[np.float64]
    pairwise: npt.NDArray[np.float64]

    def value(self, counts: npt.NDArray[np.float64]) -> float:
        """The cost for kept counts ``[groups]``."""
        return self.constant + float(self.linear @ counts) + float(counts @ self.pairwise @ counts)

    def plus(self, other: CostTerms) -> CostTerms:
        """The sum of two costs of the same groups."""
        return CostTerms(self.constant + other.constant, self.linear + other.linear, self.pairwise + other.pairwise)

    @classmethod
    def none(cls, groups: int, constant: float = 0.0) -> CostTerms:
        """A cost that no plan changes."""
        return cls(constant, np.zeros(groups), np.zeros((groups, groups)))


@dataclass(frozen=True)
class Axis:
    """A length: ``fixed`` plus, for each group in ``per_channel``, so much for each of its kept channels."""

    fixed: float
    per_channel: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Term:
    """A cost outside of layers that is a product of lengths, times a constant.

    Attributes:
        where: the module that runs it, or the parameter that it is the size of.
    """

    constant: float
    axes: tuple[Axis, ...]
    where: str = ""


@dataclass(frozen=True, eq=False)
class Part:
    """A cost that falls away with any of some branches, given by the numbers of their groups."""

    terms: CostTerms
    branches: tuple[int, ...] = ()

    def value(self, counts: npt.NDArray[np.float64]) -> float:
        """The cost for kept counts ``[groups]``."""
        return self.terms.value(counts) if all(counts[i] for i in self.branches) else 0.0


@dataclass(frozen=True)
class Rest:
    """Cost outside the layers that are cut, in parts.

    Attributes:
        params: parameters that belong to no such layer (free ones, layer norms, embeddings).
        macs: MACs of other operations (attention, recurrent layers, functional calls).
    """

    params: tuple[Part, ...] = ()
    macs: tuple[Part, ...] = ()

    def value(self, name: str, counts: npt.NDArray[np.float64]) -> float:
        """The cost called ``params`` or ``macs`` for kept counts ``[groups]``."""
        parts: tuple[Part, ...] = getattr(self, name)
        return sum(part.value(counts) for part in parts)

    def constant(self, name: str) -> float:
        """As much of it as no plan changes."""
        parts: tuple[Part, ...] = getattr(self, name)
        return sum(part.terms.constant for part in parts if not part.branches)


class TooManyGroupsError(Exception):
    """A cost that follows the product of three groups' channels. ``groups``: those."""

    def __init__(self, groups: Sequence[str]) -> None:
        super().__init__("costs follow the product of its channels and two other groups'")
        self.groups = tuple(groups)


def expanded(terms: Iterable[Term], groups: Sequence[LayerGroup]) -> tuple[Part, ...]:
    """The sum of these terms as polynomials, one for each set of branches that some lie in.

    Raises:
        TooManyGroupsError: one is of third degree, not counting branches.
    """
    column = {g.name: i for i, g in enumerate(groups)}
    full = {g.name: g.channels for g in groups if g.frozen is not None}
    around = Around(groups)
    totals: dict[tuple[int, ...], CostTerms] = {}
    for term in terms:
        lengths = []
        for axis in term.axes:
            fixed = axis.fixed + sum(each * full[name] for name, each in axis.per_channel if name in full)
            lengths.append((fixed, {column[name]: each for name, each in axis.per_channel if name not in full}))
        branches = around.branches(term.where)
        before = totals.get(branches, CostTerms.none(len(groups)))
        totals[branches] = before.plus(_multiplied(term.constant, lengths, groups))
    return tuple(Part(terms, branches) for branches, terms in totals.items())


def _multiplied(
    constant: float, lengths: Sequence[tuple[float, Mapping[int, float]]], groups: Sequence[LayerGroup]
) -> CostTerms:
    found: dict[tuple[int, ...], float] = {(): constant}
    for fixed, own in lengths:
        after: dict[tuple[int, ...], float] = {}
        for columns, value in found.items():
            if fixed:
                after[columns] = after.get(columns, 0.0) + value * fixed
            for c, each in own.items():
                key = tuple(sorted((*columns, c)))
                after[key] = after.get(key, 0.0) + value * each
        found = after
    terms = CostTerms.none(len(groups), found.pop((), 0.0))
    for columns, value in found.items():
        if len(columns) > 2:
            raise TooManyGroupsError([groups[c].name for c in columns])
        if len(columns) == 1:
            terms.linear[columns[0]] += value
        else:
            terms.pairwise[columns] += value
    return terms


class Around:
    """The branches around each module, by the numbers of their groups."""

    def __init__(self, groups: Sequence[LayerGroup]) -> None:
        self._modules = [
            (i, g.branch.modules) for i, g in enumerate(groups) if g.branch is not None and g.frozen is None
        ]

    def branches(self, path: str) -> tuple[int, ...]:
        """Of a module or tensor."""
        return tuple(i for i, modules in self._modules if is_inside(path, modules))


class CostModel:
    """Predicts the cost of any plan for one network.

    A layer's axis length is its original length minus what each group removed from it, so all lengths are one
    matrix product; a layer's cost is then ``macs_per_pair · out · in + macs_per_out · out``, or nothing if it lies in a
    branch that is dropped. What else the network costs is :class:`Rest`: as a rule a constant.
    """

    def __init__(self, groups: Sequence[LayerGroup], layers: Sequence[LayerShape], rest: Rest | None = None) -> None:
        """``rest``: the cost outside ``layers``; by default there is none."""
        self.groups = tuple(groups)
        self.layers = tuple(layers)
        self.rest = rest or Rest()
        row = {layer.name: i for i, layer in enumerate(layers)}
        shape = (len(layers), len(groups))
        self._out_uses, self._in_uses = np.zeros(shape), np.zeros(shape)
        for column, group in enumerate(groups):
            for s in group.slices:
                uses = self._out_uses if s.axis == "out" else self._in_uses
                uses[row[s.layer], column] += len(s.positions) / group.channels
        around = Around(groups)
        self._branches = np.zeros(shape)  # 1 where a layer lies in a branch
        for i, layer in enumerate(layers):
            self._branches[i, list(around.branches(layer.name))] = 1
        self._original = np.array([g.channels for g in groups], dtype=float)
        self._column = {g.name: i for i, g in enumerate(groups)}
        self._out_size = np.array([layer.out_size for layer in layers], dtype=float)
        self._in_size = np.array([layer.in_size for layer in layers], dtype=float)
        self._macs_per_pair = np.array([layer.macs_per_pair for layer in layers])
        self._macs_per_out = np.array([layer.macs_per_out for layer in layers])
        self._params_per_pair = np.array([layer.params_per_pair for layer in layers])
        self._params_per_out = np.array([layer.params_per_out for layer in layers])

    def counts(self, kept: Mapping[str, int]) -> npt.NDArray[np.float64]:
        """Kept channels as a vector over the groups; groups left out keep everything. Shape ``[groups]``."""
        vector: npt.NDArray[np.float64] = self._original.copy()
        for name, count in kept.items():
            vector[self._column[name]] = count
        return vector

    def sizes(self, counts: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Output and input channels of every layer, each ``[layers]``, for kept counts ``[groups]``."""
        removed = self._original - counts
        return self._out_size - self._out_uses @ removed, self._in_size - self._in_uses @ removed

    def runs(self, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Whether each layer runs: those of dropped branches don't. ``[layers]``."""
        result: npt.NDArray[np.bool_] = self._branches @ (counts == 0) == 0
        return result

    def macs(self, counts: npt.NDArray[np.float64]) -> int:
        return int(np.rint(self.layer_macs(counts).sum() + self.rest.value("macs", counts)))

    def layer_macs(self, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """MACs of each layer, ``[layers]``."""
        out, inp = self.sizes(counts)
        result: npt.NDArray[np.float64] = out * (self._macs_per_pair * inp + self._macs_per_out)
        return result * self.runs(counts)

    def params(self, counts: npt.NDArray[np.float64]) -> int:
        out, inp = self.sizes(counts)
        each = out * (self._params_per_pair * inp + self._params_per_out)
        return int(np.rint(each @ self.runs(counts) + self.rest.value("params", counts)))

    def latency_ms(self, counts: npt.NDArray[np.float64]) -> float | None:
        """``None``: this model knows no latencies."""
        return None

    def cost(self, plan: PruningPlan | Mapping[str, int] | None = None) -> Cost:
        """Cost of a plan; of the dense network without one."""
        kept = dict(plan.kept) if isinstance(plan, PruningPlan) else (plan or {})
        counts = self.counts(kept)
        return Cost(self.macs(counts), self.params(counts), self.latency_ms(counts))

    def value(self, name: str, counts: npt.NDArray[np.float64]) -> float:
        """The cost called ``name`` (``macs``, ``params`` or ``latency_ms``) for kept counts ``[groups]``."""
        value = getattr(self, name)(counts)
        assert value is not None, "Budget refuses a cost that is not known"
        return float(value)

    def terms(self, name: str) -> CostTerms:
        """The cost called ``name`` (``macs`` or ``params``) as a polynomial of the groups' kept counts.

        A layer's axes are ``a + U c`` and ``b + V c`` long, so ``p · out · in + q · out`` multiplies out. Branches
        count as kept.

        Raises:
            AmcError: a cost that is no product of channel counts, such as a latency.
        """
        if name not in ("macs", "params"):
            raise AmcError(f"budget.cost={name}: this needs a cost made of channel counts; give macs or params")
        pair, alone = getattr(self, f"_{name}_per_pair"), getattr(self, f"_{name}_per_out")
        U, V = self._out_uses, self._in_uses
        a, b = self.sizes(np.zeros(len(self.groups)))
        full = U.T @ (pair[:, None] * V)
        layers = CostTerms(
            constant=float(pair @ (a * b) + alone @ a),
            linear=V.T @ (pair * a) + U.T @ (pair * b + alone),
            pairwise=np.triu(full) + np.tril(full, -1).T,
        )
        parts: tuple[Part, ...] = getattr(self.rest, name)
        return functools.reduce(CostTerms.plus, (part.terms for part in parts), layers)
