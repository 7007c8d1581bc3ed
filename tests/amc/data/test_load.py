from __future__ import annotations

import io
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from amc.core.errors import AmcError
from amc.data import ImageSet, Splits, load_dataset
from amc.data.decode import decode_cached
from amc.data.form import Form
from amc.data.order import fixed_order


def make_folder(root: Path, parts: dict[str, int], classes: tuple[str, ...] = ("cat", "dog"), size: int = 6) -> Path:
    """Image folders in which every image has its own grey value: no two files of one tree are equal."""
    value = 0
    for part, count in parts.items():
        for name in classes:
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (size, size), (value, value, value)).save(folder / f"{index}.png")
                value += 1
    return root


def values(images: ImageSet) -> set[bytes]:
    return {image.numpy().tobytes() for image in images.images}


def disjoint(splits: Splits) -> bool:
    parts = [values(s) for s in (splits.train, splits.val, splits.test)]
    return len(set.union(*parts)) == sum(map(len, parts))


def test_fixed_order_never_changes() -> None:
    assert fixed_order(8).tolist() == [6, 2, 1, 7, 3, 0, 5, 4]


def test_digits() -> None:
    splits = load_dataset("digits", val_images=360)
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [1077, 360, 360]
    assert splits.train.shape == (3, 8, 8)
    assert splits.num_classes == 10
    assert disjoint(splits)
    for part in (splits.train, splits.val.take(100), splits.test.take(100)):
        assert set(part.labels.tolist()) == set(range(10))
    again = load_dataset("digits", val_images=360)
    assert again.test.fingerprint() == splits.test.fingerprint()


def test_digits_are_normalised() -> None:
    pixels = load_dataset("digits", val_images=360).train.normalised()
    assert abs(float(pixels.mean())) < 0.01
    assert abs(float(pixels.std()) - 1) < 0.01


@pytest.mark.parametrize("val_from", ["train", "test"])
def test_splits_never_overlap(tmp_path: Path, val_from: str) -> None:
    root = make_folder(tmp_path / "data", {"train": 20, "test": 10})
    splits = load_dataset("imagefolder", root, val_from=val_from, val_images=8, cache_dir=tmp_path / "cache")
    sizes = {"train": [32, 8, 20], "test": [40, 8, 10]}
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == sizes[val_from]
    assert disjoint(splits)
    # Where validation images come from must not change which images may be reported on.
    other = load_dataset("imagefolder", root, val_from="train", val_images=8, cache_dir=tmp_path / "cache")
    assert values(splits.test) <= values(other.test)


def test_limits_never_move_an_image_to_another_split(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "data", {"train": 20, "test": 10})
    for val_from in ("train", "test"):
        full = load_dataset("imagefolder", root, val_from=val_from, val_images=8, cache_dir=tmp_path / "cache")
        few = load_dataset(
            "imagefolder",
            root,
            val_from=val_from,
            val_images=8,
            train_images=5,
            test_images=3,
            cache_dir=tmp_path / "c",
        )
        assert (len(few.train), len(few.test)) == (5, 3)
        assert torch.equal(few.train.images, full.train.images[:5])
        assert torch.equal(few.val.images, full.val.images)
        assert torch.equal(few.test.images, full.test.images[:3])


def test_auto_takes_validation_from_unseen_images(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "a", {"train": 10, "test": 10})
    for imported, expected in ((False, "train"), (True, "test")):
        splits = load_dataset(
            "imagefolder", root, val_images=4, imported_weights=imported, cache_dir=tmp_path / "cache"
        )
        assert splits.val_from == expected
    root = make_folder(tmp_path / "b", {"train": 10, "val": 3, "test": 5})
    splits = load_dataset("imagefolder", root, imported_weights=True, cache_dir=tmp_path / "cache")
    assert splits.val_from == "val"
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [20, 6, 10]
    assert disjoint(splits)


def test_labels_belong_to_their_images(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "data", {"train": 20, "test": 10})
    splits = load_dataset("imagefolder", root, val_from="train", val_images=4, cache_dir=tmp_path / "cache")
    for images, first_dog in ((splits.train, 20), (splits.val, 20), (splits.test, 50)):
        grey = images.images[:, 0, 0, 0].long()
        assert torch.equal((grey >= first_dog).long(), images.labels)


def test_decodes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder(tmp_path / "data", {"train": 6, "test": 4})
    calls: list[tuple[int, int]] = []

    def load() -> Splits:
        calls.clear()
        return load_dataset(
            "imagefolder", root, val_images=4, cache_dir=tmp_path / "cache", progress=lambda *c: calls.append(c)
        )

    first = load()
    assert calls == [(12, 12), (8, 8)]
    assert load().train.fingerprint() == first.train.fingerprint()
    assert calls == []
    for file in (tmp_path / "cache" / "images").iterdir():
        file.write_bytes(file.read_bytes()[:-10])
    assert load().train.fingerprint() == first.train.fingerprint()
    assert calls == [(12, 12), (8, 8)]
    Image.new("RGB", (6, 6), (200, 0, 0)).save(root / "test" / "cat" / "0.png")
    assert values(load().test) != values(first.test)
    assert calls == [(8, 8)]


def test_the_cache_knows_images_by_their_content(tmp_path: Path) -> None:
    """Two data sets, or two splits, whose files have the same names, sizes and times."""
    found = []
    for name, value in (("first", 10), ("second", 20)):
        for part in ("train", "test"):
            for kind in ("cat", "dog"):
                folder = tmp_path / name / part / kind
                folder.mkdir(parents=True)
                for index in range(4):
                    file = folder / f"{index}.ppm"
                    grey = value + (part == "test")
                    Image.new("RGB", (6, 6), (grey, grey, grey)).save(file)
                    os.utime(file, (0, 0))
        splits = load_dataset("imagefolder", tmp_path / name, val_images=2, cache_dir=tmp_path / "cache")
        found += [int(splits.train.images[0, 0, 0, 0]), int(splits.test.images[0, 0, 0, 0])]
    assert found == [10, 11, 20, 21]


def test_a_file_that_vanished_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AmcError, match=r"^image \S+gone\.png: can't be read \(No such file"):
        decode_cached([tmp_path / "gone.png"], Form(), tmp_path)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "data", {"train": 6, "test": 4})
    (tmp_path / "cache").write_text("a file in the folder's place")
    assert len(load_dataset("imagefolder", root, val_images=4, cache_dir=tmp_path / "cache").train) == 8


def test_resizes_and_crops_the_centre(tmp_path: Path) -> None:
    wide = np.zeros((80, 160, 3), dtype=np.uint8)
    wide[:, 40:120] = 255  # the middle square
    for part in ("train", "test"):
        for name in ("a", "b"):
            folder = tmp_path / "data" / part / name
            folder.mkdir(parents=True)
            for index in range(2):
                Image.fromarray(wide).save(folder / f"{index}.png")
    splits = load_dataset("imagefolder", tmp_path / "data", val_images=1, image_size=70, cache_dir=tmp_path / "cache")
    assert splits.train.shape == (3, 70, 70)
    assert splits.train.images.min() == 255  # 80 → 80 pixels, then the middle 70 of 160: inside the square


def write_pipe(path: Path) -> None:
    os.mkfifo(path)


def write_socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)


def write_broken_link(path: Path) -> None:
    path.symlink_to("nowhere.png")


def write_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def write_half(path: Path) -> None:
    whole = io.BytesIO()
    Image.effect_noise((6, 6), 50).save(whole, "png")
    path.write_bytes(whole.getvalue()[: whole.tell() // 2])


def write_deep(path: Path) -> None:
    Image.new("I;16", (6, 6), 300).save(path)


def write_wide(path: Path) -> None:
    Image.new("RGB", (9, 6)).save(path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_pipe, "0.png: is no file but a pipe, socket, device or broken link; remove it"),
        (write_socket, "0.png: is no file"),
        (write_broken_link, "0.png: is no file"),
        (write_device, "0.png: is no file"),
        (write_half, "0.png: can't be read"),
        (write_deep, "0.png: has more than 8 bits a colour"),
        (write_wide, "pixels, .*; give dataset.image_size"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_what_lies_among_the_images_is_named(
    tmp_path: Path, split: str, write: Callable[[Path], None], message: str
) -> None:
    root = make_folder(tmp_path / "data", {"train": 3, "test": 2})
    (root / split / "cat" / "0.png").unlink()
    write(root / split / "cat" / "0.png")
    (root / split / "cat" / "folder.png").mkdir()
    with pytest.raises(AmcError, match=message) as caught:
        load_dataset("imagefolder", root, val_images=2, cache_dir=tmp_path / "cache")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("split", ["train", "test", "val"])
def test_a_split_of_another_size_is_named(tmp_path: Path, split: str) -> None:
    root = make_folder(tmp_path / "data", {"train": 3, "test": 2, "val": 2})
    for file in (root / split).rglob("*.png"):
        Image.open(file).resize((9, 9)).save(file)
    sizes = ("9×9", "6×6") if split != "train" else ("6×6", "9×9")
    message = f"image .*: {sizes[0]} pixels, .*train.* has {sizes[1]}; give dataset.image_size"
    with pytest.raises(AmcError, match=message):
        load_dataset("imagefolder", root, cache_dir=tmp_path / "cache")
    resized = load_dataset("imagefolder", root, cache_dir=tmp_path / "cache", image_size=6)
    assert resized.train.shape == resized.test.shape == resized.val.shape == (3, 6, 6)


def test_one_class_is_none(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "data", {"train": 3, "test": 2})
    for split in ("train", "test"):
        shutil.rmtree(root / split / "dog")
    with pytest.raises(AmcError, match="train: only one class folder, 'cat'; images of two or more classes are needed"):
        load_dataset("imagefolder", root, val_images=2, cache_dir=tmp_path / "cache")


def test_wrong_folders_are_one_line(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "data", {"train": 3, "test": 2})
    (make_folder(tmp_path / "empty", {"train": 3, "test": 2}) / "train" / "eel").mkdir()
    (make_folder(tmp_path / "odd", {"train": 3, "test": 2}) / "test" / "dog").rename(tmp_path / "odd" / "test" / "eel")
    (make_folder(tmp_path / "broken", {"train": 3, "test": 2}) / "train" / "cat" / "1.png").write_bytes(b"no image")
    Image.new("RGB", (9, 9)).save(make_folder(tmp_path / "sizes", {"train": 3, "test": 2}) / "train" / "cat" / "1.png")
    (tmp_path / "flat" / "train").mkdir(parents=True)
    (tmp_path / "flat" / "test").mkdir()
    for name, folder, options, message in (
        ("cifar11", None, {}, "dataset=cifar11: unknown; give one of digits, cifar10, imagenet, imagefolder"),
        ("imagenet", None, {}, "needs dataset.root=FOLDER. ImageNet needs train/ and val/"),
        ("imagefolder", tmp_path / "no", {}, f"dataset.root={tmp_path / 'no'}: no such folder"),
        ("imagenet", root, {}, "no folder 'val'. ImageNet needs train/ and val/ with a folder per class."),
        ("imagefolder", root / "train", {}, "no folder 'train'"),
        ("imagefolder", tmp_path / "flat", {}, "no class folders"),
        ("imagefolder", tmp_path / "empty", {}, "eel: no images"),
        ("imagefolder", tmp_path / "odd", {}, "class folder 'dog'"),
        ("imagefolder", tmp_path / "broken", {}, "1.png: can't be read"),
        ("imagefolder", tmp_path / "sizes", {}, "give dataset.image_size"),
        ("imagefolder", root, {"val_images": 6}, "dataset.val_images=6: there are only 6"),
        ("imagefolder", root, {"val_images": None}, "dataset.val_images=null"),
        (
            "imagefolder",
            root,
            {"val_images": 0},
            "dataset.val_images=0: give a whole number of at least 1, or null",
        ),
        ("imagefolder", root, {"val_images": "abc"}, "dataset.val_images=abc: give a whole number of at least 1"),
        ("imagefolder", root, {"image_size": "x"}, "dataset.image_size=x: give a whole number in [1, 4096]"),
        ("imagefolder", root, {"mean": [0.5]}, "dataset.mean=[0.5]: give a list of 3, such as dataset.mean="),
        ("imagefolder", root, {"mean": 0.5}, "dataset.mean=0.5: give a list of 3"),
        ("imagefolder", root, {"std": [1, 0, 1]}, "dataset.std=0: give a number above 0"),
        ("imagefolder", root, {"size": 3}, "dataset.size: unknown; give one of name, root, val_from"),
        ("imagefolder", root, {"val_from": "val"}, "needs dataset=imagefolder with train/, val/ and test/"),
        ("imagefolder", root, {"val_from": "moon"}, "dataset.val_from=moon"),
        ("imagefolder", root, {"image_size": 0}, "dataset.image_size=0"),
    ):
        arguments = {"val_images": 2, "cache_dir": tmp_path / "cache", **options}
        with pytest.raises(AmcError) as caught:
            load_dataset(name, folder, **arguments)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_images_larger_than_memory_are_refused_before_they_take_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(tmp_path, {"train": 4, "test": 2})
    monkeypatch.setattr("amc.core.memory.free_bytes", lambda: 1 << 30)
    with pytest.raises(AmcError, match=r"^dataset.image_size=4096: takes about \S+ GiB of memory, 1 GiB are free; "):
        load_dataset("imagefolder", root, val_images=2, image_size=4096, cache_dir=tmp_path / "cache")


def write_parts(root: Path, mode: str, value: int, size: tuple[int, int] = (8, 4)) -> Path:
    """Four images for each split, in two classes."""
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(2):
                Image.new(mode, size, value + index).save(folder / f"{index}.png")
    return root


def test_grey_images_of_8_and_16_bits(tmp_path: Path) -> None:
    settings = {"channels": 1, "val_images": 1, "mean": [0.5], "std": [0.25], "cache_dir": tmp_path / "cache"}
    shallow = load_dataset("imagefolder", write_parts(tmp_path / "8", "L", 254), **settings)
    assert shallow.train.shape == (1, 4, 8)
    assert shallow.train.images.dtype == torch.uint8
    assert set(shallow.test.images.flatten().tolist()) == {254, 255}
    for _ in range(2):  # decoded, then from the cache
        deep = load_dataset("imagefolder", write_parts(tmp_path / "16", "I;16", 65534), **settings)
        assert deep.train.shape == (1, 4, 8)
        # (65535 / 65535 − 0.5) / 0.25 = 2
        torch.testing.assert_close(deep.test.normalised().max(), torch.tensor(2.0))
        shutil.rmtree(tmp_path / "16")
    with pytest.raises(AmcError, match=r"dataset.mean=\[0.5\]: give a list of 3"):
        load_dataset("imagefolder", tmp_path / "8", **{**settings, "channels": 3})


def test_images_that_are_not_square(tmp_path: Path) -> None:
    root = write_parts(tmp_path / "data", "RGB", 0, (40, 10))
    for fit in ("crop", "pad", "stretch"):
        splits = load_dataset(
            "imagefolder", root, val_images=1, image_size=[20, 30], fit=fit, cache_dir=tmp_path / "cache"
        )
        assert splits.test.shape == (3, 20, 30)
