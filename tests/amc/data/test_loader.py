"""Loaders as users have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import amc.data.loader
from amc.core.errors import AmcError
from amc.data import ImageSet

X = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3


def loader(x: torch.Tensor = X, y: torch.Tensor = Y) -> DataLoader[Any]:
    return DataLoader(TensorDataset(x, y), 3)


class Items(Dataset[Any]):
    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return self._make(index)


def items(make: Callable[[int], Any], **more: Any) -> DataLoader[Any]:
    return DataLoader(Items(make), 3, **more)


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        while True:
            yield X[0], Y[0]


POISONED = torch.where(torch.arange(8).view(8, 1, 1, 1) == 5, torch.nan, X)

WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "one-hot": (lambda: loader(y=F.one_hot(Y)), r"one-hot, of the shape \[3, 3\], .*; give labels.argmax\(1\)"),
    "one-hot floats": (lambda: loader(y=F.one_hot(Y).float()), "one-hot"),
    "column": (lambda: loader(y=Y[:, None]), r"shape \[3, 1\], .*; give labels.squeeze\(1\)"),
    "several labels": (lambda: loader(y=torch.ones(8, 5).long()), r"shape \[3, 5\], needed is one class index"),
    "masks": (lambda: loader(y=torch.ones(8, 4, 4).long()), r"shape \[3, 4, 4\]"),
    "fractions": (lambda: loader(y=Y + 0.5), r"labels are torch.float32, such as 0.5; .*: give labels.long\(\)"),
    "whole floats": (lambda: loader(y=Y.double()), "labels are torch.float64, such as 0; "),
    "NaN labels": (lambda: loader(y=Y * torch.nan), "such as nan"),
    "complex labels": (lambda: loader(y=Y.to(torch.complex64)), "labels are torch.complex64"),
    "negative": (lambda: loader(y=Y - 1), "-1 … 1 for 2 classes; give 0 … 1, without images whose label is negative"),
    "ignored": (lambda: loader(y=torch.where(Y == 1, -100, Y)), "-100 … 2"),
    "text": (lambda: items(lambda i: (X[i], str(int(Y[i])))), "labels are text, such as '0'"),
    "dict": (lambda: items(lambda i: {"image": X[i], "label": Y[i]}), "yields a dict with 'image', 'label'; it must"),
    "three": (lambda: items(lambda i: (X[i], Y[i], i)), r"yields 3 items \(Tensor, Tensor, Tensor\)"),
    "many": (lambda: items(lambda i: (X[i], Y[i]), collate_fn=lambda b: b * 3), r"9 items \(tuple, .*, …\)"),
    "images alone": (lambda: items(lambda i: X[i]), "yields Tensor; it must yield"),
    "the wrong way round": (lambda: items(lambda i: (Y[i], X[i])), r"images have the shape \[3\]"),
    "no label": (lambda: items(lambda i: (X[i], None)), "reading it failed .*NoneType"),
    "arrays": (lambda: [(X.numpy(), Y.numpy())], r"yields 2 items \(ndarray, ndarray\)"),
    "sizes": (lambda: items(lambda i: (torch.zeros(1, 4 + i, 4), 0)), "reading it failed .*equal size"),
    "sizes of batches": (lambda: [(X, Y), (X[..., :2], Y)], r"several shapes or types, \(1, 4, 4\) of"),
    "types of batches": (lambda: [(X, Y), (X.to(torch.uint8), Y)], "several shapes or types"),
    "its own mistake": (lambda: items(lambda i: 1 // 0), r"reading it failed \(ZeroDivisionError"),
    "no batches": (lambda: DataLoader(TensorDataset(X, Y), batch_size=None), r"images have the shape \[1, 4, 4\]"),
    "grey": (lambda: loader(X[:, 0]), r"shape \[3, 4, 4\], needed is \[b, c, h, w\]; x\[:, None\]"),
    "video": (lambda: loader(X[:, None]), r"shape \[3, 1, 1, 4, 4\]"),
    "wide pixels": (lambda: loader((X * 9).long()), "images are torch.int64, .*; give uint8 in 0 … 255, or floats"),
    "truth values": (lambda: loader(X > 0), "images are torch.bool"),
    "complex pixels": (lambda: loader(X.to(torch.complex64)), "images are torch.complex64"),
    "sparse pixels": (lambda: [(X.to_sparse(), Y)], "torch.sparse_coo"),
    "NaN pixels": (lambda: loader(POISONED), "image 5 holds NaN"),
    "lengths": (lambda: [(X, Y[:7])], "yields 8 images with 7 labels"),
    "a data set": (lambda: TensorDataset(X, Y), "is a TensorDataset; give a DataLoader of it"),
    "two tensors": (lambda: (X, Y), "yields Tensor"),
    "nothing": (lambda: None, "reading it failed .*not iterable"),
    "path": (lambda: "data", "yields str"),
    "empty": (list, "the set is empty"),
    "empty batches": (lambda: [(X[:0], Y[:0])], "the set is empty"),
    "endless": (lambda: DataLoader(Endless(), 4), "has yielded 24 images and has no length"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_in_one_line_with_the_name(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amc.data.loader, "MOST_IMAGES", 20)
    make, message = WRONG[kind]
    with pytest.raises(AmcError, match=message) as caught:
        ImageSet.from_loader(make(), name="val")  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("val: ")


def test_a_mistake_in_a_worker_is_its_last_line() -> None:
    def raising() -> Iterator[Any]:
        raise ValueError("Caught it in worker 0.\nOriginal Traceback (most recent call last):\n  …\nKeyError: 'cat'")
        yield

    with pytest.raises(AmcError, match=r"reading it failed \(KeyError: 'cat'\)"):
        ImageSet.from_loader(raising())


def test_more_than_the_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amc.data.loader, "MEMORY_SHARE", 1e-12)
    with pytest.raises(AmcError, match=r"3 images already take 0 GiB of .* GiB memory"):
        ImageSet.from_loader(loader())


@pytest.mark.parametrize(
    "given",
    [loader(y=Y.to(torch.uint8)), loader(y=Y.int()), loader(X.double()), loader(X.half()), [(X, Y)], iter(loader())],
    ids=["uint8 labels", "int32 labels", "float64", "float16", "list", "iterator"],
)
def test_harmless_kinds_are_taken(given: Iterable[Any]) -> None:
    images = ImageSet.from_loader(given)
    assert (len(images), images.num_classes, images.images.dtype) == (8, 3, torch.float32)


def test_a_long_loader_with_a_length_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amc.data.loader, "MOST_IMAGES", 2)
    assert len(ImageSet.from_loader(loader())) == 8
