"""MACs outside the layers that are cut, as a polynomial of the kept channels.

The whole network is counted (:mod:`amc.pruning.counting`), dense and with every group halved. Where the difference to
the layers' arithmetic is the same both times, as it nearly always is, no plan changes it: it is a constant. Otherwise
the operations that depend on a plan (a matrix product of pruned activations, channel attention by a convolution along
the channels) are counted on networks in which one group is cut, or two, and each gets its polynomial of second degree,
which two further cuts must confirm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from amc.core.types import LayerGroup
from amc.pruning.cost import CostModel, CostTerms
from amc.pruning.counting import Item, count_by_item
from amc.pruning.surgery import Surgeon

Counts = Mapping[str, int]
FRACTIONS = (0.5, 0.25)  # of a group's channels, kept in the cuts that polynomials are made of


class IrregularError(Exception):
    """MACs that are no polynomial of second degree. ``groups``: those that they depend on; ``module``: of which."""

    def __init__(self, groups: Sequence[str], module: str) -> None:
        super().__init__(f"the MACs of {module or 'the network itself'} depend on it in a way that can't be predicted")
        self.groups = tuple(groups)


def rest_macs(model: nn.Module, bare: CostModel, example_input: torch.Tensor) -> CostTerms:
    """MACs of ``model`` beyond those that ``bare``, a cost model of its layers alone, knows.

    Args:
        model: the dense network.
        bare: its groups and layers, without a rest.
        example_input: the first input counts.

    Raises:
        IrregularError: no polynomial fits.
    """
    return _Rest(model, bare, example_input).terms()


class _Rest:
    def __init__(self, model: nn.Module, bare: CostModel, example_input: torch.Tensor) -> None:
        self._surgeon, self._bare, self._example = Surgeon(model, bare.groups), bare, example_input
        self._free = {g.name: g for g in bare.groups if g.frozen is None and g.channels > g.step}
        self._column = {g.name: i for i, g in enumerate(bare.groups)}
        self._dense = self._of({})

    def terms(self) -> CostTerms:
        """The sum of all items' polynomials."""
        halved = self._of({name: g.round_channels(0.5) for name, g in self._free.items()})
        moved = {item for item in {*self._dense, *halved} if self._dense[item] != halved[item]}
        total = self._constant(sum(value for item, value in self._dense.items() if item not in moved))
        if not moved:
            return total
        depends = self._dependencies(moved)
        cuts = [{name: self._free[name].round_channels(share)} for name in _all(depends) for share in FRACTIONS]
        pairs = {pair for names in depends.values() for pair in combinations(names, 2)}
        cuts += [{name: self._free[name].round_channels(0.5) for name in pair} for pair in sorted(pairs)]
        samples = [(counts, self._of(counts)) for counts in [{}, *cuts]]
        for item, names in depends.items():
            total = total.plus(self._fitted(names, [(counts, found[item]) for counts, found in samples]))
        self._confirm(total, depends)
        return total

    def _of(self, counts: Counts) -> Counter[Item]:
        """What was counted less what the layers' arithmetic says, by item."""
        kept = {name: _spread(self._free[name], count) for name, count in counts.items()}
        found = Counter(count_by_item(self._surgeon.cut(kept), self._example))
        own = {module: (module, op) for module, op in reversed(found)}
        for layer, macs in zip(self._bare.layers, self._bare.layer_macs(self._bare.counts(counts)), strict=True):
            found[own.get(layer.name, (layer.name, ""))] -= round(macs)
        return Counter({item: value for item, value in found.items() if value})

    def _dependencies(self, moved: Iterable[Item]) -> dict[Item, tuple[str, ...]]:
        """Item → the groups that change it when they alone are cut."""
        alone = {name: self._of({name: g.round_channels(0.5)}) for name, g in self._free.items()}
        return {
            item: tuple(name for name, found in alone.items() if found[item] != self._dense[item]) for item in moved
        }

    def _constant(self, value: float) -> CostTerms:
        n = len(self._bare.groups)
        return CostTerms(float(value), np.zeros(n), np.zeros((n, n)))

    def _fitted(self, names: Sequence[str], samples: Sequence[tuple[Counts, int]]) -> CostTerms:
        """The polynomial through the samples that cut no other group than ``names``."""
        own = [(counts, value) for counts, value in samples if set(counts) <= set(names)]
        columns = [self._column[name] for name in names]
        places = [(i, j) for k, i in enumerate(columns) for j in columns[k:]]
        vectors = [self._bare.counts(counts) / self._bare.counts({}) for counts, _ in own]
        rows = [[1.0, *(v[i] for i in columns), *(v[i] * v[j] for i, j in places)] for v in vectors]
        solved = np.linalg.lstsq(np.array(rows), np.array([value for _, value in own], dtype=float), rcond=None)[0]
        full, terms = self._bare.counts({}), self._constant(solved[0])
        for column, value in zip(columns, solved[1:], strict=False):
            terms.linear[column] += value / full[column]
        for (i, j), value in zip(places, solved[1 + len(columns) :], strict=True):
            terms.pairwise[min(i, j), max(i, j)] += value / (full[i] * full[j])
        return terms

    def _confirm(self, terms: CostTerms, depends: Mapping[Item, Sequence[str]]) -> None:
        """Raises :class:`IrregularError` unless all groups cut at once, in two other ways, cost what ``terms`` says."""
        for shares in ((0.75, 0.375), (0.375, 0.6)):
            counts = {name: g.round_channels(shares[i % 2]) for i, (name, g) in enumerate(self._free.items())}
            found = sum(self._of(counts).values())
            if round(terms.value(self._bare.counts(counts))) != found:
                item = max(depends, key=lambda item: self._dense[item])
                raise IrregularError(_all(depends), item[0])


def _all(depends: Mapping[Item, Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in depends.values() for name in names))


def _spread(group: LayerGroup, count: int) -> npt.NDArray[np.int64]:
    """``count`` channels, equally many from each of the group's convolution groups."""
    block = group.channels // group.step
    within = np.arange(count // group.step)
    return (np.arange(group.step)[:, None] * block + within).reshape(-1).astype(np.int64)
