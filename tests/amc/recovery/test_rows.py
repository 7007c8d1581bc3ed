from __future__ import annotations

import pytest
import torch
from torch import nn

from amc.recovery.rows import can_reconstruct, flat_outputs, pick_positions, sample_outputs, sample_rows

LAYERS = [
    (nn.Conv2d(3, 5, 3), (3, 8, 9)),
    (nn.Conv2d(3, 5, 3, stride=2, padding=1), (3, 8, 9)),
    (nn.Conv2d(3, 5, (3, 1), stride=(1, 2), padding=(2, 0)), (3, 7, 8)),
    (nn.Conv2d(3, 5, 3, dilation=2, padding="same"), (3, 8, 9)),
    (nn.Conv2d(3, 5, (2, 4), padding="same"), (3, 8, 9)),  # an odd number of zeros: more of them behind
    (nn.Conv2d(3, 5, 3, padding="valid"), (3, 8, 9)),
    (nn.Conv2d(3, 5, 1, bias=False), (3, 4, 4)),
    (nn.Conv1d(3, 5, 3, stride=2, padding=2, dilation=2), (3, 11)),
    (nn.Conv1d(3, 5, 4, padding="same"), (3, 11)),
    (nn.Linear(6, 5), (6,)),
    (nn.Linear(6, 5), (7, 6)),
]


def outputs_of(layer: nn.Module, weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    result = rows @ weight.flatten(1).T
    return result if layer.bias is None else result + layer.bias


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda v: str(v))
@pytest.mark.parametrize("most", [3, 10_000])
@torch.no_grad()
def test_rows_times_weights_are_the_layers_outputs(layer: nn.Module, shape: tuple[int, ...], most: int) -> None:
    x = torch.randn(4, *shape)
    output = layer(x)
    positions = flat_outputs(layer, output, len(output)).shape[1]
    picks = pick_positions(4, positions, most, torch.Generator().manual_seed(0))
    assert picks.shape == (4, min(most, positions))
    rows = sample_rows(layer, x, picks)
    torch.testing.assert_close(outputs_of(layer, layer.weight, rows), sample_outputs(layer, output, picks))


@pytest.mark.parametrize("groups", [2, 6])
@torch.no_grad()
def test_grouped_convolutions_see_their_part_of_the_rows(groups: int) -> None:
    layer = nn.Conv2d(6, 12, 3, padding=1, groups=groups)
    x = torch.randn(2, 6, 5, 5)
    picks = pick_positions(2, 25, 4, torch.Generator())
    parts = sample_rows(layer, x, picks).chunk(groups, dim=1)
    weights, biases = layer.weight.flatten(1).chunk(groups), layer.bias.chunk(groups)
    found = torch.cat([p @ w.T + b for p, w, b in zip(parts, weights, biases, strict=True)], dim=1)
    torch.testing.assert_close(found, sample_outputs(layer, layer(x), picks))


@torch.no_grad()
def test_channels_last_activations_give_the_same_rows() -> None:
    layer, x = nn.Conv2d(3, 5, 3), torch.randn(2, 3, 6, 6)
    picks = pick_positions(2, 16, 5, torch.Generator())
    assert torch.equal(sample_rows(layer, x, picks), sample_rows(layer, x.to(memory_format=torch.channels_last), picks))


def test_picked_positions_are_distinct_and_follow_the_generator() -> None:
    first, same = (pick_positions(50, 20, 8, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, same)
    assert all(len(set(row.tolist())) == 8 for row in first)
    assert int(first.min()) == 0
    assert int(first.max()) == 19
    assert not torch.equal(first[0], first[1])


def test_what_can_be_reconstructed() -> None:
    assert can_reconstruct(nn.Conv2d(3, 5, 3, groups=1))
    assert can_reconstruct(nn.Linear(2, 2))
    assert not can_reconstruct(nn.Conv2d(3, 5, 3, padding=1, padding_mode="reflect"))
    assert not can_reconstruct(nn.ConvTranspose2d(3, 5, 3))
    assert not can_reconstruct(nn.Conv3d(3, 5, 3))
