from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amc.core.errors import AmcError
from amc.data.parts import ROLES, Rule, divide, order_of, part_folders

LAYOUTS = (("train",), ("train", "test"), ("train", "val"), ("train", "val", "test"))


def parts_of(names: tuple[str, ...], n: int) -> dict[str, list[str]]:
    return {name: [f"{name}{i}" for i in range(n)] for name in names}


@given(
    names=st.sampled_from(LAYOUTS),
    n=st.integers(10, 40),
    seed=st.integers(0, 5),
    imported=st.booleans(),
    limit=st.integers(1, 5),
)
def test_no_example_is_in_two_parts(names: tuple[str, ...], n: int, seed: int, imported: bool, limit: int) -> None:
    parts = parts_of(names, n)
    full = divide(parts, Rule(split_seed=seed, imported_weights=imported))
    found = [one for role in ROLES for one in full.examples[role]]
    assert sorted(found) == sorted(one for part in parts.values() for one in part)
    few = divide(parts, Rule(split_seed=seed, imported_weights=imported, train_examples=limit, test_examples=limit))
    assert few.examples["train"] == full.examples["train"][:limit]
    assert few.examples["val"] == full.examples["val"]
    assert few.examples["test"] == full.examples["test"][:limit]
    for role in ROLES:
        assert all(one.startswith(full.parts[role]) for one in full.examples[role])


def test_sizes_by_shares() -> None:
    for names, imported, sizes, source in (
        (("train",), False, [12, 4, 4], "all"),  # of 20: a fifth for test, a fifth for val
        (("train", "test"), False, [16, 4, 20], "train"),
        (("train", "test"), True, [20, 10, 10], "test"),
        (("train", "val"), False, [16, 4, 20], "train"),  # a data set without test labels reports on its val
        (("train", "val", "test"), True, [20, 20, 20], "val"),
    ):
        found = divide(parts_of(names, 20), Rule(imported_weights=imported))
        assert [len(found.examples[role]) for role in ROLES] == sizes
        assert found.val_from == source


def test_the_order_depends_on_the_seed_alone() -> None:
    assert order_of(8, 0).tolist() == [6, 2, 1, 7, 3, 0, 5, 4]
    assert order_of(8, 1).tolist() != order_of(8, 0).tolist()


@pytest.mark.parametrize(
    ("names", "n", "rule", "message"),
    [
        (("train",), 20, {"val_from": "test"}, "dataset.val_from=test: the data has only the part train"),
        (("test",), 20, {}, "the data has only the part test"),
        (("train", "test"), 20, {"val_from": "val"}, "needs data with the parts train, val and test"),
        (("train",), 2, {}, "no examples for val"),
        (("train", "test"), 1, {}, "no examples for val"),
        (("train",), 20, {"val_share": 0.6, "test_share": 0.5}, "leaves nothing to train on"),
        (("train",), 20, {"val_share": 0}, "dataset.val_share=0: give a number in"),
        (("train",), 20, {"split_seed": -1}, "dataset.split_seed=-1"),
        (("train",), 20, {"val_examples": 0}, "dataset.val_examples=0"),
    ],
)
def test_impossible_divisions_are_one_line(
    names: tuple[str, ...], n: int, rule: dict[str, object], message: str
) -> None:
    with pytest.raises(AmcError, match=message):
        divide(parts_of(names, n), Rule(**rule))  # type: ignore[arg-type]


def test_folders_have_their_usual_names(tmp_path: Path) -> None:
    for name in ("Training", "valid", "test", "other"):
        (tmp_path / name).mkdir()
    assert {role: path.name for role, path in part_folders(tmp_path).items()} == {
        "train": "Training", "val": "valid", "test": "test",
    }  # fmt: skip
    (tmp_path / "val").mkdir()
    with pytest.raises(AmcError, match="has both val/ and valid/"):
        part_folders(tmp_path)
