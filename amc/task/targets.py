"""Targets in the form that a task's loss and metric take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from amc.core.errors import AmcError
from amc.data import Examples, ExampleSet
from amc.data.loader import class_indices
from amc.evaluation.catalogue import BOXES, CLASSES, CUSTOM, MAPS
from amc.evaluation.judged import structure
from amc.evaluation.losses import IGNORED
from amc.evaluation.metrics import LANGUAGE

VOID = 255  # of a mask's pixels that belong to no class, as in Pascal VOC


def prepared(examples: Examples, kind: str, outputs: Any, name: str) -> Examples:
    """The examples with targets in the form that the task's loss and metric take.

    Args:
        examples: as read.
        kind: of the task.
        outputs: the judged ones of a few examples.
        name: of the set, for errors.

    Raises:
        AmcError: targets that don't fit the task.
    """
    if kind == CUSTOM or not isinstance(examples, ExampleSet):
        return examples
    if kind == LANGUAGE:
        return replace(examples, targets=_next_tokens(examples, name))
    given = examples.answers
    if kind == BOXES and isinstance(given, tuple):
        return replace(examples, targets=_boxes(given, name))
    if kind == BOXES or not isinstance(given, Tensor) or not isinstance(outputs, Tensor):
        both = f"targets are {structure(given)}, the judged output {structure(outputs)}"
        raise AmcError(f"{name}: {both}; task={kind} can't use them")
    if kind == CLASSES:
        return replace(examples, targets=class_indices(given, len(examples), name))
    return replace(examples, targets=_pixels(given, outputs, name) if kind == MAPS else _like(given, outputs, name))


def _like(targets: Tensor, outputs: Tensor, name: str) -> Tensor:
    """Numbers, or labels 0 and 1, in the outputs' shape: ``[n]`` becomes ``[n, 1]``."""
    if targets[0].numel() != outputs[0].numel():
        raise AmcError(
            f"{name}: targets are {list(targets.shape)}, the judged outputs {structure(outputs)}; give as many numbers "
            "for each example"
        )
    return targets.float().view(len(targets), *outputs.shape[1:])


def _pixels(masks: Tensor, outputs: Tensor, name: str) -> Tensor:
    if masks.is_floating_point():
        raise AmcError(f"{name}: masks are {masks.dtype}; give the number of a class for each pixel, [n, h, w]")
    masks = masks.squeeze(1) if masks.ndim == 4 and masks.shape[1] == 1 else masks
    if masks.shape[1:] != outputs.shape[2:]:
        sizes = f"{list(masks.shape[1:])}, the network's {list(outputs.shape[2:])}"
        raise AmcError(f"{name}: masks are of the size {sizes}; resize them to it")
    masks, classes = masks.long(), outputs.shape[1]
    if classes <= VOID:
        masks = masks.masked_fill(masks == VOID, IGNORED)
    low, high = int(masks[masks != IGNORED].min()) if bool((masks != IGNORED).any()) else 0, int(masks.max())
    if low < 0 or high >= classes:
        raise AmcError(
            f"{name}: masks hold {low} … {high}, the network has {classes} classes, 0 … {classes - 1}; {VOID} or "
            f"{IGNORED} mean no class"
        )
    return masks


def _boxes(targets: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    for place, entry in enumerate(targets):
        fits = isinstance(entry, Mapping) and all(isinstance(entry.get(key), Tensor) for key in ("boxes", "labels"))
        if not fits or entry["boxes"].shape != (len(entry["labels"]), 4):
            raise AmcError(
                f"{name}: target {place} is {structure(entry)}; give a dict of boxes [k, 4] (left, top, right, bottom "
                "in pixels) and labels [k]"
            )
    return targets


def _next_tokens(examples: ExampleSet, name: str) -> Tensor:
    labels = examples.targets
    if labels is None:
        labels = tokens_of(examples)
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.ndim != 2:
        raise AmcError(f"{name}: has no token ids [n, tokens]; give them as the input, as input_ids, or as labels")
    labels = labels.long()
    mask = examples.inputs.get("attention_mask") if isinstance(examples.inputs, Mapping) else None
    if mask is not None and mask.shape == labels.shape:
        labels = labels.masked_fill(mask == 0, IGNORED)
    if not bool((labels[:, 1:] != IGNORED).any()):
        raise AmcError(f"{name}: no token is left to be judged; give longer sequences or other labels")
    return labels


def tokens_of(examples: Examples) -> Tensor | None:
    """The token ids among the inputs."""
    raw = examples.raw
    if isinstance(raw, Mapping):
        raw = raw.get("input_ids", next(iter(raw.values())))
    elif isinstance(raw, tuple):
        raw = raw[0]
    return raw if raw.ndim == 2 and raw.dtype in (torch.int64, torch.int32) else None
