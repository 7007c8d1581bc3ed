from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from amc.core.errors import AmcError
from amc.data.parts import ROLES
from amc.data.readers import ExampleSplits, load_examples


def load(path: Path, **settings: Any) -> ExampleSplits:
    return load_examples("csv", path, **settings)


def rows(n: int, first: int = 0, separator: str = ",") -> str:
    """Row i: i, 2i, 5, and a fruit."""
    lines = [["a", "b", "same", "fruit"]]
    lines += [[str(i), str(2 * i), "5", ("pear", "fig", "apple")[i % 3]] for i in range(first, first + n)]
    return "\n".join(separator.join(line) for line in lines) + "\n"


def written(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_features_are_standardised_by_the_training_rows(tmp_path: Path) -> None:
    for name, first in (("train.csv", 0), ("my_val.csv", 10), ("test.csv", 20)):
        written(tmp_path, rows(10, first), name)
    found = load(tmp_path)
    assert found.classes == ("apple", "fig", "pear")
    assert (found.num_classes, found.val_from) == (3, "val")
    mean, std = 4.5, (sum((i - 4.5) ** 2 for i in range(10)) / 10) ** 0.5
    for role, first in zip(ROLES, (0, 10, 20), strict=True):
        inputs: Any = getattr(found, role).raw
        values = (inputs[:, 0] * std + mean).round().long()
        assert sorted(values.tolist()) == list(range(first, first + 10))
        torch.testing.assert_close(inputs[:, 0], inputs[:, 1])
        assert float(inputs[:, 2].abs().max()) == 0
        assert getattr(found, role).answers.tolist() == [2 - int(v) % 3 for v in values]
    assert found.facts["features"] == ["a", "b", "same"]
    assert found.facts["standardised"]["input"]["mean"] == [4.5, 9, 5]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_one_file_is_divided(tmp_path: Path, separator: str) -> None:
    found = load(written(tmp_path, "﻿" + rows(20, separator=separator)) / "a.csv", standardise=False)
    assert [len(getattr(found, role)) for role in ROLES] == [12, 4, 4]
    values = [int(v) for role in ROLES for v in getattr(found, role).raw[:, 0]]
    assert sorted(values) == list(range(20))


def test_targets_are_classes_or_values(tmp_path: Path) -> None:
    folder = written(tmp_path, rows(200))
    by_size = load(folder, target="a", drop=["fruit", "b"])  # 200 different whole numbers are no classes
    assert by_size.num_classes == 0
    assert by_size.train.answers.dtype == torch.float32  # type: ignore[union-attr]
    assert by_size.train.answers.shape == (120, 1)  # type: ignore[union-attr]
    forced = load(folder, target="a", drop=["fruit", "b"], target_kind="classes")
    assert forced.classes[:3] == ("0", "1", "2")  # by size, not as words
    assert forced.num_classes == 200
    same = load(folder, target="same", drop=["fruit"], target_kind="values")
    assert same.train.answers.unique().tolist() == [5]  # type: ignore[union-attr]


def differ(folder: Path) -> None:
    written(folder, rows(9), "train.csv")
    written(folder, rows(9).replace("same", "other"), "test.csv")


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (rows(9).replace("\n4,", "\n?,"), {}, r"a.csv, line 6: a is '\?', no finite number; .* dataset.drop=\[a\]"),
        (rows(9).replace("\n4,", "\nnan,"), {}, "line 6: a is 'nan'"),
        (rows(9).replace("\n4,", "\n4,4,"), {}, "line 6: has 5 columns, the first line 4"),
        (rows(9).replace("\n4,8,5,fig", "\n4,8,5,"), {}, "a.csv: row 5 has no target"),
        (rows(9), {"target": "nut"}, "dataset.target=nut: no such column in .*; it has a, b, same, fruit"),
        (rows(9), {"drop": ["nut"]}, "dataset.drop=nut: no such column"),
        (rows(9), {"drop": ["fruit"], "target": "fruit"}, "leaves no target or no features"),
        (rows(9), {"target_kind": "values"}, "row .* has the target '.*', no finite number"),
        (rows(9).replace("b,same", "a,same"), {}, "must name two or more columns, each once"),
        ("a,b\n", {}, "has no rows"),
        ("", {}, "must name two or more columns"),
        (b"a,b\n1,\xff\n", {}, r"is no UTF-8 text \(byte 6\)"),
        ('a,b\n1,"' + "x" * 200_000, {}, "field larger than field limit"),
        (rows(9), {"standardize": True}, "dataset.standardize: unknown"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str | bytes, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AmcError, match=message) as caught:
        load(written(tmp_path / "data", text), **settings)
    assert "\n" not in str(caught.value)


def test_parts_have_the_same_columns(tmp_path: Path) -> None:
    differ(tmp_path)
    with pytest.raises(AmcError, match=r"test.csv: its columns differ from those of train.csv .'other'."):
        load(tmp_path)
