"""The networks that the study looks at: by name, what builds each one with random weights, and a small input."""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from experiments.coverage import huggingface
from experiments.coverage.inputs import Built, call, scaled_images

SOURCES = {
    "torchvision": "torchvision, classification",
    "segmentation": "torchvision, segmentation",
    "detection": "torchvision, detection",
    "timm": "timm, the smallest network of each file",
    "hf": "Hugging Face, from tiny configurations",
}
SEGMENTATION = (
    "fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
)  # fmt: skip
DETECTION = {
    "fasterrcnn_resnet50_fpn": 128, "fasterrcnn_resnet50_fpn_v2": 128, "fasterrcnn_mobilenet_v3_large_fpn": 128,
    "retinanet_resnet50_fpn": 128, "fcos_resnet50_fpn": 128, "ssd300_vgg16": 300, "ssdlite320_mobilenet_v3_large": 320,
    "maskrcnn_resnet50_fpn": 128, "keypointrcnn_resnet50_fpn": 128,
}  # fmt: skip
SIZES = (64, 75, 128, 224, 256, 299)  # pixels, tried in this order
RESIZED = ("fasterrcnn", "retinanet", "fcos", "maskrcnn", "keypointrcnn")  # they scale images to 800 pixels themselves


@dataclass(frozen=True)
class Case:
    """A network of the study.

    Attributes:
        name: ``source/network``.
        family: what it is a member of, for people.
        build: the network in evaluation mode, an input that it runs on, and its vocabulary head if it has one.
    """

    name: str
    family: str
    build: Callable[[], Built]

    @property
    def source(self) -> str:
        return self.name.partition("/")[0]


def cases(patterns: Sequence[str] = ()) -> list[Case]:
    """All networks, or those whose name matches one of the patterns (``timm/*``)."""
    found = [*_torchvision(), *_segmentation(), *_detection(), *_timm(), *_huggingface()]
    return [case for case in found if not patterns or any(fnmatch.fnmatch(case.name, p) for p in patterns)]


def _torchvision() -> Iterable[Case]:
    import torchvision

    for name in torchvision.models.list_models(module=torchvision.models):
        family = torchvision.models.get_model_builder(name).__module__.rpartition(".")[2]
        yield Case(f"torchvision/{name}", family, lambda name=name: _classifier(name))


def _segmentation() -> Iterable[Case]:
    from torchvision.models import segmentation

    for name in SEGMENTATION:
        maker = getattr(segmentation, name)
        yield Case(
            f"segmentation/{name}",
            name.partition("_")[0],
            lambda maker=maker: _first([lambda size: _ready(maker(weights=None, weights_backbone=None), size)], SIZES),
        )


def _detection() -> Iterable[Case]:
    for name, size in DETECTION.items():
        yield Case(f"detection/{name}", name.partition("_")[0], lambda name=name, size=size: _detector(name, size))


def _timm() -> Iterable[Case]:
    lines = Path(__file__).with_name("timm.txt").read_text().splitlines()
    for family, name in (line.split() for line in lines if not line.startswith("#")):
        yield Case(f"timm/{name}", family, lambda name=name: _of_timm(name))


def _huggingface() -> Iterable[Case]:
    for name in huggingface.TINY:
        yield Case(f"hf/{name}", name, lambda name=name: huggingface.build(name))


def _classifier(name: str) -> Built:
    import torchvision

    maker = torchvision.models.get_model_builder(name)
    more: Mapping[str, Any] = {}
    if "init_weights" in inspect.signature(inspect.signature(maker).return_annotation).parameters:
        more = {"init_weights": False}  # GoogLeNet and Inception would draw from a slow distribution
    return _first([lambda size: _ready(maker(weights=None, **more), size)], SIZES)


def _detector(name: str, size: int) -> Built:
    from torchvision.models import detection

    more = {"min_size": size, "max_size": size} if name.startswith(RESIZED) else {}
    model = getattr(detection, name)(weights=None, weights_backbone=None, **more).eval()
    example = ([scaled_images(size)[0]],)
    call(model, example)
    return Built(model, example)


def _of_timm(name: str) -> Built:
    import timm

    own = timm.get_pretrained_cfg(name)
    default = own.input_size[-1] if own is not None else 224

    def plain(size: int) -> Built:
        return _ready(timm.create_model(name), size)

    def scaled(size: int) -> Built:
        return _ready(timm.create_model(name, img_size=size), size)

    return _first([plain, scaled], (64, 128, default))


def _ready(model: nn.Module, size: int) -> Built:
    example = scaled_images(size)
    call(model.eval(), example)
    return Built(model, example)


def _first(makers: Sequence[Callable[[int], Built]], sizes: Iterable[int]) -> Built:
    """The first network that can be built and runs, at the smallest size."""
    errors: list[Exception] = []
    for size in sizes:
        for maker in makers:
            try:
                return maker(size)
            except Exception as error:  # the networks' own code may raise anything
                errors.append(error)
    raise errors[-1]
