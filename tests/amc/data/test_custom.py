"""Data from a user's own callable, and the form of inputs in files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from amc.core.errors import AmcError
from amc.data import ExampleSet, ImageSet
from amc.data.custom import load_custom
from amc.data.layout import about, checked_layout, example_of, layout_of
from amc.task.task import as_examples

SOURCE = """
import torch
from amc.data import ExampleSet

def two(n=4): return ExampleSet(torch.zeros(n, 3)), ExampleSet(torch.zeros(n, 3), torch.arange(n))
def named(): return dict(zip(("train", "val", "test"), (*two(), two()[0])))
def labelled(): return two()[1], two()[1]
def nothing(): return None
def other(): return {"training": two()[0]}
def broken(): return 1 // 0
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_data.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_data", raising=False)


def load(name: str, **arguments: Any) -> Any:
    return load_custom(f"own_data.{name}", arguments, as_examples)


def test_two_or_three_sets_in_order_or_by_name() -> None:
    splits = load("two", n=7)
    assert (len(splits.train), splits.test, splits.num_classes) == (7, None, None)
    assert load("named").test is not None
    assert load("labelled").num_classes == 4


WRONG = {
    "nothing": "returns NoneType; needed are",
    "other": "returns training; needed are train, val",
    "broken": "fails .ZeroDivisionError",
    "nope": "no callable 'nope'",
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ones_are_one_line(name: str) -> None:
    with pytest.raises(AmcError, match=WRONG[name]) as caught:
        load(name)
    assert "\n" not in str(caught.value)


INPUTS = (
    torch.zeros(3, 2, 4),
    (torch.zeros(3, 2), torch.zeros(3, 5).long()),
    {"input_ids": torch.zeros(3, 5).long(), "mask": torch.ones(3, 5).bool()},
)


@pytest.mark.parametrize("inputs", INPUTS, ids=["tensor", "tuple", "dict"])
def test_a_layout_makes_inputs_of_its_form(inputs: Any) -> None:
    layout = layout_of(inputs)
    assert layout == checked_layout(layout)
    again = example_of(layout, 3)
    assert layout_of(again) == layout
    assert ExampleSet(again).what == ExampleSet(inputs).what


@pytest.mark.parametrize("layout", [[], {"shape": [0], "type": "float32"}, {"shape": [2], "type": "object"},
                                    {"shape": [2**20, 2**20], "type": "uint8"}])  # fmt: skip
def test_other_layouts_are_refused(layout: Any) -> None:
    with pytest.raises((ValueError, TypeError, LookupError)):
        checked_layout(layout)


def test_images_of_classes_are_described_as_before() -> None:
    images = ImageSet(torch.zeros(2, 3, 4, 4), torch.tensor([0, 1]), 2)
    assert about(images) == {"image_shape": (3, 4, 4), "num_classes": 2, "mean": (0.0,), "std": (1.0,)}
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    held = about(ExampleSet(pixels, None, (0.5,) * 3, (0.2,) * 3))
    assert held == {"inputs": {"shape": [3, 4, 4], "type": "float32"}, "mean": (0.5,) * 3, "std": (0.2,) * 3}
