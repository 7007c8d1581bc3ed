from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from amc.data import ImageSet
from amc.scoring import score

# Logits are the pixels: (0, ln 3) gives probabilities (¼, ¾).
PIXELS = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)], [math.log(3), 0.0]])
IMAGES = ImageSet(PIXELS.view(3, 2, 1, 1), torch.tensor([1, 0, 0]), 2)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_by_arithmetic(dtype: torch.dtype, tolerance: float) -> None:
    right, loss = score(nn.Flatten(), IMAGES, 2, dtype)
    assert int(right.sum()) == 2
    assert loss == pytest.approx((2 * -math.log(0.75) - math.log(0.25)) / 3, abs=tolerance)


def test_outputs_that_are_not_finite_are_wrong_answers() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) * torch.tensor([float("nan"), 1.0])

    assert not score(Broken(), IMAGES, 3)[0].any()
