"""Backward elimination: an order of removal that adds little least-squares error at each step."""

from __future__ import annotations

from collections.abc import Sequence

import torch

MAX_PASSES = 64  # over all channels of a group; a wide group loses several channels in each


class Loss:
    """Increase of a layer's squared error ``tr (V − W)ᵀ A (V − W)`` as channels go and the others are refitted.

    The optimal brain surgeon (Hassibi & Stork 1993, eq. 5) with all features of a channel in the place of one weight.
    Channels that go one after the other are a pivoted Cholesky factorisation of ``A⁻¹``: what has not gone needs
    nothing but the rows of the factor so far, and ``A⁻¹`` itself is never written to. Nor is the part of ``A⁻¹``
    needed that belongs to features that always stay.
    """

    def __init__(self, channels: torch.Tensor, inverse: torch.Tensor, weight: torch.Tensor) -> None:
        """The loss with all channels still there.

        Args:
            channels: which channels of a group these are, ``[c]``.
            inverse: their block of ``A⁻¹`` in float64, ``[c, m, c, m]`` for ``m`` features each.
            weight: their optimal weights ``[c, m, out]``.
        """
        c, m = weight.shape[:2]
        self.channels = channels
        self._inverse, self._weight = inverse, weight.clone()
        self._own = inverse.diagonal(dim1=0, dim2=2).permute(2, 0, 1).clone()  # [c, m, m], up to date
        self._factor = inverse.new_empty(c * m, c, m)  # its first self._size rows are in use
        self._size = 0
        self._each: torch.Tensor | None = None

    @property
    def each(self) -> torch.Tensor:
        """``tr W_cᵀ [(A⁻¹)_cc]⁻¹ W_c``, the loss by removing a channel alone; 0 for those that have gone. ``[c]``."""
        if self._each is None:
            factor = torch.linalg.cholesky(self._own)
            whitened = torch.linalg.solve_triangular(factor, self._weight, upper=False)
            self._each = whitened.square().sum((1, 2))
        return self._each

    def remove(self, channels: torch.Tensor) -> None:
        """Removes these channels; unknown ones are ignored."""
        gone = torch.isin(self.channels, channels).nonzero()[:, 0]
        if len(gone) == 0:
            return
        rows = self._rows(gone).flatten(0, 1)  # [k, c, m]
        k = len(rows)
        factor = torch.linalg.cholesky(rows[:, gone].reshape(k, k))
        cross = torch.linalg.solve_triangular(factor, rows.flatten(1), upper=False).view_as(rows)
        lost = torch.linalg.solve_triangular(factor, self._weight[gone].flatten(0, 1), upper=False)  # [k, out]
        self._factor[self._size : self._size + k] = cross
        self._size += k
        self._weight -= (cross.flatten(1).T @ lost).view_as(self._weight)
        self._own -= cross.permute(1, 2, 0) @ cross.transpose(0, 1)
        self._weight[gone] = 0
        self._own[gone] = torch.eye(self._own.shape[1]).to(self._own)
        self._each = None

    def among(self, channels: torch.Tensor) -> Loss:
        """The same for some of the channels, while none of the others goes."""
        found = torch.isin(self.channels, channels).nonzero()[:, 0]
        return Loss(self.channels[found], self._rows(found, found), self._weight[found])

    def _rows(self, rows: torch.Tensor, columns: torch.Tensor | None = None) -> torch.Tensor:
        """Rows ``[r, m, c, m]`` of ``A⁻¹`` over what is left, by default with all columns."""
        done = self._factor[: self._size]
        right = done if columns is None else done[:, columns]
        start = self._inverse[rows] if columns is None else self._inverse[rows][:, :, columns]
        update = done[:, rows].flatten(1).T @ right.flatten(1)
        return start - update.view_as(start)


def removal_order(losses: Sequence[Loss], channels: int, step: int = 1, max_passes: int = MAX_PASSES) -> list[int]:
    """All channels of a group, in the order in which greedy backward elimination removes them.

    At each step the channel goes that adds least to the sum of the losses, and the weights of the others are refitted.
    A group of more than ``max_passes`` channels is searched in passes: the channels that would cost least alone are
    picked out, twice as many as are to go, and the steps are exact among them.

    Args:
        losses: of the consumers, with all channels still there; used up.
        channels: how many the group has.
        step: so many equal parts of the channels lose one each before any loses the next, as in every plan.
        max_passes: at most so many passes over all channels.
    """
    left = torch.arange(channels, device=losses[0].channels.device).view(step, -1)
    rounds = -(-left.shape[1] // max_passes)
    if rounds == 1:
        return _greedy(losses, left, left.shape[1])
    order: list[int] = []
    while left.shape[1]:
        total = _total(losses, channels)[left]  # [step, left]
        pool = left.gather(1, total.argsort(dim=1, stable=True)[:, : 2 * rounds])
        picked = _greedy([x.among(pool) for x in losses], pool, min(rounds, left.shape[1]))
        gone = torch.tensor(picked, device=left.device)
        for x in losses:
            x.remove(gone)
        left = left[~torch.isin(left, gone)].view(step, -1)
        order += picked
    return order


def _greedy(losses: Sequence[Loss], pool: torch.Tensor, rounds: int) -> list[int]:
    """So many channels of each row of ``pool`` ``[step, n]``, one by one; a row waits until all have lost as many."""
    channels = int(pool.max()) + 1
    row = pool.new_full((channels,), -1)
    row[pool] = torch.arange(len(pool), device=pool.device)[:, None]
    order: list[int] = []
    for _ in range(rounds):
        waiting = row < 0
        for _ in range(len(pool)):
            gone = _total(losses, channels).masked_fill(waiting, torch.inf).argmin()
            waiting |= row == row[gone]
            row[gone] = -1
            order.append(int(gone))
            for x in losses:
                x.remove(gone)
    return order


def _total(losses: Sequence[Loss], channels: int) -> torch.Tensor:
    total = losses[0].each.new_zeros(channels)
    for x in losses:
        total[x.channels] += x.each
    return total
