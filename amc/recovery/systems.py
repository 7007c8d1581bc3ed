"""Ridge least squares for a layer that has lost inputs, factored once and solved for any kept set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

MAX_ATTEMPTS = 8
MIN_DAMPING = 1e-6  # float32 activations can't tell smaller eigenvalues from rounding


class System(Protocol):
    """Solves ``min ‖X_S V − X W‖² + λ‖V − W_S‖²`` for kept features ``S``.

    The ridge pulls towards the weights the layer already has, so the solution is never worse on its own data than
    leaving the layer alone: at ``V = W_S`` the ridge term is zero.
    """

    def solve(self, kept: torch.Tensor, outs: torch.Tensor | None) -> torch.Tensor:
        """Weights ``[kept, outs]`` for ascending kept features and the given output columns (``None``: all)."""
        ...


def cholesky(gram: torch.Tensor, damping: float) -> torch.Tensor:
    """Upper triangular ``U`` with ``UᵀU = A + λI`` for each ``A`` in ``gram`` ``[…, p, p]``.

    ``λ`` is ``damping`` × the mean diagonal of ``A``.

    A system that is singular all the same is damped ten times more, until it is not.

    Raises:
        ValueError: ``gram`` has NaN or infinite values.
    """
    if not torch.isfinite(gram).all():
        raise ValueError("the calibration activations have NaN or infinite values")
    scale = gram.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True)
    strength = torch.where(scale == 0, 1.0, scale) * max(damping, 1e-12)
    for _ in range(MAX_ATTEMPTS):
        damped = gram.clone()
        damped.diagonal(dim1=-2, dim2=-1).add_(strength)
        factor: torch.Tensor
        factor, info = torch.linalg.cholesky_ex(damped, upper=True)
        if not info.any():
            return factor
        strength = torch.where(info[..., None] > 0, 10 * strength, strength)
    raise ValueError("the least-squares system stays singular under any damping")


def ridge_solver(x: torch.Tensor, damping: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """``R`` ↦ ``(XᵀX + λI)⁻¹ Xᵀ R`` for ``X`` ``[…, n, p]`` and ``R`` ``[…, n, out]``, factored once.

    ``λ`` is ``damping`` × the mean diagonal of ``XᵀX``. Solved in the smaller of both spaces: with fewer rows than
    features it is ``Xᵀ(XXᵀ + λI)⁻¹ R``.
    """
    n, p = x.shape[-2:]
    damping = max(damping, MIN_DAMPING)
    if p <= n:
        factor = cholesky((x.mT @ x).double(), damping)
        return lambda residual: torch.cholesky_solve((x.mT @ residual).double(), factor, upper=True).float()
    factor = cholesky((x @ x.mT).double(), damping * n / p)
    return lambda residual: x.mT @ torch.cholesky_solve(residual.double(), factor, upper=True).float()


def ridge_step(x: torch.Tensor, residual: torch.Tensor, damping: float) -> torch.Tensor:
    """One solution of :func:`ridge_solver`."""
    return ridge_solver(x, damping)(residual)


class GramSystem:
    """From the Gram matrix ``XᵀX``.

    With features in order of importance a plan keeps a prefix of them, and the factor of a leading block is the
    leading block of the factor. With ``A = XᵀX + λI = UᵀU`` and ``Z = U W``, the normal equations
    ``A_SS V = (A W)_S`` become ``U_SS V = Z_S``: one triangular solve for each plan, no factorisation.
    """

    def __init__(self, gram: torch.Tensor, weight: torch.Tensor, order: torch.Tensor, damping: float) -> None:
        """``gram`` ``[p, p]``, ``weight`` ``[p, out]``, both float64; ``order``: features by falling importance."""
        upper = cholesky(gram[order][:, order], max(damping, MIN_DAMPING))
        self._targets = (upper @ weight[order]).float()
        self._upper = upper.float()
        self._order = order
        self._rank = torch.empty_like(order)
        self._rank[order] = torch.arange(len(order), device=order.device)

    def solve(self, kept: torch.Tensor, outs: torch.Tensor | None) -> torch.Tensor:
        targets = self._targets if outs is None else self._targets[:, outs]
        rank = self._rank[kept]
        if int(rank.max()) == len(kept) - 1:
            size = len(kept)
            prefix: torch.Tensor = torch.linalg.solve_triangular(self._upper[:size, :size], targets[:size], upper=True)
            return prefix[rank]
        columns = self._upper[:, rank].double()  # several groups meet here (concatenation): no prefix
        factor = cholesky(columns.T @ columns, 0.0)
        return torch.cholesky_solve(columns.T @ targets.double(), factor, upper=True).float()


class RowSystem:
    """From the rows ``X`` themselves, for layers with far more features than rows (a classifier after flatten).

    Uses ``V = W_S + (X_Sᵀ X_S + λI)⁻¹ X_Sᵀ X_R W_R`` with ``R`` the removed features: memory grows with
    rows × features instead of features².
    """

    def __init__(self, rows: torch.Tensor, weight: torch.Tensor, damping: float) -> None:
        """``rows`` ``[n, p]``, ``weight`` ``[p, out]``."""
        self._rows, self._weight, self._damping = rows, weight, damping

    def solve(self, kept: torch.Tensor, outs: torch.Tensor | None) -> torch.Tensor:
        weight = self._weight if outs is None else self._weight[:, outs]
        gone = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
        gone[kept] = False
        rows = self._rows[:, kept]
        missing = self._rows[:, gone] @ weight[gone]  # [n, outs]
        return weight[kept] + ridge_step(rows, missing, self._damping)
