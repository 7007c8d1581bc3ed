"""What a network returns, looked at once before anything expensive."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from amc.core.errors import AmcError, first_line
from amc.data import Examples
from amc.evaluation.catalogue import BOXES, CLASSES, MAPS, NUMBERS, SEVERAL
from amc.evaluation.judged import picked, structure
from amc.evaluation.losses import mean_loss
from amc.evaluation.metrics import CLASSIFICATION, LANGUAGE, Criterion
from amc.pruning.inputs import run
from amc.pruning.layers import frozen_eval
from amc.pruning.proof import cannot_run

# Task → what it needs of a network, for people.
NEEDED = {
    CLASSES: "logits [n, classes]",
    SEVERAL: "logits [n, labels]",
    NUMBERS: "numbers [n, …] of the targets' shape",
    MAPS: "logits [n, classes, h, w]",
    LANGUAGE: "logits [n, tokens, vocabulary]",
    BOXES: "a list with a dict of boxes, labels and scores for each image",
}
ANY = "one tensor [n, …]"
DIMENSIONS = {CLASSES: 2, SEVERAL: 2, MAPS: 4, LANGUAGE: 3}
PROBE_IMAGES = 2  # one alone would hide an output without a batch dimension


def classifies(criterion: Criterion) -> bool:
    """Whether predictions are judged as logits of one class for each example."""
    return criterion.kind == CLASSES


def check_outputs(
    model: nn.Module, images: Examples, criterion: Criterion = CLASSIFICATION, *, training: bool = False
) -> Any:
    """What is judged of the network's output for the first examples, as the task needs it.

    Args:
        model: on the examples' device; left as it is.
        images: examples, at least one.
        criterion: what the outputs are judged by.
        training: look at what it returns in training mode.

    Raises:
        AmcError: it can't run on such examples, or returns something that is not finite, or that the criterion can't
            judge.
    """
    some = images.take(PROBE_IMAGES)
    who = "model: in training mode it returns" if training else "model: returns"
    if criterion.kind == BOXES and training and not criterion.has_loss:
        return _check_losses(raw_output(model, some, training, with_targets=True))
    raw = raw_output(model, some, training)
    output = picked(raw, criterion.output)
    if criterion.kind == BOXES:
        return _check_boxes(output, len(some), who)
    wanted = f"needed {'is' if criterion.kind not in NEEDED else 'are'} {NEEDED.get(criterion.kind, ANY)}"
    if not isinstance(output, Tensor):
        raise AmcError(f"{who} {structure(output)}; {wanted}: choose one of its parts by output=, a key or a place")
    other = "" if raw is output else f" in {structure(raw)}, of which output= chooses another"
    _check_tensor(output, len(some), criterion, f"{who} the shape {list(output.shape)}{other}", wanted)
    if not output.is_floating_point():
        raise AmcError(f"{who} {output.dtype}; {wanted} of floating-point numbers")
    if classifies(criterion) and output.shape[1] == 1:
        raise AmcError(
            f"{who} a single number for each example; {wanted} for two or more: of a binary logit z give "
            "torch.cat([torch.zeros_like(z), z], 1), or task=regression or task=multilabel"
        )
    if not bool(output.isfinite().all()):
        raise AmcError("outputs of the network: NaN or infinite; check the weights")
    if not (classifies(criterion) and criterion == CLASSIFICATION):
        _try(criterion, output.float(), some.answers)
    return output


def _check_tensor(output: Tensor, examples: int, criterion: Criterion, who: str, wanted: str) -> None:
    dims = DIMENSIONS.get(criterion.kind)
    if output.ndim < 1 or len(output) != examples or (dims is not None and output.ndim != dims):
        raise AmcError(f"{who} for {examples} examples; {wanted}{_reshape(list(output.shape), examples, criterion)}")


def _check_boxes(output: Any, images: int, who: str) -> Any:
    parts = ("boxes", "labels", "scores")
    if not isinstance(output, (list, tuple)) or len(output) != images:
        raise AmcError(f"{who} {structure(output)} for {images} images; needed is {NEEDED[BOXES]}")
    for found in output:
        if not isinstance(found, Mapping) or any(not isinstance(found.get(part), Tensor) for part in parts):
            raise AmcError(f"{who} {structure(found)} for an image; needed is a dict of boxes, labels and scores")
    return output


def _check_losses(losses: Any) -> Any:
    if not isinstance(losses, Mapping) or not all(isinstance(loss, Tensor) for loss in losses.values()):
        raise AmcError(
            f"model: in training mode it returns {structure(losses)}; needed is a dict of losses, as of torchvision's "
            "detectors, or a loss= of your own"
        )
    return losses


def _try(criterion: Criterion, outputs: Tensor, targets: Any) -> None:
    """Raises ``AmcError`` if loss or metric can't judge these outputs."""
    try:
        loss = mean_loss(criterion.loss, outputs, targets)
        tally = criterion.metric.tally()
        tally.update(outputs, targets)
        float(loss)
    except Exception as error:  # the user's own code may raise anything
        held = structure(targets)
        raise AmcError(
            f"task: loss or metric {criterion.metric.name!r} fails for outputs {list(outputs.shape)} and targets "
            f"{held.removeprefix('a tensor ')} ({type(error).__name__}: {first_line(error)}); give others"
        ) from error


def check_labels(outputs: int, splits: Mapping[str, Examples]) -> None:
    """Raises ``AmcError`` if a label of one of the sets lies beyond the network's ``outputs``."""
    for name, images in splits.items():
        labels = images.answers
        if not isinstance(labels, Tensor) or labels.is_floating_point():
            continue
        lowest, highest = int(labels.min()), int(labels.max())
        if highest >= outputs:
            from_one = lowest == 1 and highest == outputs
            advice = "they start at 1: give labels - 1" if from_one else "give a network with an output for each class"
            raise AmcError(
                f"{name}: labels go up to {highest}, the network has {outputs} outputs, for 0 … {outputs - 1}; {advice}"
            )


def check_trainable(model: nn.Module, images: Examples, criterion: Criterion = CLASSIFICATION) -> None:
    """Refuses a network whose training would fail at the first batch.

    Raises:
        AmcError: no parameter may change, it returns something else in training mode, or labels lie beyond its outputs.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise AmcError("training: no parameter may change (requires_grad is False in all); model.requires_grad_(True)")
    output = check_outputs(model, images, criterion, training=True)
    if classifies(criterion):
        check_labels(output.shape[1], {"train": images})


def looks_like_probabilities(output: Tensor) -> bool:
    """Whether a softmax stands at the end of the network that gave this, so that cross-entropy would apply it twice."""
    return bool((output >= 0).all()) and bool(((output.sum(1) - 1).abs() < 1e-3).all())


@torch.no_grad()
def raw_output(model: nn.Module, some: Examples, training: bool = False, *, with_targets: bool = False) -> Any:
    """What a network returns for a few examples, and in training mode for their targets if asked; it stays as it is.

    Raises:
        AmcError: it can't run on them.
    """
    inputs = some.normalised()
    cards = [some.device] if some.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        try:
            if training:
                twin = copy.deepcopy(model).train()
                return twin(inputs, list(some.answers)) if with_targets else run(twin, inputs)
            with frozen_eval(model):
                return run(model, inputs)
        except Exception as error:  # the network's own code may raise anything
            raise cannot_run(inputs, error) from error


def _reshape(shape: list[int], images: int, criterion: Criterion) -> str:
    if not classifies(criterion):
        return ""
    if len(shape) > 2 and shape[0] == images and all(size == 1 for size in shape[2:]):
        return ": add .flatten(1)"
    if len(shape) < 2 or shape[0] != images:
        return ", a row for each example"
    return "; for an output of another kind give another task, such as task=segmentation"
