"""Tiny networks, each with one thing that a tracer or a recovery must get right."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def norm_conv(inputs: int, outputs: int, kernel: int = 3, **kwargs: object) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **kwargs)  # type: ignore[arg-type]
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class Classifier(nn.Module):
    """``features``, an average over all positions, ``fc``."""

    def __init__(self, features: nn.Module, channels: int, classes: int = 4) -> None:
        super().__init__()
        self.features = features
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))


class Block(nn.Module):
    def __init__(self, channels: int, inside: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inside, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv2 = nn.Conv2d(inside, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + x)


class Flips(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1)


class Permutes(nn.Module):
    """A channel shuffle by index, which a dependency graph takes for an element-wise operation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.order = torch.arange(channels).view(2, -1).T.flatten().tolist()

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.order]


class ChannelNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def chain(*between: nn.Module) -> Classifier:
    """3 → 8 → 6 → 4 classes; ``between`` stands behind the first convolution."""
    return Classifier(nn.Sequential(norm_conv(3, 8), *between, norm_conv(8, 6)), 6)


def residual() -> Classifier:
    """A stream of 8 channels through two blocks of 6 channels."""
    return Classifier(nn.Sequential(norm_conv(3, 8), Block(8, 6), Block(8, 6)), 8)


def depthwise() -> Classifier:
    return Classifier(nn.Sequential(norm_conv(3, 8), norm_conv(8, 8, groups=8), norm_conv(8, 6, 1)), 6)


def grouped() -> Classifier:
    """1×1 to 12 channels, 3×3 in 3 convolution groups to 12 channels, 1×1 to 6."""
    return Classifier(nn.Sequential(norm_conv(3, 12, 1), norm_conv(12, 12, groups=3), norm_conv(12, 6, 1)), 6)


def flat() -> nn.Sequential:
    """A classifier of two linear layers behind a flatten of 6 channels × 2 × 2."""
    return nn.Sequential(
        norm_conv(3, 6), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(24, 5), nn.ReLU(), nn.Linear(5, 4)
    )


@torch.no_grad()
def enliven(model: nn.Module, images: Tensor) -> nn.Module:
    """Batch norms with random scales and the statistics of ``images``, so that every channel has something to say."""
    for m in model.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.momentum = 1.0
            if m.affine:
                nn.init.uniform_(m.weight, 0.5, 1.5)
                nn.init.normal_(m.bias, 0, 0.2)
            m.train()
    model(images)
    return model.eval()
