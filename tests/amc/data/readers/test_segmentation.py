from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from amc.core.errors import AmcError
from amc.data.examples import ExampleSet
from amc.data.readers import ExampleSplits, Look, Masks, Rule, load_examples, read_segmentation
from tests.support.pictures import mask, picture, segmented


def load(root: Path, **settings: Any) -> ExampleSplits:
    return load_examples("segmentation_folder", root, cache_dir=root.parent / "cache", **settings)


def colours(examples: Any) -> list[int]:
    assert isinstance(examples, ExampleSet)
    assert isinstance(examples.inputs, torch.Tensor)
    return [int(v) for v in examples.inputs[:, 0, 0, 0]]


def test_masks_belong_to_their_images(tmp_path: Path) -> None:
    found = load(segmented(tmp_path / "data", {"train": 6, "val": 3, "test": 3}))
    assert (found.num_classes, found.val_from) == (3, "val")
    assert sorted(colours(found.train)) == [0, 1, 2, 3, 4, 5]
    for part in (found.train, found.val, found.test):
        targets: Any = part.answers
        assert targets.dtype == torch.int64
        assert targets.shape[1:] == (6, 8)
        assert targets[:, 0, 0].tolist() == [value % 3 for value in colours(part)]
        assert bool((targets[:, :, 4:] == -100).all())  # 255 in the file: not judged
    assert "is searched on: 3 examples (val)" in found.line


def test_one_folder_is_divided_by_a_seed(tmp_path: Path) -> None:
    root = segmented(tmp_path / "data", {"": 20})
    first, again, other = (load(root, split_seed=seed) for seed in (0, 0, 1))
    assert [len(p) for p in (first.train, first.val, first.test)] == [12, 4, 4]
    assert sorted(colours(first.train) + colours(first.val) + colours(first.test)) == list(range(20))
    assert first.test.fingerprint() == again.test.fingerprint() != other.test.fingerprint()


def test_folders_may_be_the_other_way_round(tmp_path: Path) -> None:
    root = segmented(tmp_path / "data", {"train": 5, "test": 2})
    for part in ("train", "test"):
        for kind in ("images", "masks"):
            (tmp_path / "turned" / part).mkdir(parents=True, exist_ok=True)
            (root / kind / part).rename(tmp_path / "turned" / part / kind)
    found = load(tmp_path / "turned")
    assert [len(p) for p in (found.train, found.val, found.test)] == [4, 1, 2]


def test_masks_are_resized_by_nearest_pixels_and_borders_ignored(tmp_path: Path) -> None:
    for value in range(6):
        picture(tmp_path / "data" / "images" / f"{value}.png", value, (8, 4))
        mask(tmp_path / "data" / "masks" / f"{value}.png", [[0] * 4 + [7] * 4] * 4)
    found = load(tmp_path / "data", image_size=16)
    targets: Any = found.train.answers
    assert sorted(set(targets.flatten().tolist())) == [-100, 0, 7]  # nothing between 0 and 7
    assert bool((targets[:, 8:] == -100).all())
    assert targets[0, 0].tolist() == [0] * 8 + [7] * 8


def test_binary_masks(tmp_path: Path) -> None:
    for value in range(6):
        picture(tmp_path / "data" / "images" / f"{value}.png", value, (2, 1))
        mask(tmp_path / "data" / "masks" / f"{value}.png", [[0, 255]])
    with pytest.raises(AmcError, match=r"class 0 and ignored pixels .255. alone; give dataset.binary=true"):
        load(tmp_path / "data")
    found = load(tmp_path / "data", binary=True)
    assert found.num_classes == 2
    assert torch.equal(found.val.answers, torch.tensor([[[0, 1]]]))  # type: ignore[arg-type]


def test_from_python_and_by_name_are_the_same(tmp_path: Path) -> None:
    root = segmented(tmp_path / "data", {"train": 6, "test": 3})
    look = Look((6, 6), "stretch", 1)
    direct = read_segmentation(root, Rule(val_share=0.5), look, Masks(num_classes=9))
    named = load(root, val_share=0.5, image_size=6, fit="stretch", channels=1, num_classes=9)
    assert direct.num_classes == named.num_classes == 9
    assert direct.val.fingerprint() == named.val.fingerprint()
    assert direct.train.what == "1×6×6 uint8"


def test_images_that_are_in_two_parts_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = segmented(tmp_path / "data", {"train": 6, "val": 3, "test": 3})
    load(root)
    assert caplog.text == ""
    for kind in ("images", "masks"):
        (root / kind / "test" / "copy.png").write_bytes((root / kind / "val" / "7.png").read_bytes())
    load(root)
    assert "test: 1 of its images are also in val, so the report is not of new ones" in caplog.text


def no_mask(root: Path) -> None:
    (root / "masks" / "train" / "1.png").unlink()


def no_image(root: Path) -> None:
    (root / "images" / "test" / "6.png").unlink()


def no_folder(root: Path) -> None:
    (root / "masks").rename(root / "labels")


def damaged(root: Path) -> None:
    file = root / "masks" / "train" / "1.png"
    file.write_bytes(file.read_bytes()[:50])


def coloured(root: Path) -> None:
    picture(root / "masks" / "train" / "1.png", 3)


def other_size(root: Path) -> None:
    mask(root / "masks" / "train" / "1.png", [[0, 1]])


def other_sizes(root: Path) -> None:
    picture(root / "images" / "train" / "1.png", 1, (2, 1))
    other_size(root)


@pytest.mark.parametrize(
    ("harm", "settings", "message"),
    [
        (no_mask, {}, "image .*train/1.png: no mask of this name"),
        (no_image, {}, "mask .*test/6.png: no image of this name"),
        (no_folder, {}, "masks/train: no such folder. It needs images/ and masks/"),
        (damaged, {}, "train/1.png: can't be read"),
        (coloured, {}, r"mask .*1.png: is an image of colours .*\(mode RGB\)"),
        (other_size, {}, "mask .*1.png: 2×1 pixels, its image has 8×6"),
        (other_sizes, {}, "pixels, .* has .*; give dataset.image_size"),
        (None, {"num_classes": 2}, r"dataset.num_classes=2: mask .*/[25].png holds the class 2"),
        (None, {"num_classes": 1}, "dataset.num_classes=1: give a whole number in"),
        (None, {"classes": 1}, "dataset.classes: unknown; give one of val_from"),
        (None, {"mean": [0.5]}, "dataset.mean=.*: give a list of 3"),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, harm: Callable[[Path], None] | None, settings: dict[str, Any], message: str
) -> None:
    root = segmented(tmp_path / "data", {"train": 6, "test": 3})
    if harm is not None:
        harm(root)
    with pytest.raises(AmcError, match=message) as caught:
        load(root, **settings)
    assert "\n" not in str(caught.value)


def test_masks_larger_than_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = segmented(tmp_path / "data", {"train": 6, "test": 3})
    monkeypatch.setattr("amc.core.memory.free_bytes", lambda: 100)
    with pytest.raises(AmcError, match="masks of 8×6 pixels: takes about"):
        load(root)
