"""Arrays by name from ``.npz`` files: images, signals of one dimension, anything with numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from amc.core.errors import AmcError
from amc.core.values import Flag, Kind, Many, OneOf, Text, check_all
from amc.data.decode import as_images
from amc.data.examples import ExampleSet, Triple
from amc.data.form import statistics
from amc.data.parts import ROLES, Rule, divide, given_folder, role_of
from amc.data.readers.common import ExampleSplits, labelled, splits_of
from amc.data.readers.npz_file import array_names, read_arrays
from amc.data.readers.numbers import count_classes, standardised, target_tensor

NAME = "npz"
LAYOUT = "It needs an .npz file with arrays such as train_images, train_labels, test_images, test_labels."
AXES = ("auto", "first", "last", "none")
COLOURS = (1, 3)
IMAGES = 4  # dimensions of images [n, c, h, w]
KINDS: dict[str, Kind] = {
    "inputs": Many(entry=Text(what="an array's name"), least=1, most=20, example="[images]"),
    "targets": Text(also=(None,), what="an array's name"),
    "channel_axis": OneOf(names=AXES),
    "standardise": Flag(),
}
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Named:
    """Which arrays are what.

    Attributes:
        inputs: names of the arrays that the network is called with: one, or several, which it gets by name.
        targets: name of the array of targets; ``None``: the inputs themselves.
        channel_axis: of inputs with more than one dimension an example: ``first`` ``[n, c, …]``, ``last`` ``[n, …, c]``
            (moved to the front), ``none`` (an axis of one channel is put in). ``auto``: for images of uint8 and uint16
            as their shape says; others stay as they are.
        standardise: floating-point inputs are given mean 0 and deviation 1 over the training examples, per feature
            ``[n, f]`` or channel ``[n, c, …]``.
        mean, std: per channel, of uint8 and uint16 images in [0, 1]; ``None``: ImageNet's, or 0.5 if these are neither
            grey nor of three colours.
    """

    inputs: Sequence[str] = ("images",)
    targets: str | None = "labels"
    channel_axis: str = "auto"
    standardise: bool = False
    mean: Triple | None = None
    std: Triple | None = None

    def __post_init__(self) -> None:
        check_all("dataset", vars(self), KINDS)

    @property
    def all(self) -> list[str]:
        """Inputs and targets."""
        return [*self.inputs, *([] if self.targets is None else [self.targets])]


def read_npz(path: str | Path, named: Named | None = None, rule: Rule | None = None) -> ExampleSplits:
    """Reads arrays of numbers; nothing is unpickled.

    An array called ``images`` is looked for with a part's name before or behind it (``train_images``,
    ``images_train``; ``x_train``, ``xtrain``), or alone, for one part that is divided. All arrays of a part have an
    entry per example.

    uint8 images ``[n, c, h, w]`` are normalised when they go into the network, those of uint16 at once. Other
    floating-point inputs become float32, other whole numbers int64, as token ids are; uint8 that is no image becomes
    float32. Targets that are whole numbers become int64, others float32, with at least two dimensions.

    Args:
        path: the file.
        named: which arrays are what.
        rule: how examples are divided.

    Raises:
        AmcError: no such file or array, a damaged or pickled one, arrays of several lengths, one that takes more memory
            than there is, or what :func:`amc.data.parts.divide` refuses.
    """
    file = given_folder(path, NAME, LAYOUT, file=True)
    named = named or Named()
    parts = _parts(file, array_names(file), named)
    counts = {role: range(_length(file, part)) for role, part in parts.items()}
    division = divide(counts, rule or Rule())
    sets = {}
    for role in ROLES:
        rows = np.array(division.examples[role], dtype=np.int64)
        part = parts[division.parts[role]]
        sets[role] = _set({name: array[rows] for name, array in part.items()}, named, file)
    facts: Mapping[str, Any] = {}
    if named.standardise:
        sets, facts = standardised(sets)
    classes = 0 if named.targets is None else count_classes([one.answers for one in sets.values()])
    first = sets["train"].inputs
    if classes and isinstance(first, Tensor) and first.ndim == IMAGES and _one_each(sets):
        return splits_of(NAME, labelled(sets, classes), division, num_classes=classes, facts=facts)
    return splits_of(NAME, sets, division, num_classes=classes, facts=facts)


def _one_each(sets: Mapping[str, ExampleSet]) -> bool:
    """Whether targets are one class index for each example."""
    return all(isinstance(one.targets, Tensor) and one.targets.ndim == 1 for one in sets.values())


def _parts(file: Path, names: Sequence[str], named: Named) -> dict[str, dict[str, Array]]:
    """Role → the arrays of that part, by the names that were asked for."""
    found: dict[str, dict[str, str]] = {}
    for wanted in named.all:
        # Its name, beside that of a part: train_images, images-train, xtrain.
        pattern = re.compile(rf"(?:([a-z]+)[_.-]?)?{re.escape(wanted)}(?:[_.-]?([a-z]+))?", re.IGNORECASE)
        there: dict[str, str] = {}
        for name in names:
            match = pattern.fullmatch(name)
            role = "train" if name == wanted else match and role_of(match[1] or match[2] or "")
            if role and not (match and match[1] and match[2]):
                if role in there and name != wanted:
                    raise AmcError(f"{file}: both {there[role]!r} and {name!r} are {wanted} of {role}; leave one")
                there.setdefault(role, name)
        if not there:
            shown = ", ".join(names[:20])
            raise AmcError(f"{file}: no array {wanted!r}, alone or with train_, val_, test_; it has {shown}")
        for role, name in there.items():
            found.setdefault(role, {})[wanted] = name
    for role, part in found.items():
        for wanted in named.all:
            if wanted not in part:
                raise AmcError(f"{file}: {role} has {next(iter(part.values()))!r}, but no {wanted!r}; add it")
    arrays = read_arrays(file, [name for part in found.values() for name in part.values()])
    ordered = {role: found[role] for role in ROLES if role in found}
    return {role: {wanted: arrays[name] for wanted, name in part.items()} for role, part in ordered.items()}


def _length(file: Path, part: Mapping[str, Array]) -> int:
    lengths = {name: len(array) for name, array in part.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise AmcError(f"{file}: arrays of one part have several lengths ({counts}); give an entry per example")
    return next(iter(lengths.values()))


def _set(part: Mapping[str, Array], named: Named, file: Path) -> ExampleSet:
    stats: tuple[Triple | None, Triple | None] = (None, None)
    inputs = {}
    for name in named.inputs:
        inputs[name], *left = _input(part[name], named)
        if left[0] is not None:
            stats = (left[0], left[1])
    targets = None if named.targets is None else target_tensor(part[named.targets])
    try:
        return ExampleSet(inputs[named.inputs[0]] if len(inputs) == 1 else inputs, targets, *stats)
    except AmcError as error:
        raise AmcError(f"{file}: {error}") from error


def _input(array: Array, named: Named) -> tuple[Tensor, Triple | None, Triple | None]:
    """An input, and mean and deviation if it is to be normalised with them."""
    picture = array.dtype in (np.uint8, np.uint16)
    axis = _axis(array, picture) if named.channel_axis == "auto" else named.channel_axis
    if array.ndim > 1 and axis == "none":
        array = array[:, None]
    elif array.ndim > 2 and axis == "last":
        array = np.ascontiguousarray(np.moveaxis(array, -1, 1))
    if picture and array.ndim == IMAGES:
        mean, std = named.mean, named.std
        if array.shape[1] not in COLOURS:
            mean, std = mean or (0.5,) * array.shape[1], std or (0.5,) * array.shape[1]
        return as_images(array, *statistics(mean, std, array.shape[1]))
    whole = array.dtype.kind in "iu" and array.dtype != np.uint8
    return torch.from_numpy(array.astype(np.int64 if whole else np.float32)), None, None


def _axis(array: Array, picture: bool) -> str:
    """Where the channels of images are; of anything else they are left where they are."""
    if not picture:
        return "first"
    if array.ndim == 3:
        return "none"
    return "last" if array.ndim == IMAGES and array.shape[1] not in COLOURS and array.shape[3] in COLOURS else "first"
