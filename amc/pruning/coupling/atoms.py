"""Atoms: single channels as their producers make them, joined where a network ties them together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


class Atoms:
    """Disjoint sets of channels (union–find); 0 stands for no channel."""

    def __init__(self) -> None:
        self._parent = np.zeros(1, dtype=np.int64)
        self._frozen: dict[int, str] = {}

    def new(self, count: int) -> Ids:
        """Ids of ``count`` new channels, each alone."""
        first = len(self._parent)
        fresh = np.arange(first, first + count, dtype=np.int64)
        self._parent = np.concatenate([self._parent, fresh])
        return fresh

    def roots(self, ids: Ids) -> Ids:
        """For each id the one that stands for its set."""
        found = self._parent[ids]
        while True:
            above = self._parent[found]
            if np.array_equal(above, found):
                break
            found = above
        self._parent[ids] = found
        return found

    def join(self, first: Ids, second: Ids) -> None:
        """Joins the sets of ``first`` and ``second``, pair by pair; pairs with a 0 are left out."""
        first, second = np.broadcast_arrays(first, second)
        both = (first != 0) & (second != 0)
        if not both.any():
            return
        pairs = np.unique(np.stack([first[both], second[both]], axis=1), axis=0)
        while True:
            a, b = self.roots(pairs[:, 0]), self.roots(pairs[:, 1])
            apart = a != b
            if not apart.any():
                return
            low, high = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
            # Of several that a set would be hung below, the last wins; the others are found apart in the next round.
            self._parent[high] = low

    def freeze(self, ids: Ids, reason: str) -> None:
        """Says why these channels can't be removed; the first reason of a set counts."""
        for root in np.unique(self.roots(ids[ids != 0])):
            self._frozen.setdefault(int(root), reason)

    def reasons(self) -> dict[int, str]:
        """Root → why its set can't be removed."""
        found: dict[int, str] = {}
        for atom, reason in self._frozen.items():
            found.setdefault(int(self.roots(np.array([atom]))[0]), reason)
        return found
