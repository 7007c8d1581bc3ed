"""One look at network, inputs and targets together, before anything expensive."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from amc.core.errors import AmcError
from amc.data import Examples, ExampleSet, ImageSet
from amc.data.examples import described
from amc.evaluation.catalogue import CLASSES
from amc.evaluation.judged import picked
from amc.evaluation.metrics import Criterion
from amc.evaluation.outputs import (
    PROBE_IMAGES,
    check_labels,
    check_outputs,
    classifies,
    looks_like_probabilities,
    raw_output,
)
from amc.models.given import own_copy, remarks
from amc.task.kinds import AUTO, Wanted, kind_of
from amc.task.targets import prepared

log = logging.getLogger(__name__)


def checked(
    model: nn.Module, splits: Mapping[str, Examples], given: Criterion | Wanted, device: torch.device
) -> tuple[nn.Module, dict[str, Examples], Criterion]:
    """A copy of the network on ``device``, in float32, the examples as the task takes them, and what judges both.

    What is accepted but may be a mistake is logged, after all that could be refused.

    Args:
        model: as the user has it; left as it is.
        splits: ``train``, ``val`` and, if there is one, ``test``; on the device.
        given: what predictions are judged by, or what that is made of.
        device: of the copy.

    Raises:
        AmcError: a network that can't be pruned, inputs it can't run on, sets of different inputs, outputs that the
            criterion can't judge, or targets that don't fit them.
    """
    _check_alike(splits)
    twin = own_copy(model, device)
    if isinstance(given, Wanted):
        splits, criterion = judging(twin, splits, given)
    else:
        criterion = given
    output = check_outputs(twin, splits["train"], criterion)
    notes = remarks(model)
    if classifies(criterion):
        outputs = output.shape[1]
        check_labels(outputs, splits)
        notes += _class_remarks(output, splits)
        splits = {name: _of_classes(split, outputs) for name, split in splits.items()}
    for note in notes:
        log.warning(note)
    return twin, dict(splits), criterion


def judging(model: nn.Module, splits: Mapping[str, Examples], wanted: Wanted) -> tuple[dict[str, Examples], Criterion]:
    """The examples as the task takes them, and what judges its predictions."""
    train = splits["train"]
    outputs = picked(raw_output(model, train.take(PROBE_IMAGES)), wanted.output)
    kind = kind_of(train, outputs) if wanted.kind == AUTO else wanted.kind
    if kind != CLASSES and isinstance(train, ImageSet):
        splits = {name: _plain(split) for name, split in splits.items()}
    splits = {name: prepared(split, kind, outputs, name) for name, split in splits.items()}
    return splits, wanted.criterion(kind, outputs, splits["val"], model)


def _plain(split: Examples) -> Examples:
    """Labelled images of a task that doesn't sort them into classes."""
    if not isinstance(split, ImageSet):
        return split
    normalised = split.images.dtype == torch.uint8
    stats = (split.mean, split.std) if normalised else (None, None)
    return ExampleSet(split.images, split.labels, *stats)


def _of_classes(split: Examples, classes: int) -> Examples:
    if not isinstance(split, ImageSet) or split.num_classes == classes:
        return split
    return replace(split, num_classes=classes)


def _class_remarks(output: torch.Tensor, splits: Mapping[str, Examples]) -> list[str]:
    """What may be a mistake about logits ``[n, classes]`` and labels."""
    notes, outputs = [], output.shape[1]
    classes = max(int(torch.as_tensor(split.answers).max()) + 1 for split in splits.values())
    classes = max([classes, *(split.num_classes for split in splits.values() if isinstance(split, ImageSet))])
    if classes < outputs:
        notes.append(
            f"model: has {outputs} outputs for labels of {classes} classes; is it the network for these images?"
        )
    for name, split in splits.items():
        labels = torch.as_tensor(split.answers)
        if len(split) > 1 and bool((labels == labels[0]).all()):
            notes.append(f"{name}: all {len(split)} images have the label {int(labels[0])}; is that meant?")
    if looks_like_probabilities(output):
        notes.append("model: its outputs look like probabilities; losses are those of logits, so leave the softmax out")
    return notes


def _check_alike(splits: Mapping[str, Examples]) -> None:
    """The sets hold inputs of one shape and type."""
    first = splits["train"]
    for name, split in splits.items():
        if described(split.raw) == described(first.raw):
            continue
        if isinstance(split, ImageSet) and isinstance(first, ImageSet):
            if split.shape != first.shape:
                theirs, ours = ("×".join(map(str, one.shape)) for one in (split, first))
                raise AmcError(f"{name}: images are {theirs}, those of train {ours}; give all of one size")
            raise AmcError(
                f"{name}: images are {split.images.dtype}, those of train {first.images.dtype}; normalise all alike"
            )
        raise AmcError(f"{name}: inputs are {split.what}, those of train {first.what}; give all of one kind")
