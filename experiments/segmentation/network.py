"""A small U-Net with batch norm, to be trained from scratch on a CPU in minutes."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (12, 24, 48, 64)  # channels at full resolution, a half, a quarter, an eighth


def convolution(entering: int, width: int) -> nn.Sequential:
    """3×3, batch norm, ReLU."""
    return nn.Sequential(nn.Conv2d(entering, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


class UNet(nn.Module):
    """Down by max pooling, up by nearest pixels, beside what was there on the way down (Ronneberger et al. 2015)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        pairs = list(pairwise(WIDTHS))
        self.first = nn.Sequential(convolution(3, WIDTHS[0]), convolution(WIDTHS[0], WIDTHS[0]))
        self.down = nn.ModuleList(nn.Sequential(convolution(low, high), convolution(high, high)) for low, high in pairs)
        self.up = nn.ModuleList(
            nn.Sequential(convolution(low + high, low), convolution(low, low)) for low, high in reversed(pairs)
        )
        self.classes = nn.Conv2d(WIDTHS[0], num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """``[n, 3, h, w]`` → logits ``[n, num_classes, h, w]``; h and w are multiples of 8."""
        x = self.first(images)
        passed = []
        for layers in self.down:
            passed.append(x)
            x = layers(F.max_pool2d(x, 2))
        for layers, beside in zip(self.up, reversed(passed), strict=True):
            x = layers(torch.cat([F.interpolate(x, scale_factor=2.0), beside], 1))
        logits: Tensor = self.classes(x)
        return logits


def small_unet(num_classes: int = 4) -> UNet:
    """:class:`UNet`, for :func:`amc.models.build`."""
    return UNet(num_classes)
