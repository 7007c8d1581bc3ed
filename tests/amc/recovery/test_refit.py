from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from amc.recovery.refit import LONGEST, Goal, refit

G = torch.Generator().manual_seed(0)


def lively_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels).eval().requires_grad_(False)
    norm.weight.copy_(torch.tensor([1.5, -0.7, 0.4, 2.0])[:channels])
    norm.bias.copy_(torch.randn(channels, generator=G))
    norm.running_mean.copy_(torch.randn(channels, generator=G))
    norm.running_var.copy_(torch.rand(channels, generator=G) + 0.5)
    return norm


def behind(norm: nn.BatchNorm2d | None, output: Tensor, shortcut: Tensor | None, low: float, high: float) -> Tensor:
    """An independent computation of the steps behind a layer."""
    if norm is not None:
        output = norm(output[:, :, None, None])[:, :, 0, 0]
    return (output if shortcut is None else output + shortcut).clamp(low, high)


def before(norm: nn.BatchNorm2d | None, output: Tensor, shortcut: Tensor | None) -> Tensor:
    return behind(norm, output, shortcut, -math.inf, math.inf)


@pytest.mark.parametrize("limits", [(-math.inf, math.inf), (0, math.inf), (0, 2)])
@pytest.mark.parametrize("with_norm", [True, False])
@pytest.mark.parametrize("with_shortcut", [True, False])
def test_a_goal_within_reach_is_met(limits: tuple[float, float], with_norm: bool, with_shortcut: bool) -> None:
    norm = lively_norm(4) if with_norm else None
    x, shortcut = torch.randn(100, 6, generator=G), torch.randn(100, 4, generator=G) if with_shortcut else None
    wanted, layer = (nn.Linear(6, 4).requires_grad_(False) for _ in range(2))
    refit(layer, x.clone(), Goal(before(norm, wanted(x), shortcut), norm, shortcut, *limits), 0.0)
    torch.testing.assert_close(layer.weight, wanted.weight, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(layer.bias, wanted.bias, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("limits", [(0, math.inf), (0, 2)])
@pytest.mark.parametrize("with_norm", [True, False])
@pytest.mark.parametrize("with_shortcut", [True, False])
def test_knowing_what_is_cut_off_helps(limits: tuple[float, float], with_norm: bool, with_shortcut: bool) -> None:
    """Half the features are missing: the goal is out of reach, but less so behind the activation."""
    x, shortcut = torch.randn(400, 6, generator=G), torch.randn(400, 4, generator=G) if with_shortcut else None
    norm = lively_norm(4) if with_norm else None
    values = before(norm, nn.Linear(6, 4).requires_grad_(False)(x), shortcut)
    errors = []
    for told in ((-math.inf, math.inf), limits):
        layer = nn.Linear(3, 4).requires_grad_(False)
        refit(layer, x[:, :3].clone(), Goal(values, norm, shortcut, *told), 0.0)
        found = before(norm, layer(x[:, :3]), shortcut)
        free = ((values <= limits[0]) & (found <= limits[0])) | ((values >= limits[1]) & (found >= limits[1]))
        errors.append(float((found - values.clamp(*limits)).square().mul(~free).sum()))
    assert errors[1] < errors[0]


def test_one_sweep_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """x = 1 wants 1, x = −3 wants −1, which is cut off at 0; without bias."""
    x = torch.tensor([[1.0], [-3.0]])
    goal = Goal(torch.tensor([[1.0], [-1.0]]), low=0.0)
    # straight: w = Σxy / Σx² = (1 + 3) / 10 = 0.4, which gives 0.4 and −1.2; the latter is cut off as well, so it may
    # stay: w = (1 + 3.6) / 10 = 0.46; then (1 + 9 · 0.46) / 10 = 0.514
    for sweeps, weight in ((0, 0.4), (1, 0.46), (2, 0.514)):
        monkeypatch.setattr("amc.recovery.refit.SWEEPS", sweeps)
        layer = nn.Linear(1, 1, bias=False).requires_grad_(False)
        refit(layer, x.clone(), goal, 0.0)
        assert float(layer.weight) == pytest.approx(weight, rel=1e-4)


def test_grouped_layers_fit_each_group_to_its_own_rows() -> None:
    layer, wanted = (nn.Conv2d(6, 4, 1, groups=2).requires_grad_(False) for _ in range(2))
    x = torch.randn(100, 6, generator=G)
    values = wanted(x[:, :, None, None])[:, :, 0, 0]
    refit(layer, x.clone(), Goal(values), 0.0)
    torch.testing.assert_close(layer.weight, wanted.weight, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(layer.bias, wanted.bias, rtol=1e-3, atol=1e-4)


def test_a_layer_without_bias_gives_it_to_its_norm() -> None:
    norm = lively_norm(4)
    layer, wanted = nn.Linear(6, 4, bias=False).requires_grad_(False), nn.Linear(6, 4).requires_grad_(False)
    x = torch.randn(100, 6, generator=G) + 1
    values = behind(norm, wanted(x), None, -math.inf, math.inf)
    refit(layer, x.clone(), Goal(values, norm), 0.0, bias_to=norm)
    torch.testing.assert_close(behind(norm, layer(x), None, -math.inf, math.inf), values, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bias", [True, False])
def test_rows_far_longer_than_most_count_less(bias: bool) -> None:
    """As weighted least squares, by torch's own solver, with the few long rows as long as the limit."""
    layer = nn.Linear(5, 3, bias=bias).requires_grad_(False)
    x, values = torch.randn(200, 5, generator=G), torch.randn(200, 3, generator=G)
    values[:4] *= 1000
    lengths = values.norm(dim=1, keepdim=True)
    weights = (LONGEST * lengths.median() / lengths).clamp(max=1)
    assert int((weights < 1).sum()) == 4
    rows = torch.cat([x, torch.ones(200, 1)], 1) if bias else x
    expected = torch.linalg.lstsq((weights * rows).double(), (weights * values).double()).solution.float().T
    refit(layer, x.clone(), Goal(values), 1e-9)
    torch.testing.assert_close(layer.weight, expected[:, :5], rtol=1e-3, atol=1e-4)
    if bias:
        torch.testing.assert_close(layer.bias, expected[:, 5], rtol=1e-3, atol=1e-4)
