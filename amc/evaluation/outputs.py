"""What a network returns, looked at once before anything expensive."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from amc.core.errors import AmcError
from amc.data import ImageSet
from amc.pruning.layers import frozen_eval
from amc.pruning.proof import cannot_run

WANTED = "needed are logits [n, classes]"
PROBE_IMAGES = 2  # one alone would hide an output without a batch dimension


def check_logits(model: nn.Module, images: ImageSet, *, training: bool = False) -> int:
    """The number of classes that ``model`` tells apart, from its outputs for the first images.

    Args:
        model: on the images' device; left as it is.
        images: at least one.
        training: look at what it returns in training mode.

    Raises:
        AmcError: it can't run on such images, or returns no finite logits ``[n, classes]`` for two or more classes.
    """
    x = images.take(PROBE_IMAGES).normalised()
    output = _output(model, x, training)
    who = "model: in training mode it returns" if training else "model: returns"
    if not isinstance(output, Tensor):
        raise AmcError(f"{who} {_structure(output)}; {WANTED}: give a module whose forward returns {_pick(output)}")
    shape = list(output.shape)
    if output.ndim != 2 or len(output) != len(x):
        raise AmcError(f"{who} the shape {shape} for {len(x)} images; {WANTED}{_reshape(shape, len(x))}")
    if not output.is_floating_point():
        raise AmcError(f"{who} {output.dtype}; {WANTED} as floating-point numbers, not the class itself")
    if shape[1] == 1:
        raise AmcError(
            f"{who} a single number for each image; {WANTED} for two or more: of a binary logit z give "
            "torch.cat([torch.zeros_like(z), z], 1)"
        )
    if not bool(output.isfinite().all()):
        raise AmcError("outputs of the network: NaN or infinite; check the weights")
    return shape[1]


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


def check_trainable(model: nn.Module, images: ImageSet) -> None:
    """Refuses a network whose training would fail at the first batch.

    Raises:
        AmcError: no parameter may change, it returns something else in training mode, or labels lie beyond its outputs.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise AmcError("training: no parameter may change (requires_grad is False in all); model.requires_grad_(True)")
    check_labels(check_logits(model, images, training=True), {"train": images})


def looks_like_probabilities(model: nn.Module, images: ImageSet) -> bool:
    """Whether a softmax stands at the network's end, so that cross-entropy would apply it twice."""
    output = _output(model, images.take(PROBE_IMAGES).normalised(), training=False)
    assert isinstance(output, Tensor)
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
