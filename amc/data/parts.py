"""Which examples train, which are searched on, which are reported: never the same one twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from amc.core.errors import AmcError
from amc.core.values import Kind, Nullable, OneOf, Real, Whole, check_all

T = TypeVar("T")
Indices = npt.NDArray[np.int64]
ROLES = ("train", "val", "test")
FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
VAL_FROM = ("auto", *ROLES)
KINDS: dict[str, Kind] = {
    "val_from": OneOf(names=VAL_FROM),
    "split_seed": Whole(low=0, high=2**32 - 1),
    "val_share": Real(high=0.9, ends="(]"),
    "test_share": Real(high=0.9, ends="(]"),
    **{f"{role}_examples": Nullable(Whole()) for role in ROLES},
}


@dataclass(frozen=True)
class Rule:
    """How examples are divided.

    Attributes:
        val_from: where validation examples come from if the data has a training and a test part: ``train`` (a share of
            the training examples) or ``test`` (a half of the test examples; the other half is the test). ``val``: from
            a part of its own. ``auto``: ``val`` where there is one beside a test part; else ``test`` with imported
            weights, because these have seen all training examples, and ``train`` without.
        split_seed: of the order that examples are taken in.
        val_share: part of the training examples, or of all if there is but one part, that plans are scored on.
        test_share: part of all examples that is kept for the report, if there is but one part.
        train_examples, val_examples, test_examples: at most so many; which examples belong where doesn't depend on it.
        imported_weights: whether the weights to be judged were trained elsewhere.
    """

    val_from: str = "auto"
    split_seed: int = 0
    val_share: float = 0.2
    test_share: float = 0.2
    train_examples: int | None = None
    val_examples: int | None = None
    test_examples: int | None = None
    imported_weights: bool = False

    def __post_init__(self) -> None:
        check_all("dataset", vars(self), KINDS)
        if self.val_share + self.test_share >= 1:
            raise AmcError(
                f"dataset.val_share={self.val_share}: with test_share={self.test_share} leaves nothing to train on; "
                "give smaller ones"
            )

    def limit(self, role: str) -> int | None:
        """The largest number of examples of a role."""
        found: int | None = getattr(self, f"{role}_examples")
        return found

    def source(self, parts: Mapping[str, object]) -> str:
        """Where validation examples come from: ``all``, ``train``, ``test`` or ``val``.

        Raises:
            AmcError: the data has no such part.
        """
        if "train" not in parts or (len(parts) == 1 and self.val_from != "auto"):
            there = ", ".join(parts)
            raise AmcError(
                f"dataset.val_from={self.val_from}: the data has only the part {there}; give it train and test (or val)"
            )
        if len(parts) == 1:
            return "all"
        if self.val_from == "val" and len(parts) < len(ROLES):
            raise AmcError("dataset.val_from=val: needs data with the parts train, val and test; give train or test")
        if self.val_from != "auto":
            return self.val_from
        return "val" if len(parts) == len(ROLES) else "test" if self.imported_weights else "train"


@dataclass(frozen=True)
class Division(Generic[T]):
    """Examples by role, and where they come from.

    Attributes:
        examples: ``train``, ``val`` and ``test`` → their examples, in an order that mixes them.
        val_from: see :class:`Rule`; ``all``: the data has but one part.
        origins: role → where its examples come from, for people.
        parts: role → the part of the data that its examples are in.
    """

    examples: Mapping[str, Sequence[T]]
    val_from: str
    origins: Mapping[str, str]
    parts: Mapping[str, str]


def order_of(n: int, seed: int) -> Indices:
    """A permutation of 0 … n − 1 that depends on ``n`` and ``seed`` alone."""
    # RandomState, unlike Generator, promises the same stream in every numpy version.
    return np.random.RandomState(seed).permutation(n).astype(np.int64)


def divide(parts: Mapping[str, Sequence[T]], rule: Rule) -> Division[T]:
    """Divides examples into those that train, those that are searched on and those that are reported.

    Args:
        parts: ``train``, and ``val``, ``test`` or both, as the data itself divides them; one part alone is divided by
            its order of ``rule.split_seed``: first the test examples, then those to validate on.
        rule: how.

    Raises:
        AmcError: a part that is empty or too small, or a rule that needs another part.
    """
    source = rule.source(parts)
    held_out = "test" if "test" in parts else "val"  # a data set without test labels reports on its val
    mixed = {name: [part[i] for i in order_of(len(part), rule.split_seed)] for name, part in parts.items()}
    if source == "all":
        ((only, whole),) = mixed.items()
        places = dict.fromkeys(ROLES, only)
        test, val = round(rule.test_share * len(whole)), round(rule.val_share * len(whole))
        found = {"test": whole[:test], "val": whole[test : test + val], "train": whole[test + val :]}
        origins = dict.fromkeys(ROLES, f"a share of one folder by seed {rule.split_seed}")
    else:
        found = {"train": mixed["train"], "test": mixed[held_out]}
        places = {"train": "train", "test": held_out, "val": {"test": held_out}.get(source, source)}
        origins = {"train": "train", "test": held_out}
        if source == "val":
            found["val"], origins["val"] = mixed["val"], "val"
        else:
            first = rule.val_share * len(mixed["train"]) if source == "train" else len(mixed[held_out]) / 2
            role = source
            found["val"], found[role] = found[role][: round(first)], found[role][round(first) :]
            origins["val"] = f"a share of {origins[role]} by seed {rule.split_seed}"
            origins[role] = f"the rest of {origins[role]}"
    for role in ROLES:
        if not found[role]:
            raise AmcError(f"dataset: no examples for {role} ({origins[role]}); give more, or a larger share")
    return Division({role: found[role][: rule.limit(role)] for role in ROLES}, source, origins, places)


def role_of(name: str) -> str | None:
    """``train``, ``val`` or ``test`` if a folder's name says so."""
    return next((role for role, names in FOLDERS.items() if name.lower() in names), None)


def part_folders(folder: Path) -> dict[str, Path]:
    """Role → the folder of that name in ``folder``; empty where there are none.

    Raises:
        AmcError: two folders for one role, such as ``val`` and ``validation``, or a folder that can't be read.
    """
    found: dict[str, Path] = {}
    for path in listing(folder):
        role = role_of(path.name) if path.is_dir() else None
        if role is not None and role in found:
            raise AmcError(f"{folder}: has both {found[role].name}/ and {path.name}/; keep one of them")
        if role is not None:
            found[role] = path
    return {role: found[role] for role in ROLES if role in found}


def listing(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, without hidden files. Raises ``AmcError`` if it can't be read."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise AmcError(f"{folder}: can't be read ({error.strerror}); give a folder that can") from error


def files_by_role(given: Path, files: Sequence[Path], kind: str, layout: str) -> dict[str, Path]:
    """Role → its file, by a word of the file's name; a sole file is ``train``.

    Args:
        given: folder that they lie in.
        files: to choose from.
        kind: what they are, for errors.
        layout: what the folder needs, for errors.

    Raises:
        AmcError: two files for one role, or several and none for any.
    """
    found: dict[str, Path] = {}
    for file in files:
        words = file.name.lower().replace("_", ".").replace("-", ".").split(".")
        roles = {role for word in words if (role := role_of(word))}
        if len(roles) == 1:
            (role,) = roles
            if role in found:
                raise AmcError(f"dataset.path={given}: both {found[role].name} and {file.name} are for {role}")
            found[role] = file
    if len(files) == 1:
        return {"train": files[0]}
    if not found:
        raise AmcError(f"dataset.path={given}: {len(files)} {kind} files, none of them for a part. {layout}")
    return found


def given_folder(path: str | Path | None, name: str, layout: str, file: bool = False) -> Path:
    """``dataset.path`` as a folder (or, if ``file``, a file) that is there.

    Raises:
        AmcError: none was given, or there is none; ``layout`` says what is needed.
    """
    if path is None:
        raise AmcError(f"dataset={name}: needs dataset.path={'FOLDER_OR_FILE' if file else 'FOLDER'}. {layout}")
    found = Path(path).expanduser()
    if not (found.is_dir() or (file and found.is_file())):
        raise AmcError(f"dataset.path={path}: no such {'folder or file' if file else 'folder'}. {layout}")
    return found
