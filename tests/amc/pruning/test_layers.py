from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from amc.pruning.counting import count_macs
from amc.pruning.layers import frozen_eval, is_cuttable, is_depthwise, kind_of, layer_shapes, record_calls
from amc.pruning.network import Network
from tests.support import nets

IMAGE = torch.zeros(1, 3, 8, 8)


@pytest.mark.parametrize(
    ("layer", "kind", "depthwise", "cuttable"),
    [
        (nn.Conv2d(4, 8, 3), "conv3x3", False, True),
        (nn.Conv2d(4, 8, (1, 7)), "conv1x7", False, True),
        (nn.Conv2d(8, 8, 3, groups=8), "depthwise3x3", True, True),
        (nn.Conv2d(8, 16, 3, groups=8), "depthwise3x3", True, True),
        (nn.Conv2d(8, 16, 3, groups=4), "grouped3x3", False, True),
        (nn.Conv2d(1, 1, 3), "conv3x3", False, True),
        (nn.Linear(4, 8), "linear", False, True),
        (nn.BatchNorm2d(4), "batchnorm2d", False, True),
        (nn.ConvTranspose2d(4, 8, 2), "conv2x2", False, True),
        (nn.ConvTranspose2d(4, 8, 2, groups=2), "grouped2x2", False, False),
        (nn.LayerNorm(4), "layernorm", False, False),
    ],
)
def test_what_layers_are(layer: nn.Module, kind: str, depthwise: bool, cuttable: bool) -> None:
    assert (kind_of(layer), is_depthwise(layer), is_cuttable(layer)) == (kind, depthwise, cuttable)


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Conv2d(3, 5, 3, stride=2, padding=1), (1, 3, 8, 8), 4 * 4 * 9 * 3 * 5),
        (nn.Conv2d(6, 4, 3, groups=2), (1, 6, 5, 5), 3 * 3 * 9 * 3 * 4),
        (nn.Conv2d(6, 6, 3, groups=6), (1, 6, 5, 5), 3 * 3 * 9 * 6),
        (nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1), (1, 3, 4, 4), 4 * 4 * 9 * 3 * 5),
        (nn.Conv1d(3, 5, 3), (1, 3, 8), 6 * 3 * 3 * 5),
        (nn.Linear(7, 5), (1, 4, 7), 4 * 7 * 5),
        (nn.Conv2d(3, 5, 1), (6, 3, 2, 2), 4 * 3 * 5),  # one input of a batch
    ],
)
def test_macs_of_one_layer(layer: nn.Module, shape: tuple[int, ...], macs: int) -> None:
    example = torch.zeros(shape)
    assert count_macs(layer, example) == macs
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(example[:1])
    assert counter.get_total_flops() == 2 * macs


def test_calls_come_in_forward_order() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second, self.first, self.unused = nn.Linear(8, 2), nn.Conv2d(3, 8, 3, 2), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x).mean((2, 3)))

    calls = record_calls(Backwards(), IMAGE)
    assert list(calls) == ["first", "second"]
    assert (calls["first"].positions, calls["first"].height, calls["first"].width) == (9, 3, 3)
    assert (calls["second"].positions, calls["second"].height) == (1, 1)


def test_a_layer_used_twice_costs_twice() -> None:
    shared = nn.Conv2d(4, 4, 1)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), shared, nn.ReLU(), shared)
    shapes, rest = layer_shapes(model, record_calls(model, IMAGE))
    assert {s.name: s.macs_per_pair for s in shapes} == {"0": 64, "1": 128}
    assert rest == {}
    assert count_macs(model, IMAGE) == 64 * 3 * 4 + 2 * 64 * 4 * 4


def test_parameters_outside_the_known_layers_are_the_rest() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))
    assert set(layer_shapes(model, record_calls(model, IMAGE))[1]) == {"1.weight", "1.bias"}


def test_frozen_eval_puts_each_modules_mode_back() -> None:
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2), nn.Dropout()).train()
    model[1].eval()

    def broken() -> None:
        with frozen_eval(model):
            assert not any(m.training for m in model.modules())
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        broken()
    assert [m.training for m in model] == [True, False, True]


def test_macs_agree_with_torchs_own_counter(ready: Network) -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ready.model(ready.example)
    assert counter.get_total_flops() == 2 * count_macs(ready.model, ready.example)
    assert ready.cost_model.cost().macs == count_macs(ready.model, ready.example)


def test_hooks_are_gone_afterwards() -> None:
    model = nets.chain()
    record_calls(model, IMAGE)
    count_macs(model, IMAGE)
    assert not any(m._forward_hooks for m in model.modules())
