from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from amc.core.errors import AmcError
from amc.data.images import ImageSet
from amc.data.parts import ROLES
from amc.data.readers import ExampleSplits, load_examples
from tests.support.tokenizers import word_tokenizer

datasets = pytest.importorskip("datasets")


def load(name: str, path: Path, **settings: Any) -> ExampleSplits:
    more = {} if name == "hf_text" else {"cache_dir": path.parent / "cache"}
    return load_examples(name, path, **more, **settings)


def colour(value: int) -> Image.Image:
    return Image.new("RGB", (8, 6), (value, value, value))


def labelled(values: range) -> Any:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    return datasets.Dataset.from_dict(
        {"image": [colour(v) for v in values], "label": [v % 2 for v in values]}, features=features
    )


def test_images_with_labels(tmp_path: Path) -> None:
    parts = {"train": labelled(range(10)), "validation": labelled(range(10, 14)), "test": labelled(range(14, 18))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "data")
    found = load("hf_images", tmp_path / "data")
    assert (found.classes, found.num_classes, found.val_from) == (("cat", "dog"), 2, "val")
    for role, values in zip(ROLES, (range(10), range(10, 14), range(14, 18)), strict=True):
        part = getattr(found, role)
        assert isinstance(part, ImageSet)
        grey = part.images[:, 0, 0, 0].long()
        assert sorted(grey.tolist()) == list(values)
        assert torch.equal(grey % 2, part.labels)


def test_one_set_is_divided(tmp_path: Path) -> None:
    labelled(range(20)).save_to_disk(tmp_path / "data")
    found = load("hf_images", tmp_path / "data", image_size=[4, 5], channels=1, train_examples=3)
    assert [len(getattr(found, role)) for role in ROLES] == [3, 4, 4]
    assert found.train.what == "1×4×5 uint8"


def test_images_with_masks(tmp_path: Path) -> None:
    masks = [Image.fromarray(np.array([[v % 3, 255]] * 2, dtype=np.uint8)) for v in range(20)]
    features = datasets.Features({"image": datasets.Image(), "annotation": datasets.Image()})
    images = [colour(v).resize((2, 2)) for v in range(20)]
    made = datasets.Dataset.from_dict({"image": images, "annotation": masks}, features=features)
    made.save_to_disk(tmp_path / "data")
    found = load("hf_segmentation", tmp_path / "data", mask_column="annotation")
    assert found.num_classes == 3
    targets: Any = found.train.answers
    assert targets[:, 0, 0].tolist() == [int(v) % 3 for v in found.train.raw[:, 0, 0, 0]]  # type: ignore[index]
    assert bool((targets[:, :, 1] == -100).all())


def test_texts(tmp_path: Path) -> None:
    rows = [" ".join(f"w{10 * i + j}" for j in range(10)) for i in range(20)] + [""]
    datasets.Dataset.from_dict({"text": rows}).save_to_disk(tmp_path / "data")
    tokenizer = word_tokenizer(tmp_path / "tokenizer")
    found = load("hf_text", tmp_path / "data", tokenizer=tokenizer, length=4, test_examples=3, val_examples=2)
    # 12 tokens end in the second row, so what is searched on begins with the third; 8 more, then the fourth.
    assert [found.origins[role].split(" of ")[0] for role in ROLES] == ["tokens 30–197", "tokens 20–27", "tokens 0–11"]


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    labelled(range(20)).save_to_disk(tmp_path / "data")
    damaged = tmp_path / "damaged"
    labelled(range(20)).save_to_disk(damaged)
    next(damaged.glob("*.arrow")).write_bytes(b"no arrow")
    (tmp_path / "empty").mkdir()
    datasets.DatasetDict({"moon": labelled(range(3)), "sun": labelled(range(3))}).save_to_disk(tmp_path / "sky")
    negative = datasets.Dataset.from_dict({"image": [colour(0)] * 9, "label": [-1] * 9})
    negative.save_to_disk(tmp_path / "negative")
    for name, folder, settings, message in (
        ("hf_images", tmp_path / "gone", {}, "no such folder"),
        ("hf_images", tmp_path / "empty", {}, "can't be loaded"),
        ("hf_images", damaged, {}, "damaged: can't be loaded"),
        ("hf_images", tmp_path / "sky", {}, "has the splits moon, sun; needed are train"),
        ("hf_images", tmp_path / "data", {"label_column": "kind"}, "dataset.label_column=kind: no such column"),
        ("hf_images", tmp_path / "data", {"image_column": "label"}, "is no column of images"),
        ("hf_images", tmp_path / "negative", {}, "row 0 of .* is -1; class indices are whole numbers from 0"),
        ("hf_segmentation", tmp_path / "data", {}, "dataset.mask_column=mask: no such column"),
        ("hf_text", tmp_path / "data", {"text_column": "label"}, "holds no text but int"),
    ):
        more = {"tokenizer": word_tokenizer(tmp_path / "tokenizer")} if name == "hf_text" else {}
        with pytest.raises(AmcError, match=message) as caught:
            load(name, folder, **more, **settings)
        assert "\n" not in str(caught.value)


def test_paths_in_place_of_images_are_not_opened(tmp_path: Path) -> None:
    """Such a set may be anyone's, and the path one of this machine or an address."""
    colour(0).save(tmp_path / "a.png")
    features = datasets.Features(
        {
            "image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
            "label": datasets.Value("int64"),
        }
    )
    rows = {"image": [{"path": str(tmp_path / "a.png"), "bytes": None}] * 9, "label": [0] * 9}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "data")
    info = tmp_path / "data" / "dataset_info.json"
    data = json.loads(info.read_text())
    data["features"]["image"] = {"_type": "Image"}
    info.write_text(json.dumps(data))
    with pytest.raises(AmcError, match="train, row 0: image holds no image; save it with the images inside"):
        load("hf_images", tmp_path / "data")
