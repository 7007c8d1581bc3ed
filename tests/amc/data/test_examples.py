"""Sets of examples of any task, and the loaders that they are read from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from amc.core.errors import AmcError
from amc.data import ExampleSet, ImageSet

X = torch.arange(24.0).view(6, 4)
TOKENS = torch.arange(30).view(6, 5)
BOXES = tuple({"boxes": torch.ones(i, 4), "labels": torch.ones(i).long()} for i in range(6))


def sets() -> dict[str, ExampleSet]:
    return {
        "tensor": ExampleSet(X, X[:, :1]),
        "tuple": ExampleSet((X, X + 1), torch.arange(6)),
        "dict": ExampleSet({"input_ids": TOKENS, "attention_mask": torch.ones(6, 5).bool()}),
        "boxes": ExampleSet(torch.zeros(6, 3, 2, 2), BOXES),
        "dict of targets": ExampleSet(X, {"a": X, "b": torch.arange(6)}),
    }


def tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    else:
        for entry in value.values() if isinstance(value, dict) else value:
            yield from tensors(entry)


@pytest.mark.parametrize("kind", sets())
def test_batches_give_everything_in_order(kind: str) -> None:
    held = sets()[kind]
    for way in (0, 1):
        parts = [batch[way] for batch in held.batches(4)]
        whole = (held.normalised(), held.answers)[way]
        if isinstance(whole, tuple) and not isinstance(whole[0], torch.Tensor):
            assert sum(parts, ()) == whole  # type: ignore[arg-type]
            continue
        for whole_tensor, *pieces in zip(tensors(whole), *map(tensors, parts), strict=True):
            assert torch.equal(torch.cat(pieces), whole_tensor)


@pytest.mark.parametrize("kind", sets())
def test_selected_examples_keep_their_targets(kind: str) -> None:
    held = sets()[kind]
    some = held.select(torch.tensor([4, 1]))
    assert len(some) == 2
    if kind == "boxes":
        assert some.answers == (BOXES[4], BOXES[1])
    for ours, theirs in zip(tensors(some.normalised()), tensors(held.normalised()), strict=True):
        assert torch.equal(ours, theirs[[4, 1]])


def test_take_is_a_prefix_and_shares_memory() -> None:
    held = ExampleSet(X)
    assert held.take(None) is held is held.take(9)
    first = held.take(2).normalised()
    assert isinstance(first, torch.Tensor)
    assert first.data_ptr() == X.data_ptr()


def test_only_floating_point_inputs_are_cast() -> None:
    held = ExampleSet((X, TOKENS))
    numbers, tokens = held.normalised(torch.bfloat16)
    assert (numbers.dtype, tokens.dtype) == (torch.bfloat16, torch.int64)  # type: ignore[union-attr]


def test_images_are_normalised_by_arithmetic() -> None:
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    # (0/255 − 0.5) / 0.25 = −2, (255/255 − 0.5) / 0.25 = 2
    assert ExampleSet(pixels, None, (0.5,), (0.25,)).normalised().flatten().tolist() == [-2, 2]  # type: ignore[union-attr]


def test_fingerprint_tells_sets_apart() -> None:
    prints = {kind: held.fingerprint() for kind, held in sets().items()}
    assert prints == {kind: held.fingerprint() for kind, held in sets().items()}
    assert len(set(prints.values())) == len(prints)
    assert ExampleSet(X).fingerprint() != ExampleSet(X.long()).fingerprint()


def test_one_example_in_words() -> None:
    assert ExampleSet({"input_ids": TOKENS, "pixels": X}).what == "input_ids 5 int64, pixels 4 float32"
    assert ImageSet(torch.zeros(1, 3, 2, 4), torch.zeros(1).long(), 1).what == "3×2×4 float32"


LOADERS: dict[str, tuple[Callable[[], Any], str]] = {
    "several inputs": (lambda: DataLoader(TensorDataset(X, X[:, :2], torch.arange(6)), 4), "4 float32 and 2 float32"),
    "tokens alone": (lambda: DataLoader(TensorDataset(TOKENS), 4), "5 int64"),
    "dict": (lambda: [{"input_ids": TOKENS, "attention_mask": TOKENS > 0, "labels": TOKENS}], "input_ids 5 int64"),
    "one image in a dict": (lambda: [{"image": X, "label": torch.arange(6)}], "4 float32"),
    "detection": (lambda: [([torch.zeros(3, 2, 2)] * 6, list(BOXES))], "3×2×2 float32"),
    "16 bit": (lambda: [(torch.full((6, 1, 2, 2), 65535, dtype=torch.uint16), torch.arange(6))], "1×2×2 float32"),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_loaders_of_many_forms(kind: str) -> None:
    make, what = LOADERS[kind]
    held = ExampleSet.from_loader(make())
    assert len(held) == 6
    assert what in held.what
    assert (held.targets is None) == (kind == "tokens alone")
    if kind == "16 bit":
        assert float(held.normalised().max()) == 1.0  # type: ignore[union-attr]


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "text": (lambda: [(X, ("a",) * 6)], "labels are text, such as 'a'"),
    "lengths": (lambda: [(X, X[:4])], "examples; give as many of each"),
    "shapes": (lambda: [(X, X), (X[:, :2], X)], "several shapes or types, 4 float32 and 2 float32"),
    "sizes": (lambda: [([torch.zeros(3, 2, 2), torch.zeros(3, 4, 2)], BOXES[:2])], "several sizes, 3×2×2 and 3×4×2"),
    "NaN": (lambda: [(X * torch.nan, X)], "inputs: example 0 holds NaN"),
    "arrays": (lambda: [(X.numpy(), X)], "inputs that are a ndarray"),
    "text in a dict": (lambda: [{"input_ids": TOKENS, "text": ["a"] * 6}], "'text', a list; give tensors"),
    "empty": (list, "the set is empty"),
    "no loader": (lambda: None, "reading it failed"),
    "a data set": (lambda: TensorDataset(X), "is a TensorDataset; give a DataLoader"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_loaders_are_one_line_with_the_name(kind: str) -> None:
    make, message = WRONG[kind]
    with pytest.raises(AmcError, match=message) as caught:
        ExampleSet.from_loader(make(), name="val")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("val: ")
