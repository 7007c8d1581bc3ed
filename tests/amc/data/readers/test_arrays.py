from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amc.core.errors import AmcError
from amc.data.images import ImageSet
from amc.data.parts import ROLES
from amc.data.readers import ExampleSplits, load_examples


def load(path: Path, **settings: Any) -> ExampleSplits:
    return load_examples("npz", path, **settings)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def grey(n: int, first: int = 0) -> Any:
    """Images [n, 5, 4] whose pixels all are the image's number."""
    return np.broadcast_to(np.arange(first, first + n, dtype=np.uint8)[:, None, None], (n, 5, 4))


def test_images_by_part_as_medmnist_names_them(tmp_path: Path) -> None:
    file = saved(
        tmp_path,
        train_images=grey(6), train_labels=np.arange(6, dtype=np.uint8) % 3,
        val_images=grey(3, 6), val_labels=np.arange(6, 9, dtype=np.uint8) % 3,
        test_images=grey(3, 9), test_labels=np.arange(9, 12, dtype=np.uint8) % 3,
    )  # fmt: skip
    found = load(file, mean=[0.0], std=[1.0])
    assert (found.num_classes, found.val_from) == (3, "val")
    for role, values in zip(ROLES, (range(6), range(6, 9), range(9, 12)), strict=True):
        part = getattr(found, role)
        assert isinstance(part, ImageSet)
        assert part.shape == (1, 5, 4)
        numbers = part.images[:, 0, 0, 0].long()
        assert sorted(numbers.tolist()) == list(values)
        assert torch.equal(numbers % 3, part.labels)
    assert found.for_commands().num_classes == 3


def test_names_as_keras_has_them_and_channels_last(tmp_path: Path) -> None:
    colour = np.zeros((8, 5, 4, 3), dtype=np.uint8)
    colour[..., 2] = 200
    labels = np.arange(8) % 2
    file = saved(tmp_path, x_train=colour, y_train=labels, x_test=colour, y_test=labels)
    found = load(file, inputs=["x"], targets="y")
    assert isinstance(found.train, ImageSet)
    assert found.train.shape == (3, 5, 4)
    assert found.train.images[0, :, 0, 0].tolist() == [0, 0, 200]


def test_signals_are_standardised_by_the_training_examples(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(7, 3, (40, 2, 16))
    x[:, 1] = 5  # never changes
    found = load(saved(tmp_path, x=x, y=rng.normal(size=40)), inputs=["x"], targets="y", standardise=True)
    assert [len(getattr(found, role)) for role in ROLES] == [24, 8, 8]
    train: Any = found.train.raw
    assert train.dtype == torch.float32
    assert abs(float(train[:, 0].mean())) < 1e-5
    assert abs(float(train[:, 0].std(correction=0)) - 1) < 1e-5
    assert float(train[:, 1].abs().max()) == 0
    assert abs(float(found.test.raw[:, 0].mean())) > 1e-4  # type: ignore[index] # not by its own mean
    assert found.train.answers.shape == (24, 1)  # type: ignore[union-attr] # as a network gives it
    assert found.num_classes == 0
    assert len(found.facts["standardised"]["input"]["mean"]) == 2


def test_several_inputs_go_by_name(tmp_path: Path) -> None:
    ids = np.arange(40).reshape(20, 2).astype(np.uint16)
    file = saved(tmp_path, ids=ids, weights=ids / 40, wanted=np.ones((20, 3), dtype=bool))
    found = load(file, inputs=["ids", "weights"], targets="wanted")
    inputs: Any = found.train.raw
    assert {name: tensor.dtype for name, tensor in inputs.items()} == {"ids": torch.int64, "weights": torch.float32}
    torch.testing.assert_close(inputs["weights"] * 40, inputs["ids"].float())
    assert found.train.answers.dtype == torch.float32  # type: ignore[union-attr] # several truth values each


def test_an_axis_for_one_channel(tmp_path: Path) -> None:
    file = saved(tmp_path, x=np.zeros((20, 16)), y=np.arange(20) % 2)
    settings = {"inputs": ["x"], "targets": "y"}
    assert load(file, **settings).train.what == "16 float32"
    assert load(file, **settings, channel_axis="none").train.what == "1×16 float32"
    last = saved(tmp_path, x=np.zeros((20, 16, 3)), y=np.arange(20) % 2)
    assert load(last, **settings, channel_axis="last").train.what == "3×16 float32"


def test_deep_images(tmp_path: Path) -> None:
    file = saved(tmp_path, images=np.full((20, 4, 4), 65535, dtype=np.uint16), labels=np.arange(20) % 2)
    train = load(file, mean=[0.5], std=[0.25]).train
    assert isinstance(train, ImageSet)
    assert train.images.dtype == torch.float32
    assert train.normalised().unique().tolist() == [2]  # (1 − 0.5) / 0.25


def test_without_targets_the_inputs_are_told(tmp_path: Path) -> None:
    found = load(saved(tmp_path, ids=np.zeros((20, 8), dtype=np.int32)), inputs=["ids"], targets=None)
    assert found.train.answers is found.train.raw


PICKLED = np.array([{"a": 1}] * 20, dtype=object)


@pytest.mark.parametrize(
    ("arrays", "settings", "message"),
    [
        ({"images": PICKLED, "labels": np.arange(20)}, {}, "array 'images' is object; .* nothing is unpickled"),
        ({"images": grey(20), "labels": np.array(["a"] * 20)}, {}, "array 'labels' is <U1"),
        ({"images": grey(20), "labels": np.arange(19)}, {}, r"several lengths \(images 20, labels 19\)"),
        ({"images": grey(20)}, {}, "no array 'labels', alone or with train_, val_, test_; it has images"),
        ({"train_images": grey(20), "train_labels": np.arange(20), "test_images": grey(9)}, {}, "but no 'labels'"),
        (
            {"train_images": grey(20), "images_train": grey(20), "labels": np.arange(20)},
            {},
            "both 'train_images' and 'images_train' are images of train",
        ),
        ({"images": np.float32(3), "labels": np.arange(20)}, {}, "array 'images' is a single number"),
        ({"images": np.full((20, 3), np.nan), "labels": np.arange(20)}, {}, "example 0 holds NaN"),
        ({"images": grey(20), "labels": np.arange(20)}, {"standardise": True}, "no input has floating-point numbers"),
        ({"images": grey(20), "labels": np.arange(20)}, {"channel_axis": "middle"}, "channel_axis=middle: unknown"),
        ({"images": grey(20), "labels": np.arange(20)}, {"inputs": []}, "dataset.inputs=.*: give a list of 1 or more"),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, arrays: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(AmcError, match=message) as caught:
        load(saved(tmp_path, **arrays), **settings)
    assert "\n" not in str(caught.value)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    file = saved(tmp_path, images=grey(20), labels=np.arange(20))
    whole = file.read_bytes()
    for content in (whole[:-40], whole[:100] + b"x" * 60 + whole[160:], b"no archive"):
        file.write_bytes(content)
        with pytest.raises(AmcError, match=r"a.npz: can't be read"):
            load(file)


def test_sizes_are_seen_before_they_take_memory(tmp_path: Path) -> None:
    """A header of a few bytes may claim any shape."""
    header = np.lib.format.magic(1, 0)
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in ("images", "labels"):
            archive.writestr(f"{name}.npy", header + len(text).to_bytes(2, "little") + text)
    with pytest.raises(AmcError, match=r"a.npz: takes about \S+ GiB of memory"):
        load(tmp_path / "a.npz")


def test_mnist(shared: Path) -> None:
    file = shared / "data" / "mnist" / "mnist.npz"
    if not file.is_file():
        pytest.skip("no mnist.npz in shared/data")
    found = load(file, mean=[0.1307], std=[0.3081], val_examples=100)
    assert [len(getattr(found, role)) for role in ROLES] == [48000, 100, 10000]
    assert found.num_classes == 10
    assert abs(float(found.train.take(1000).normalised().mean())) < 0.05  # type: ignore[union-attr]
