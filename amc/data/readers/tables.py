"""Tables of numbers with a column that is to be told, from CSV files."""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from amc.core.checks import shown
from amc.core.errors import AmcError
from amc.core.files import read_bytes
from amc.core.memory import require_memory
from amc.core.values import Flag, Kind, Many, OneOf, Text, check_all
from amc.data.examples import ExampleSet
from amc.data.parts import ROLES, Rule, divide, files_by_role, given_folder, listing
from amc.data.readers.common import ExampleSplits, splits_of
from amc.data.readers.numbers import standardised

NAME = "csv"
LAYOUT = "It needs train.csv, val.csv and test.csv (or two of them), or one CSV file, with a line of column names."
TARGET_KINDS = ("auto", "classes", "values")
TIMES = 12  # memory that a table takes while it is read, in its file's size
MOST_CLASSES = 100  # of whole numbers that are taken as classes without being told
KINDS: dict[str, Kind] = {
    "target": Text(also=(None,), what="a column's name"),
    "target_kind": OneOf(names=TARGET_KINDS),
    "drop": Many(entry=Text(what="a column's name"), example="[id]"),
    "standardise": Flag(),
}


@dataclass(frozen=True)
class Columns:
    """Which columns are what.

    Attributes:
        target: name of the column that is to be told; ``None``: the last.
        target_kind: ``classes`` or ``values``; ``auto``: classes if it holds words, or at most 100 different whole
            numbers.
        drop: columns that are left out.
        standardise: features are given mean 0 and deviation 1 over the training examples.
    """

    target: str | None = None
    target_kind: str = "auto"
    drop: Sequence[str] = ()
    standardise: bool = True

    def __post_init__(self) -> None:
        check_all("dataset", vars(self), KINDS)


@dataclass(frozen=True, eq=False)
class Table:
    """A CSV file: features ``[n, f]``, their names, and the target as it is written."""

    file: Path
    names: tuple[str, ...]
    features: npt.NDArray[np.float64]
    target: Sequence[str]


def read_table(path: str | Path, columns: Columns | None = None, rule: Rule | None = None) -> ExampleSplits:
    """Reads tables: inputs are float32 features ``[n, f]``; targets int64 classes ``[n]`` or float32 values ``[n, 1]``.

    Classes are numbered in the order of their names, of numbers by size.

    Args:
        path: a folder with a CSV file for each part (``train``, ``val``, ``test`` as a word of its name), or with one;
            or that file. Comma, semicolon or tab between columns; UTF-8.
        columns: which columns are what.
        rule: how rows are divided.

    Raises:
        AmcError: no such file, a cell that is no number (with its line and column), rows of several lengths, parts of
            other columns, or what :func:`amc.data.parts.divide` refuses.
    """
    given = given_folder(path, NAME, LAYOUT, file=True)
    columns = columns or Columns()
    tables = {role: _read(file, columns) for role, file in _files(given).items()}
    first = next(iter(tables.values()))
    for other in tables.values():
        if other.names != first.names:
            odd = min(set(other.names) ^ set(first.names) or set(first.names))
            raise AmcError(
                f"{other.file}: its columns differ from those of {first.file.name} ({odd!r}); make them equal"
            )
    classes = _classes(tables.values(), columns.target_kind)
    division = divide({role: range(len(one.target)) for role, one in tables.items()}, rule or Rule())
    sets = {}
    for role in ROLES:
        rows, source = list(division.examples[role]), tables[division.parts[role]]
        sets[role] = ExampleSet(
            torch.from_numpy(source.features[rows].astype(np.float32)), _target(source, rows, classes)
        )
    facts: dict[str, object] = {"features": list(first.names)}
    if columns.standardise:
        sets, stats = standardised(sets)
        facts |= stats
    return splits_of(NAME, sets, division, classes or (), num_classes=len(classes or ()), facts=facts)


def _files(given: Path) -> Mapping[str, Path]:
    """Role → its file; a sole file is ``train``."""
    if given.is_file():
        return {"train": given}
    files = [path for path in listing(given) if path.suffix.lower() in (".csv", ".tsv") and path.is_file()]
    found = files_by_role(given, files, "CSV", LAYOUT)
    return {role: found[role] for role in ROLES if role in found}


def _read(file: Path, columns: Columns) -> Table:
    content = read_bytes(file)
    require_memory(str(file), TIMES * len(content), "give a file of fewer rows")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AmcError(f"{file}: is no UTF-8 text (byte {error.start}); convert it") from error
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    rows = csv.reader(io.StringIO(text), delimiter=separator)
    try:
        names = [name.strip() for name in next(rows, [])]
        place = _place(names, columns, file)
        kept = [i for i, name in enumerate(names) if i != place and name not in columns.drop]
        values, target = array("d"), []
        for row in rows:
            if row:
                values.extend(_numbers(row, names, kept, f"{file}, line {rows.line_num}"))
                target.append(row[place].strip())
    except csv.Error as error:
        raise AmcError(f"{file}, line {rows.line_num}: {error}; repair it") from error
    if not target:
        raise AmcError(f"{file}: has no rows below the column names; {LAYOUT}")
    features = np.frombuffer(values, dtype=np.float64).reshape(len(target), len(kept))
    return Table(file, tuple(names[i] for i in kept), features, target)


def _place(names: Sequence[str], columns: Columns, file: Path) -> int:
    """Of the target among the columns."""
    if len(set(names)) < len(names) or len(names) < 2:
        raise AmcError(f"{file}: its first line must name two or more columns, each once; it has {', '.join(names)}")
    for setting, name in [("target", columns.target), *(("drop", name) for name in columns.drop)]:
        if name is not None and name not in names:
            raise AmcError(f"{shown(f'dataset.{setting}', name)}: no such column in {file}; it has {', '.join(names)}")
    target = names[-1] if columns.target is None else columns.target
    if target in columns.drop or set(names) <= {target, *columns.drop}:
        raise AmcError(f"dataset.drop={','.join(columns.drop)}: leaves no target or no features; drop fewer columns")
    return names.index(target)


def _numbers(row: Sequence[str], names: Sequence[str], kept: Sequence[int], where: str) -> list[float]:
    if len(row) != len(names):
        raise AmcError(f"{where}: has {len(row)} columns, the first line {len(names)}; repair it")
    found = []
    for i in kept:
        try:
            value = float(row[i])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise AmcError(
                f"{where}: {names[i]} is {row[i]!r}, no finite number; encode or fill it, or give "
                f"dataset.drop=[{names[i]}]"
            )
        found.append(value)
    return found


def _classes(tables: Collection[Table], kind: str) -> list[str] | None:
    """Names of the classes; ``None`` if targets are values."""
    names = {name for one in tables for name in one.target}
    if "" in names:
        file, line = next((one.file, one.target.index("") + 1) for one in tables if "" in one.target)
        raise AmcError(f"{file}: row {line} has no target; fill it or remove the row")
    if kind == "values":
        return None
    if all(_is_whole(name) for name in names):
        return sorted(names, key=int) if kind == "classes" or len(names) <= MOST_CLASSES else None
    if kind == "auto" and all(_is_number(name) for name in names):
        return None
    return sorted(names)


def _target(source: Table, rows: Sequence[int], classes: Sequence[str] | None) -> Tensor:
    if classes is not None:
        numbers = {name: number for number, name in enumerate(classes)}
        return torch.tensor([numbers[source.target[row]] for row in rows])
    values = [source.target[row] for row in rows]
    for row, value in zip(rows, values, strict=True):
        if not _is_number(value):
            raise AmcError(
                f"{source.file}: row {row + 1} has the target {value!r}, no finite number; give target_kind=classes"
            )
    return torch.tensor([float(value) for value in values], dtype=torch.float32)[:, None]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
