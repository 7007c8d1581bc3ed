"""Adapts ImageNet networks to small images: a stem that keeps the resolution, no oversized pools; and to grey ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SMALL_IMAGE = 64
COLOURS = 3


class _PoolTooLargeError(Exception):
    """A pool's window is larger than the feature map that reaches it; ``args[0]`` is the pool's path."""


def use_small_stem(model: nn.Module, image_shape: tuple[int, int, int]) -> None:
    """Replaces a strided first convolution by a 3×3 of stride 1, and drops the max-pool that belongs to it.

    A network whose first convolution already has stride 1 (VGG) keeps it. Changes ``model`` in place.
    """
    convs = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    if not convs or convs[0][1].stride == (1, 1):
        return
    name, old = convs[0]
    new = nn.Conv2d(image_shape[0], old.out_channels, 3, 1, 1, bias=old.bias is not None)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    model.set_submodule(name, new)
    pools = [name for name, m in model.named_modules() if isinstance(m, nn.MaxPool2d)]
    if pools:
        model.set_submodule(pools[0], nn.Identity())


def use_grey(model: nn.Module, image_shape: tuple[int, int, int]) -> None:
    """Lets a first convolution for three colours take grey images, as if all three were the same.

    Changes ``model`` in place; for images that are not grey nothing.
    """
    convs = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    if image_shape[0] != 1 or not convs or convs[0][1].in_channels != COLOURS or convs[0][1].groups != 1:
        return
    _, old = convs[0]
    with torch.no_grad():
        old.weight = nn.Parameter(old.weight.sum(1, keepdim=True))
    old.in_channels = 1


def fit_pools(model: nn.Module, image_shape: tuple[int, int, int]) -> None:
    """Drops pools that would leave no pixel, and keeps adaptive pools from blowing small feature maps up.

    VGG ends in an adaptive 7×7 pool: behind a 1×1 feature map it would only repeat each value 49 times, in front
    of a linear layer of 100 M weights. Both shrink to the real size. Changes ``model`` in place.
    """
    while (name := _oversized_pool(model, image_shape)) is not None:
        model.set_submodule(name, nn.Identity())
    for name, (channels, have, want) in _upsampling_pools(model, image_shape).items():
        model.set_submodule(name, nn.AdaptiveAvgPool2d(have))
        _narrow_linear(model, channels * want[0] * want[1], channels * have[0] * have[1])


def run_once(model: nn.Module, image_shape: tuple[int, int, int]) -> Any:
    """The output for one all-zero image, in evaluation mode; the mode is put back."""
    training = model.training
    try:
        with torch.no_grad():
            return model.eval()(torch.zeros(1, *image_shape))
    finally:
        model.train(training)


def _oversized_pool(model: nn.Module, image_shape: tuple[int, int, int]) -> str | None:
    """Path of the first pool, in forward order, whose window is larger than its padded input."""

    def guard(name: str) -> Any:
        def check(pool: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            height, width = inputs[0].shape[-2:]
            kernels, paddings = _pair(pool.kernel_size), _pair(pool.padding)
            # A ceil-mode pool also covers a partial window; it needs one pixel only.
            slack = min(kernels) - 1 if pool.ceil_mode else 0
            if any(s + 2 * p + slack < k for s, k, p in zip((height, width), kernels, paddings, strict=True)):
                raise _PoolTooLargeError(name)

        return check

    pools = [(n, m) for n, m in model.named_modules() if isinstance(m, (nn.MaxPool2d, nn.AvgPool2d))]
    hooks = [pool.register_forward_pre_hook(guard(name)) for name, pool in pools]
    try:
        run_once(model, image_shape)
    except _PoolTooLargeError as error:
        return str(error)
    finally:
        for hook in hooks:
            hook.remove()
    return None


def _upsampling_pools(
    model: nn.Module, image_shape: tuple[int, int, int]
) -> dict[str, tuple[int, tuple[int, int], tuple[int, int]]]:
    """Adaptive pools with a larger output than input: path → (channels, input size, output size)."""
    found: dict[str, tuple[int, tuple[int, int], tuple[int, int]]] = {}

    def watch(name: str) -> Any:
        def look(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            have, want = _pair(tuple(inputs[0].shape[2:])), _pair(tuple(output.shape[2:]))
            if want[0] > have[0] or want[1] > have[1]:
                found[name] = (output.shape[1], have, want)

        return look

    adaptive = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.AdaptiveAvgPool2d)]
    hooks = [pool.register_forward_hook(watch(name)) for name, pool in adaptive]
    try:
        run_once(model, image_shape)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _narrow_linear(model: nn.Module, old_inputs: int, new_inputs: int) -> None:
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and layer.in_features == old_inputs:
            new = nn.Linear(new_inputs, layer.out_features, bias=layer.bias is not None)
            nn.init.kaiming_normal_(new.weight, nonlinearity="relu")
            model.set_submodule(name, new)
            return


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
