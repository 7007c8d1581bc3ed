"""One look at network, images and labels together, before anything expensive."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from amc.core.errors import AmcError
from amc.data import ImageSet
from amc.evaluation.metrics import Criterion
from amc.evaluation.outputs import check_labels, check_outputs, classifies, looks_like_probabilities
from amc.models.given import own_copy, remarks

log = logging.getLogger(__name__)


def checked(
    model: nn.Module, splits: Mapping[str, ImageSet], criterion: Criterion, device: torch.device
) -> tuple[nn.Module, dict[str, ImageSet]]:
    """A copy of the network on ``device``, in float32, and the images with as many classes as it has outputs.

    What is accepted but may be a mistake is logged, after all that could be refused.

    Args:
        model: as the user has it; left as it is.
        splits: ``train``, ``val`` and, if there is one, ``test``; on the device.
        criterion: what its predictions are judged by.
        device: of the copy.

    Raises:
        AmcError: a network that can't be pruned, images it can't run on, sets of different images, outputs that the
            criterion can't judge, or labels beyond them.
    """
    _check_alike(splits)
    twin = own_copy(model, device)
    output = check_outputs(twin, splits["train"], criterion)
    notes = remarks(model)
    if classifies(criterion):
        outputs = output.shape[1]
        check_labels(outputs, splits)
        notes += _class_remarks(output, splits)
        splits = {n: s if s.num_classes == outputs else replace(s, num_classes=outputs) for n, s in splits.items()}
    for note in notes:
        log.warning(note)
    return twin, dict(splits)


def _class_remarks(output: torch.Tensor, splits: Mapping[str, ImageSet]) -> list[str]:
    """What may be a mistake about logits ``[n, classes]`` and labels."""
    notes, outputs = [], output.shape[1]
    classes = max(images.num_classes for images in splits.values())
    if classes < outputs:
        notes.append(
            f"model: has {outputs} outputs for labels of {classes} classes; is it the network for these images?"
        )
    for name, images in splits.items():
        if len(images) > 1 and bool((images.labels == images.labels[0]).all()):
            notes.append(f"{name}: all {len(images)} images have the label {int(images.labels[0])}; is that meant?")
    if looks_like_probabilities(output):
        notes.append("model: its outputs look like probabilities; losses are those of logits, so leave the softmax out")
    return notes


def _check_alike(splits: Mapping[str, ImageSet]) -> None:
    """The sets hold images of one shape and type."""
    first = splits["train"]
    for name, images in splits.items():
        if images.shape != first.shape:
            theirs, ours = ("×".join(map(str, one.shape)) for one in (images, first))
            raise AmcError(f"{name}: images are {theirs}, those of train {ours}; give all of one size")
        if images.images.dtype != first.images.dtype:
            raise AmcError(
                f"{name}: images are {images.images.dtype}, those of train {first.images.dtype}; normalise all alike"
            )
