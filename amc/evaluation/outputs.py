"""What a network returns, looked at once before anything expensive."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amc.core.errors import AmcError, first_line
from amc.data import ImageSet
from amc.evaluation.metrics import CLASSIFICATION, Criterion
from amc.pruning.layers import frozen_eval
from amc.pruning.proof import cannot_run

LOGITS = "needed are logits [n, classes]"
ANY = "needed is one tensor [n, …]"
PROBE_IMAGES = 2  # one alone would hide an output without a batch dimension


def classifies(criterion: Criterion) -> bool:
    """Whether predictions are judged as logits of one class for each image."""
    return criterion.loss is F.cross_entropy


def check_outputs(
    model: nn.Module, images: ImageSet, criterion: Criterion = CLASSIFICATION, *, training: bool = False
) -> Tensor:
    """What ``model`` returns for the first images, as it should be: with cross-entropy, logits ``[n, classes]``.

    Args:
        model: on the images' device; left as it is.
        images: at least one.
        criterion: what the outputs are judged by.
        training: look at what it returns in training mode.

    Raises:
        AmcError: it can't run on such images, or returns something that is no tensor, not finite, or that the criterion
            can't judge.
    """
    some = images.take(PROBE_IMAGES)
    x = some.normalised()
    output = _output(model, x, training)
    who = "model: in training mode it returns" if training else "model: returns"
    wanted = LOGITS if classifies(criterion) else ANY
    if not isinstance(output, Tensor):
        raise AmcError(f"{who} {_structure(output)}; {wanted}: give a module whose forward returns {_pick(output)}")
    shape = list(output.shape)
    if output.ndim < 1 or len(output) != len(x) or (classifies(criterion) and output.ndim != 2):
        raise AmcError(f"{who} the shape {shape} for {len(x)} images; {wanted}{_reshape(shape, len(x))}")
    if not output.is_floating_point():
        raise AmcError(f"{who} {output.dtype}; {wanted} of floating-point numbers")
    if classifies(criterion) and shape[1] == 1:
        raise AmcError(
            f"{who} a single number for each image; {wanted} for two or more: of a binary logit z give "
            "torch.cat([torch.zeros_like(z), z], 1)"
        )
    if not bool(output.isfinite().all()):
        raise AmcError("outputs of the network: NaN or infinite; check the weights")
    if not classifies(criterion):
        _try(criterion, output.float(), some.labels)
    return output


def _try(criterion: Criterion, outputs: Tensor, targets: Tensor) -> None:
    """Raises ``AmcError`` if loss or metric can't judge these outputs."""
    try:
        criterion.loss(outputs, targets, reduction="mean")
        criterion.metric.of(outputs, targets)
    except Exception as error:  # the user's own code may raise anything
        shapes = f"{list(outputs.shape)} and targets {list(targets.shape)} of {targets.dtype}"
        raise AmcError(
            f"task: loss or metric {criterion.metric.name!r} fails for outputs {shapes} ({type(error).__name__}: "
            f"{first_line(error)}); give others"
        ) from error


def check_labels(outputs: int, splits: Mapping[str, ImageSet]) -> None:
    """Raises ``AmcError`` if a label of one of the sets lies beyond the network's ``outputs``."""
    for name, images in splits.items():
        lowest, highest = int(images.labels.min()), int(images.labels.max())
        if highest >= outputs:
            from_one = lowest == 1 and highest == outputs
            advice = "they start at 1: give labels - 1" if from_one else "give a network with an output for each class"
            raise AmcError(
                f"{name}: labels go up to {highest}, the network has {outputs} outputs, for 0 … {outputs - 1}; {advice}"
            )


def check_trainable(model: nn.Module, images: ImageSet, criterion: Criterion = CLASSIFICATION) -> None:
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
def _output(model: nn.Module, x: Tensor, training: bool) -> object:
    cards = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        try:
            if training:
                return copy.deepcopy(model).train()(x)
            with frozen_eval(model):
                return model(x)
        except Exception as error:  # the network's own code may raise anything
            raise cannot_run(x, error) from error


def _structure(output: object) -> str:
    """A type with what is in it, for people."""
    items: list[tuple[str, object]] = []
    if isinstance(output, Mapping):
        items = [(f"{key!r}: ", value) for key, value in output.items()]
    elif isinstance(output, (tuple, list)):
        items = [("", value) for value in output]
    inside = ", ".join(
        f"{key}{list(value.shape) if isinstance(value, Tensor) else type(value).__name__}" for key, value in items
    )
    return f"a {type(output).__name__} ({inside})" if items else f"a {type(output).__name__}"


def _pick(output: object) -> str:
    """An expression for the first tensor in it that could be logits."""
    if isinstance(output, Mapping):
        found = [key for key, value in output.items() if isinstance(value, Tensor) and value.ndim == 2]
        key = "logits" if "logits" in output or not found else found[0]
        return f"model(x)[{key!r}]"
    if isinstance(output, (tuple, list)):
        place = next((i for i, value in enumerate(output) if isinstance(value, Tensor) and value.ndim == 2), 0)
        return f"model(x)[{place}]"
    return "model(x).logits" if isinstance(getattr(output, "logits", None), Tensor) else "these alone"


def _reshape(shape: list[int], images: int) -> str:
    if len(shape) > 2 and shape[0] == images and all(size == 1 for size in shape[2:]):
        return ": add .flatten(1)"
    if len(shape) < 2 or shape[0] != images:
        return ", a row for each image"
    return "; other tasks than classification of whole images aren't supported"
