from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amc.recovery.systems import GramSystem, RowSystem, cholesky, ridge_step

ROWS, FEATURES, OUTS = 60, 9, 4


def data(rows: int = ROWS, features: int = FEATURES) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, features, generator=generator, dtype=torch.float64)
    mixed = torch.eye(features, dtype=torch.float64) + 0.2 * torch.randn(
        features, features, generator=generator, dtype=torch.float64
    )
    x = x @ mixed  # correlated features
    return x, torch.randn(features, OUTS, generator=generator, dtype=torch.float64)


def gram_system(x: torch.Tensor, weight: torch.Tensor, damping: float, order: list[int] | None = None) -> GramSystem:
    return GramSystem(x.T @ x, weight, torch.tensor(order or list(range(x.shape[1]))), damping)


@pytest.mark.parametrize("kept", [[0, 1, 2, 3], [0], list(range(FEATURES)), [1, 4, 8], [0, 2, 3, 7]])
def test_gram_system_is_least_squares(kept: list[int]) -> None:
    """Prefixes by one triangular solve, anything else by a factorisation."""
    x, weight = data()
    expected = torch.linalg.lstsq(x[:, kept], x @ weight).solution
    found = gram_system(x, weight, 1e-9).solve(torch.tensor(kept), None)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)


def test_prefixes_are_those_of_the_order() -> None:
    """Features are kept by falling importance, and come back in their own order."""
    x, weight = data()
    order = [4, 0, 8, 2, 1, 3, 5, 6, 7]
    system = gram_system(x, weight, 1e-9, order)
    for size in range(1, FEATURES + 1):
        kept = sorted(order[:size])
        expected = torch.linalg.lstsq(x[:, kept], x @ weight).solution
        torch.testing.assert_close(system.solve(torch.tensor(kept), None).double(), expected, rtol=1e-3, atol=1e-3)


def test_only_the_outputs_that_are_left() -> None:
    x, weight = data()
    system, kept, outs = gram_system(x, weight, 1e-3), torch.tensor([0, 1, 2]), torch.tensor([1, 3])
    torch.testing.assert_close(system.solve(kept, outs), system.solve(kept, None)[:, outs])


@given(st.sets(st.integers(0, FEATURES - 1), min_size=1), st.sampled_from([0.0, 1e-3, 0.1, 10.0]))
def test_never_worse_than_the_weights_that_are_left(chosen: set[int], damping: float) -> None:
    x, weight = data()
    kept = torch.tensor(sorted(chosen))
    alone = (x[:, kept] @ weight[kept] - x @ weight).square().sum()
    for system in (gram_system(x, weight, damping), RowSystem(x.float(), weight.float(), damping)):
        fitted = (x[:, kept] @ system.solve(kept, None).double() - x @ weight).square().sum()
        assert float(fitted) <= float(alone) * 1.0001 + 1e-4


@pytest.mark.parametrize("rows", [5, 60])
@pytest.mark.parametrize("kept", [[0, 1, 2, 5, 6, 7, 8], [0, 3]])
def test_rows_and_gram_agree(rows: int, kept: list[int]) -> None:
    x, weight = data(rows)
    scale = x[:, kept].square().sum() / len(kept) / (x.square().sum() / FEATURES)  # of the two mean diagonals
    by_rows = RowSystem(x.float(), weight.float(), 1e-2).solve(torch.tensor(kept), None)
    by_gram = gram_system(x, weight, 1e-2 * float(scale)).solve(torch.tensor(kept), None)
    torch.testing.assert_close(by_rows, by_gram, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("damping", [0.0, 1e-3])
@pytest.mark.parametrize("kept", [[0, 1, 2, 3], [1, 3, 4]])
def test_singular_systems_give_numbers(kept: list[int], damping: float) -> None:
    x, weight = data()
    x[:, 1], x[:, 2], x[:, 3] = 0, x[:, 0], 0  # dead features, a duplicate
    for system in (gram_system(x, weight, damping), RowSystem(x.float(), weight.float(), damping)):
        assert torch.isfinite(system.solve(torch.tensor(kept), None)).all()


def test_nothing_was_seen_at_all() -> None:
    x, weight = torch.zeros(6, 3, dtype=torch.float64), torch.ones(3, 2, dtype=torch.float64)
    kept = torch.tensor([0, 2])
    for system in (gram_system(x, weight, 1e-3), RowSystem(x.float(), weight.float(), 1e-3)):
        torch.testing.assert_close(system.solve(kept, None), torch.ones(2, 2))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_activations_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        cholesky(torch.tensor([[1.0, value], [value, 1.0]]), 1e-3)


def test_cholesky_damps_by_the_mean_diagonal() -> None:
    factor = cholesky(torch.diag(torch.tensor([1.0, 3.0])), 0.5)
    torch.testing.assert_close(factor.T @ factor, torch.diag(torch.tensor([2.0, 4.0])))


def test_only_the_singular_of_many_systems_is_damped_more() -> None:
    good, dead, singular = (
        torch.diag(torch.tensor([1.0, 3.0])),
        torch.zeros(2, 2),
        torch.tensor([[4.0, 4.0], [4.0, 4.0]]),
    )
    factors = cholesky(torch.stack([good, dead, singular]).double(), 1e-18)
    products = factors.mT @ factors
    torch.testing.assert_close(products[0], good.double(), rtol=0, atol=1e-11)
    torch.testing.assert_close(products[1], torch.eye(2).double() * 1e-12)
    assert torch.isfinite(factors).all()


@pytest.mark.parametrize("rows", [5, 60])
def test_many_systems_are_solved_like_each(rows: int) -> None:
    x = torch.randn(3, rows, 7) * torch.tensor([1.0, 10.0, 0.1])[:, None, None]
    residual = torch.randn(3, rows, 2)
    alone = torch.stack([ridge_step(x[i], residual[i], 1e-2) for i in range(3)])
    torch.testing.assert_close(ridge_step(x, residual, 1e-2), alone, rtol=1e-4, atol=1e-5)
