"""The studies' own networks, and the tables of their runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.common.tasks import lines_of, table_of
from experiments.detection.network import mirrored, small_retinanet
from experiments.segmentation.network import small_unet


def test_boxes_are_mirrored_with_their_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda size: torch.zeros(size))  # both axes, always
    image, given = torch.zeros(3, 10, 20), torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    image[:, 2:8, 1:4] = 1
    picture, target = mirrored(image, {"boxes": given, "labels": torch.tensor([3])})
    assert target["boxes"].tolist() == [[16, 2, 19, 8]]  # 20 - 4, 10 - 8, 20 - 1, 10 - 2
    assert bool(picture[:, 2:8, 16:19].all())
    assert picture.sum() == image.sum()
    assert given.tolist() == [[1, 2, 4, 8]]


def test_the_detector_mirrors_in_training_only() -> None:
    model, images = small_retinanet(), torch.rand(2, 3, 240, 320)
    target = {"boxes": torch.tensor([[10.0, 20.0, 60.0, 70.0]]), "labels": torch.tensor([2])}
    losses = model(images, [target, target])
    assert all(bool(loss.isfinite()) for loss in losses.values())
    prepared, _ = model.eval().transform(list(images), [target, target])
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (model.transform.image_mean, model.transform.image_std)
    )
    assert torch.allclose(prepared.tensors[:, :, :240, :320], (images - mean) / std, atol=1e-5)


def test_a_class_for_each_pixel() -> None:
    assert small_unet(5)(torch.rand(1, 3, 24, 32)).shape == (1, 5, 24, 32)


def _scored(value: float) -> dict[str, Any]:
    return {"val": {"mIoU": value}, "test": {"mIoU": value - 0.1}}


def _cut(value: float, macs: int) -> dict[str, Any]:
    return {**_scored(value), "macs": macs, "params": 40}


def test_a_row_for_every_network(tmp_path: Path) -> None:
    dense = _cut(0.8, 200)
    runs = {
        "dense/train.json": {"metric": "mIoU", "recipe": {"epochs": 3}, "wall_seconds": 9, "seed": 0},
        "longer-seed0/train.json": {
            **_scored(0.9), "metric": "mIoU", "recipe": {"epochs": 2}, "wall_seconds": 4, "seed": 0,
        },
        "searched-price-seed0/summary.json": {
            "baseline": dense, "best": _cut(0.6, 100), "episodes": 1, "wall_seconds": 5,
        },
        "finetuned-price-seed1/summary.json": {
            "baseline": dense, "tuned": _cut(0.7, 100), "settings": {"epochs": 2}, "wall_seconds": 7,
        },
    }  # fmt: skip
    for name, content in runs.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    lines, metric = lines_of(tmp_path)
    rows = table_of(lines, metric).splitlines()
    assert rows[2:] == [
        "| dense | 1 | 80.00 | 70.00 | × 1.000 | × 1.000 | 3 |  | 9 |",
        "| dense, longer | 1 | 90.00 | 80.00 | × 1.000 | × 1.000 | 2 |  | 4 |",
        "| price, nothing trained | 1 | 60.00 | 50.00 | × 0.500 | × 1.000 |  | 1 | 5 |",
        "| price, fine-tuned | 1 | 70.00 | 60.00 | × 0.500 | × 1.000 | 2 |  | 7 |",
    ]
