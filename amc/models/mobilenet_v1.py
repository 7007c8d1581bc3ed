"""MobileNetV1 (Howard et al. 2017, table 1): depthwise-separable convolutions only, no residual streams."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEM_CHANNELS = 32
# Output channels and stride of each depthwise-separable pair.
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


def _conv(in_channels: int, channels: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


class MobileNetV1(nn.Module):
    """``width`` multiplies every channel count. Input ``[n, 3, h, w]``, output logits ``[n, num_classes]``."""

    def __init__(self, num_classes: int = 1000, width: float = 1.0) -> None:
        super().__init__()
        channels = max(8, int(STEM_CHANNELS * width))
        layers = _conv(3, channels, 3, 2)
        for base, stride in BLOCKS:
            out = max(8, int(base * width))
            layers += _conv(channels, channels, 3, stride, groups=channels) + _conv(channels, out, 1, 1)
            channels = out
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # [n, 1024 · width, h / 32, w / 32]
        logits: Tensor = self.classifier(torch.flatten(self.avgpool(x), 1))
        return logits


def mobilenet_v1(num_classes: int = 1000, width: float = 1.0) -> MobileNetV1:
    return MobileNetV1(num_classes, width)
