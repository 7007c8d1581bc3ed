"""VGG-16 for 32×32 images: batch norm after every convolution and one linear layer as the classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class CifarVGG(nn.Module):
    """Stages of 3×3 convolutions with a max-pool after each. Output logits ``[n, num_classes]``."""

    def __init__(self, stages: tuple[tuple[int, ...], ...] = STAGES, num_classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in stages:
            for width in stage:
                conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # [n, 512, h / 32, w / 32]
        logits: Tensor = self.classifier(torch.flatten(self.avgpool(x), 1))
        return logits


def vgg16(num_classes: int = 10) -> CifarVGG:
    return CifarVGG(num_classes=num_classes)
