"""ResNets for 32×32 images (He et al. 2016 §4.2) with option-A shortcuts, and the same networks without shortcuts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PadShortcut(nn.Module):
    """Option A: every second row and column, new channels zero, half of them on each side. No parameters."""

    def __init__(self, new_channels: int) -> None:
        super().__init__()
        self.before = new_channels // 2
        self.after = new_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))  # [n, c + new, h / 2, w / 2]


class BasicBlock(nn.Module):
    """Two 3×3 convolutions; the block's input is added before the last ReLU unless ``residual`` is off."""

    def __init__(self, in_channels: int, channels: int, stride: int, residual: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.residual = residual
        self.shortcut = nn.Identity() if stride == 1 else PadShortcut(channels - in_channels)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.shortcut(x) if self.residual else None  # first: recovery then fits the branch to it
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out if shortcut is None else out + shortcut)


class CifarResNet(nn.Module):
    """A 3×3 stem and three stages of 16, 32 and 64 channels with ``blocks`` basic blocks each.

    Depth is 6 · ``blocks`` + 2. Input ``[n, 3, h, w]``, output logits ``[n, num_classes]``. Parameter names are
    those of akamaster/pytorch_resnet_cifar10, so its checkpoints load.
    """

    def __init__(self, blocks: int, num_classes: int = 10, residual: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, 1, residual)
        self.layer2 = self._stage(16, 32, blocks, 2, residual)
        self.layer3 = self._stage(32, 64, blocks, 2, residual)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    @staticmethod
    def _stage(in_channels: int, channels: int, blocks: int, stride: int, residual: bool) -> nn.Sequential:
        first = BasicBlock(in_channels, channels, stride, residual)
        return nn.Sequential(first, *(BasicBlock(channels, channels, 1, residual) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))  # [n, 16, h, w]
        x = self.layer3(self.layer2(self.layer1(x)))  # [n, 64, h / 4, w / 4]
        x = torch.flatten(self.avgpool(x), 1)  # [n, 64]
        logits: Tensor = self.linear(x)
        return logits


def resnet20(num_classes: int = 10) -> CifarResNet:
    return CifarResNet(3, num_classes)


def resnet32(num_classes: int = 10) -> CifarResNet:
    return CifarResNet(5, num_classes)


def resnet44(num_classes: int = 10) -> CifarResNet:
    return CifarResNet(7, num_classes)


def resnet56(num_classes: int = 10) -> CifarResNet:
    return CifarResNet(9, num_classes)


def resnet110(num_classes: int = 10) -> CifarResNet:
    return CifarResNet(18, num_classes)


def plain20(num_classes: int = 10) -> CifarResNet:
    """ResNet-20 without its shortcuts, the plain network of He et al. 2016 §4.2."""
    return CifarResNet(3, num_classes, residual=False)
