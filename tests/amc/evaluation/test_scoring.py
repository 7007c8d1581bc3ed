from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from amc.data import ImageSet
from amc.evaluation.scoring import score, score_until

# Logits are the pixels: (0, ln 3) gives probabilities (¼, ¾).
PIXELS = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)], [math.log(3), 0.0]])
IMAGES = ImageSet(PIXELS.view(3, 2, 1, 1), torch.tensor([1, 0, 0]), 2)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_by_arithmetic(dtype: torch.dtype, tolerance: float) -> None:
    seen = score(nn.Flatten(), IMAGES, 2, dtype)
    assert isinstance(seen.worth, torch.Tensor)
    assert int(seen.worth.sum()) == 2
    assert seen.loss == pytest.approx((2 * -math.log(0.75) - math.log(0.25)) / 3, abs=tolerance)


def test_outputs_that_are_not_finite_are_wrong_answers() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) * torch.tensor([float("nan"), 1.0])

    seen = score(Broken(), IMAGES, 3)
    assert isinstance(seen.worth, torch.Tensor)
    assert not seen.worth.any()


def test_image_by_image_and_no_further_than_needed() -> None:
    seen = []

    def enough(right: torch.Tensor) -> bool:
        seen.append(right.tolist())
        return len(seen) == 2

    images = ImageSet(PIXELS.repeat(2, 1).view(6, 2, 1, 1), torch.tensor([1, 0, 0]).repeat(2), 2)
    right, losses = score_until(nn.Flatten(), images, 2, torch.float32, enough)
    assert seen == [[True, False], [True, True]]
    assert right.tolist() == [True, False, True, True]
    expected = [-math.log(p) for p in (0.75, 0.25, 0.75, 0.75)]
    assert losses.tolist() == pytest.approx(expected)
    whole, _ = score_until(nn.Flatten(), images, 4, torch.float32, lambda right: False)
    assert torch.equal(whole, score(nn.Flatten(), images, 4).worth)
