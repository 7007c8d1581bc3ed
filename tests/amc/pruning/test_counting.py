"""The referee of costs, against arithmetic by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from amc.pruning.counting import count_by_item, count_macs, uncounted_operations
from tests.support.costly import NETWORKS

X = torch.randn(2, 8, 16)  # the second input is not looked at


class Does(nn.Module):
    """A function as a network."""

    def __init__(self, function: Callable[[Tensor], object], *modules: nn.Module) -> None:
        super().__init__()
        self.function, self.modules_used = function, nn.ModuleList(modules)

    def forward(self, x: Tensor) -> object:
        return self.function(x)


def with_module(module: nn.Module) -> Does:
    return Does(module, module)


CELL = nn.LSTMCell(16, 32)
MATRIX = torch.randn(16, 6)


@pytest.mark.parametrize(
    ("name", "network", "macs"),
    [
        ("lstm", with_module(nn.LSTM(16, 32, batch_first=True)), 8 * 4 * 32 * (16 + 32)),
        ("gru", with_module(nn.GRU(16, 32, batch_first=True)), 8 * 3 * 32 * (16 + 32)),
        ("both ways, two layers", with_module(nn.GRU(16, 32, 2, batch_first=True, bidirectional=True)),
         8 * 2 * 3 * 32 * (16 + 32 + 64 + 32)),
        ("cell", Does(lambda x: CELL(x[0])), 8 * 4 * 32 * (16 + 32)),
        ("encoder layer", with_module(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)),
         8 * 16 * 16 * 4 + 2 * 8 * 8 * 16 + 2 * 8 * 16 * 32),
        ("attention", Does(lambda x: F.scaled_dot_product_attention(x, x, x)), 2 * 8 * 8 * 16),
        ("grouped", Does(lambda x: F.conv1d(x, torch.ones(4, 4, 3), groups=2)), 14 * 3 * 4 * 4),
        ("transposed", with_module(nn.ConvTranspose1d(8, 6, 3, stride=2, groups=2)), 16 * 3 * 8 * 6 // 2),
        ("linear", Does(lambda x: F.linear(x, MATRIX.T)), 8 * 16 * 6),
        ("matmul", Does(lambda x: x @ MATRIX), 8 * 16 * 6),
        ("einsum", Does(lambda x: torch.einsum("bij,bkj->bik", x, x)), 8 * 8 * 16),
        ("vector", Does(lambda x: x[0] @ x[0, 0]), 8 * 16),
        ("dot", Does(lambda x: torch.dot(x[0, 0], x[0, 0])), 16),
        ("addbmm", Does(lambda x: torch.addbmm(torch.zeros(8, 6), x, MATRIX[None])), 8 * 16 * 6),
        ("distances", Does(lambda x: torch.cdist(x, x)), 8 * 8 * 16),
        ("bilinear", Does(lambda x: F.bilinear(x, x, torch.ones(6, 16, 16))), 8 * 6 * 16 * 16),
        ("volume", Does(lambda x: F.conv3d(x.view(1, 2, 4, 4, 4), torch.ones(5, 2, 2, 2, 2))), 27 * 8 * 2 * 5),
        ("embedding", Does(lambda x: F.embedding_bag(torch.arange(6)[None], torch.ones(9, 4))), 0),
        ("element-wise", Does(lambda x: F.layer_norm(x.relu() * 2, (16,)).softmax(-1).mean()), 0),
    ],
)  # fmt: skip
def test_macs_by_hand(name: str, network: nn.Module, macs: int) -> None:
    assert count_macs(network, X) == macs
    assert not uncounted_operations(network, X)


@pytest.mark.parametrize("name", ["weighted", "free", "scales", "channel_attention", "gained", "tied", "feed_forward"])
def test_without_fused_paths_it_is_torchs_own_count(name: str) -> None:
    network, x = NETWORKS[name]().eval(), torch.randn(1, 3, 8, 8)
    with FlopCounterMode(display=False) as counter:
        network(x)
    assert counter.get_total_flops() == 2 * count_macs(network, x)


def test_items_add_up_and_bear_their_modules() -> None:
    network, x = NETWORKS["attention"](), torch.randn(1, 3, 8, 8)
    items = count_by_item(network, x)
    assert sum(items.values()) == count_macs(network, x)
    assert items["first", "aten.convolution"] == 64 * 9 * 3 * 16
    assert items["head.inner.attention", "aten.bmm"] == 2 * 64 * 64 * 24
    assert sum(value for (path, _), value in items.items() if path in ("", "head", "head.inner")) == 0


def test_what_nobody_counts_is_named() -> None:
    found = uncounted_operations(NETWORKS["spectrum"](), torch.randn(1, 3, 8, 8))
    assert list(found) == ["aten::_fft_r2c"]
    assert found["aten::_fft_r2c"].calls == 1
    assert 0 < found["aten::_fft_r2c"].time_share < 1


def test_the_network_and_torchs_settings_are_left_as_they_were() -> None:
    network = NETWORKS["encoder_layer"]().train()
    count_macs(network, torch.randn(1, 3, 8, 8))
    assert network.training
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mkldnn.enabled
    assert torch.backends.cuda.flash_sdp_enabled()
