from __future__ import annotations

from pathlib import Path
from typing import Any

from amc.data.readers import load_examples, read_voc
from experiments.segmentation.make_masks import draw_mask, write
from tests.amc.data.readers.test_boxes import voc_folder


def test_small_ellipses_lie_on_large_ones() -> None:
    mask = draw_mask([[4, 4, 8, 8], [0, 0, 21, 11]], [2, 1], (30, 11))
    assert [mask.getpixel(place) for place in ((15, 5), (5, 5), (25, 5), (0, 0), (0, 5))] == [1, 2, 0, 0, 255]


def test_masks_are_read_back(tmp_path: Path) -> None:
    splits = read_voc(voc_folder(tmp_path / "voc"))
    assert write(splits, tmp_path / "masks") == {"train": 6, "val": 2, "test": 3}
    found = load_examples("segmentation_folder", tmp_path / "masks", cache_dir=tmp_path / "cache")
    assert [len(part) for part in (found.train, found.val, found.test)] == [6, 2, 3]
    targets: Any = found.train.answers
    assert {-100, 0, 1} <= set(targets.unique().tolist())
    assert set(found.train.raw[:, 0, 0, 0].tolist()) == set(splits.train.raw[:, 0, 0, 0].tolist())  # type: ignore[index]
