"""A small RetinaNet for BCCD's blood cells: half a billion MACs at 240×320, to be trained from scratch on a CPU."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.models.resnet import BasicBlock
from torchvision.ops import FeaturePyramidNetwork

HEIGHT, WIDTH = 240, 320
WIDTHS, BLOCKS = (24, 48, 96, 128), (1, 2, 2, 1)  # of ResNet's four stages, at strides 4, 8, 16, 32
PYRAMID = 48
HEAD_DEPTH = 2  # convolutions before a head's last, of RetinaNet's four
# Side lengths in pixels at strides 8, 16, 32: platelets are about 20 pixels wide, red cells 50, white cells 95.
ANCHORS = ((16, 20, 25), (40, 50, 63), (80, 100, 125))


class Backbone(nn.Module):
    """A ResNet of few channels with batch norm, and a feature pyramid of its stages at strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        first = WIDTHS[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        entering = (first, *WIDTHS)
        self.stages = nn.ModuleList(
            stage(entering[place], width, blocks, stride=1 if place == 0 else 2)
            for place, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS, strict=True))
        )
        self.pyramid = FeaturePyramidNetwork(list(WIDTHS[1:]), PYRAMID)
        self.out_channels = PYRAMID

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """``[n, 3, h, w]`` → stride → ``[n, PYRAMID, h / stride, w / stride]``."""
        x, found = self.stem(images), OrderedDict()
        for place, layers in enumerate(self.stages):
            x = layers(x)
            if place > 0:
                found[str(4 * 2**place)] = x
        pyramid: OrderedDict[str, Tensor] = self.pyramid(found)
        return pyramid


def stage(entering: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """Residual blocks of two 3×3 convolutions, the first with a projection where size or width change."""
    project = None
    if stride > 1 or entering != width:
        project = nn.Sequential(nn.Conv2d(entering, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    rest = [BasicBlock(width, width) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(entering, width, stride, project), *rest)


class Flips(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Mirrors images with their boxes in training, half of the time along each axis: a training shifts none itself."""

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[ImageList, list[dict[str, Tensor]] | None]:
        if self.training and targets is not None:
            pairs = [mirrored(image, target) for image, target in zip(images, targets, strict=True)]
            images, targets = [image for image, _ in pairs], [target for _, target in pairs]
        found: tuple[ImageList, list[dict[str, Tensor]] | None] = super().forward(images, targets)
        return found


def mirrored(image: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """An image ``[3, h, w]`` and its boxes, each axis mirrored or not by torch's random state."""
    boxes = target["boxes"]
    for axis, (low, high) in ((-1, (0, 2)), (-2, (1, 3))):
        if torch.rand(()) < 0.5:
            image, boxes = image.flip(axis), boxes.clone()
            boxes[:, [low, high]] = image.shape[axis] - boxes[:, [high, low]]
    return image, {**target, "boxes": boxes}


def small_retinanet(num_classes: int = 4) -> RetinaNet:
    """RetinaNet with :class:`Backbone` and heads of two convolutions.

    Args:
        num_classes: with the background, whose number is 0.
    """
    anchors = AnchorGenerator(sizes=ANCHORS, aspect_ratios=((1.0,),) * len(ANCHORS))
    model = RetinaNet(Backbone(), num_classes, anchor_generator=anchors, detections_per_img=100)
    for head in (model.head.classification_head, model.head.regression_head):
        head.conv = head.conv[:HEAD_DEPTH]
        for layer in head.conv.modules():
            if isinstance(layer, nn.Conv2d):  # torchvision's deviation, 0.01, is for 256 channels
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    given = model.transform
    model.transform = Flips(HEIGHT, WIDTH, given.image_mean, given.image_std)
    return model
