"""A tiny network and examples for every task."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from amc.data import ExampleSet
from tests.support.attentive import LANGUAGE

X = torch.randn(48, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Made = tuple[nn.Module, ExampleSet, ExampleSet]


class Several(nn.Module):
    """One body, and as many numbers as asked for."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3))
        self.head = nn.Linear(8, numbers)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).relu().mean((2, 3)))  # type: ignore[no-any-return]


class Pixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head, self.aux = nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.body(x)
        return {"aux": self.aux(features), "out": self.head(features)}


class Two(nn.Module):
    """Two inputs by name, and a tuple for an output."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Several(6)
        self.head = nn.Linear(12, 2)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, int]:
        return self.head(torch.cat([self.body(left), self.body(right)], 1).relu()), 1


def split(inputs: Any, targets: Any = None, at: int = 24) -> tuple[ExampleSet, ExampleSet]:
    whole = ExampleSet(inputs, targets)
    return whole.take(at), whole.select(torch.arange(at, len(whole)))


def regression() -> Made:
    return Several(2), *split(X, 3 * X.mean((2, 3))[:, :2])


def multilabel() -> Made:
    return Several(3), *split(X, (X.mean((2, 3)) > 0).float())


def segmentation() -> Made:
    masks = (X[:, 0] > 0).to(torch.uint8)
    masks[:, 0] = 255
    return Pixels(), *split(X, masks)


def two_inputs() -> Made:
    labels = (X.mean((1, 2, 3)) > 0).long()
    return Two(), *split({"left": X, "right": X.flip(0)}, labels)


def language() -> Made:
    hf = pytest.importorskip("transformers", reason="the extra [transformers] is not installed")
    generator = torch.Generator().manual_seed(0)
    tokens = (torch.arange(12) * torch.randint(1, 4, (32, 1), generator=generator)) % 37 + 3
    mask = torch.ones_like(tokens)
    mask[::4, 9:] = 0
    model = hf.LlamaForCausalLM(hf.LlamaConfig(**LANGUAGE, num_key_value_heads=2))
    return model, *split({"input_ids": tokens, "attention_mask": mask}, at=16)


def detection() -> Made:
    boxes = [torch.tensor([[4.0 + i, 4.0, 20.0 + i, 24.0]]) for i in range(6)]
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3
    )
    return model, *split(images, tuple({"boxes": b, "labels": torch.ones(1).long()} for b in boxes), at=3)


MADE = {
    "regression": regression,
    "multilabel": multilabel,
    "segmentation": segmentation,
    "classification": two_inputs,
    "language_modelling": language,
}


def made(task: str) -> Made:
    """A network with random weights, training and validation examples."""
    torch.manual_seed(0)
    return MADE[task]()
