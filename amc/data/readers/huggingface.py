"""Data sets of Hugging Face's ``datasets`` that were saved to disk: images with labels or masks, text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from amc.core.checks import shown
from amc.core.errors import AmcError, first_line
from amc.core.memory import require_memory
from amc.core.values import Kind, Text, check_all
from amc.data.decode import Encoded
from amc.data.parts import ROLES, Rule, divide, given_folder, role_of
from amc.data.readers.common import ExampleSplits, Look, Work, image_sets, labelled, splits_of
from amc.data.readers.segmentation import Masked, Masks, masked_splits
from amc.data.readers.texts import KINDS as TEXT
from amc.data.readers.texts import window_splits
from amc.data.readers.tokens import load_tokenizer, tokenise_several

IMAGES, MASKS, TEXTS = "hf_images", "hf_segmentation", "hf_text"
LAYOUT = "It needs a folder that save_to_disk of a Dataset or DatasetDict made."
TIMES = 3  # memory that encoded images take on their way to pixels, and texts to tokens
COLUMN = Text(what="a column's name")
KINDS: dict[str, Kind] = {f"{name}_column": COLUMN for name in ("image", "label", "mask", "text")}
Parts = Mapping[str, Any]


@dataclass(frozen=True)
class Labelled:
    """An encoded image with its label."""

    image: Encoded
    label: int


def read_hf_images(
    path: str | Path,
    rule: Rule | None = None,
    look: Look | None = None,
    image: str = "image",
    label: str = "label",
    work: Work | None = None,
) -> ExampleSplits:
    """Reads images ``[n, c, h, w]`` with the index of their class, int64 ``[n]``.

    Args:
        path: the folder; its splits are ``train``, ``validation`` (or ``val``, ``valid``) and ``test``, or it is one
            that is divided. Splits of other names are left out.
        rule: how examples are divided.
        look: how images are shown to the network.
        image: name of the column of images, of the feature ``Image``; the images themselves must be in it, no paths.
        label: name of the column of labels, ``ClassLabel`` or whole numbers from 0.
        work: cache and progress.

    Raises:
        AmcError: no such folder or column, the package isn't installed, labels below 0, or what division and decoding
            refuse.
    """
    parts = _open(path, IMAGES, {"image": image, "label": label})
    found = {}
    for role, part in parts.items():
        labels = _labels(part, label, path)
        found[role] = [Labelled(*both) for both in zip(_images(part, image, role, path), labels, strict=True)]
    division = divide(found, rule or Rule())
    pictures = {role: [one.image for one in division.examples[role]] for role in ROLES}
    targets = {role: torch.tensor([one.label for one in division.examples[role]]) for role in ROLES}
    names = getattr(next(iter(parts.values())).features[label], "names", None) or ()
    classes = len(names) or max(one.label for part in found.values() for one in part) + 1
    look = look or Look(fit="crop")
    sets = labelled(image_sets(pictures, targets, look, work or Work()), classes)
    return splits_of(IMAGES, sets, division, names, num_classes=classes)


def read_hf_segmentation(
    path: str | Path,
    rule: Rule | None = None,
    look: Look | None = None,
    masks: Masks | None = None,
    work: Work | None = None,
    columns: tuple[str, str] = ("image", "mask"),
) -> ExampleSplits:
    """Reads images with masks of class indices, see :func:`amc.data.readers.segmentation.read_segmentation`.

    Args:
        path, rule, look, work: see :func:`read_hf_images`.
        masks: what the numbers in masks mean.
        columns: names of the columns of images and of masks, both of the feature ``Image``.

    Raises:
        AmcError: see :func:`read_hf_images`, and what is wrong with a mask.
    """
    image, mask = columns
    parts = _open(path, MASKS, {"image": image, "mask": mask})
    pairs = {
        role: [Masked(*both) for both in zip(*(_images(part, c, role, path) for c in columns), strict=True)]
        for role, part in parts.items()
    }
    return masked_splits(MASKS, divide(pairs, rule or Rule()), look or Look(), masks or Masks(), work or Work())


def read_hf_text(
    path: str | Path, tokenizer: str | Path | None, length: int = 512, rule: Rule | None = None, column: str = "text"
) -> ExampleSplits:
    """Reads texts as windows of tokens, see :func:`amc.data.readers.texts.read_text`; each row is an article.

    Args:
        path: see :func:`read_hf_images`.
        tokenizer, length, rule: see :func:`amc.data.readers.texts.read_text`.
        column: name of the column of texts.

    Raises:
        AmcError: see :func:`read_hf_images` and :func:`amc.data.readers.texts.read_text`.
    """
    parts = _open(path, TEXTS, {"text": column})
    check_all("dataset", {"length": length}, TEXT)
    coder = load_tokenizer(tokenizer, TEXTS)
    streams = {}
    for role, part in parts.items():
        texts = part[column]
        if not isinstance(texts[0], str):
            raise AmcError(f"{shown('dataset.text_column', column)}: holds no text but {type(texts[0]).__name__}")
        streams[role] = tokenise_several(texts, coder, f"{path}, {role}")
    return window_splits(TEXTS, streams, length, rule or Rule(), coder.get_vocab_size())


def _open(path: str | Path, name: str, columns: Mapping[str, str]) -> Parts:
    """Role → the split, of which each has these columns and a row. No code of the folder is run."""
    folder = given_folder(path, name, LAYOUT)
    check_all("dataset", {f"{key}_column": column for key, column in columns.items()}, KINDS)
    try:
        import datasets
    except ImportError as error:
        raise AmcError(f"dataset={name}: needs datasets ({error}); pip install 'amc-pruning[datasets]'") from error
    try:
        # Mapped from disk, not read: nothing takes memory yet.
        found: Any = datasets.load_from_disk(str(folder), keep_in_memory=False)
        for part in found.values() if isinstance(found, Mapping) else [found]:
            part.data.table.validate(full=True)  # else a damaged place in it would be read from anywhere
    except Exception as error:  # damaged files raise anything
        raise AmcError(f"dataset.path={path}: can't be loaded ({first_line(error)}). {LAYOUT}") from error
    parts: dict[str, Any] = {"train": found}
    if isinstance(found, Mapping):
        parts = {role: part for key, part in found.items() if (role := role_of(key))}
        if not parts and len(found) == 1:
            parts = {"train": next(iter(found.values()))}
    if not parts:
        raise AmcError(f"dataset.path={path}: has the splits {', '.join(found)}; needed are train, validation, test")
    for role, part in parts.items():
        for key, column in columns.items():
            if column not in part.column_names:
                there = ", ".join(part.column_names)
                raise AmcError(f"{shown(f'dataset.{key}_column', column)}: no such column in {path}; it has {there}")
        if len(part) == 0:
            raise AmcError(f"dataset.path={path}: the split {role} is empty; give examples")
    require_memory(f"dataset.path={path}", TIMES * sum(p.data.nbytes for p in parts.values()), "give a smaller one")
    return {role: parts[role].with_format(None) for role in ROLES if role in parts}


def _labels(part: Any, column: str, path: str | Path) -> list[int]:
    labels = list(part[column])
    for row, label in enumerate(labels):
        if type(label) is not int or label < 0:
            raise AmcError(
                f"{shown('dataset.label_column', column)}: row {row} of {path} is {label!r}; "
                "class indices are whole numbers from 0"
            )
    return labels


def _images(part: Any, column: str, role: str, path: str | Path) -> Sequence[Encoded]:
    """The encoded images of a column; decoded here, as the library would also open paths and addresses."""
    import datasets

    if not isinstance(part.features[column], datasets.Image):
        raise AmcError(f"{shown('dataset', column)}: is no column of images in {path}; cast it to datasets.Image()")
    found = []
    for row, value in enumerate(part.cast_column(column, datasets.Image(decode=False))[column]):
        content = (value or {}).get("bytes")
        if not content:
            raise AmcError(f"{path}: {role}, row {row}: {column} holds no image; save it with the images inside")
        found.append(Encoded(f"{path}, {role}, row {row}", content))
    return found
