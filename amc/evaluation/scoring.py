"""How good a classifier is on a set of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn import functional as F

from amc.data import ImageSet
from amc.pruning.layers import frozen_eval


@torch.inference_mode()
def score(
    model: nn.Module, images: ImageSet, batch_size: int, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, float]:
    """Which images are classified right, bool ``[n]``, and the mean cross-entropy in nats.

    Args:
        model: maps images ``[n, c, h, w]`` to logits ``[n, classes]``; used in evaluation mode and left as it was.
        images: at least one.
        batch_size: images in one forward pass.
        dtype: of the model's weights, and so of the images that it is given.
    """
    right, loss = [], 0.0
    with frozen_eval(model):
        for logits, y in _answers(model, images, batch_size, dtype):
            right.append(_is_right(logits, y))
            loss += float(F.cross_entropy(logits, y, reduction="sum"))
    return torch.cat(right), loss / len(images)


@torch.inference_mode()
def score_until(
    model: nn.Module,
    images: ImageSet,
    batch_size: int,
    dtype: torch.dtype,
    enough: Callable[[torch.Tensor], bool],
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same image by image, and only as far as needed: right bool ``[m]`` and cross-entropy float32 ``[m]``, m ≤ n.

    Args:
        model: see :func:`score`.
        images: taken in their order.
        batch_size: images in one forward pass.
        dtype: see :func:`score`.
        enough: called after each batch with its right answers ``[b]``; whether to leave the other images out.
    """
    right, losses = [], []
    with frozen_eval(model):
        for logits, y in _answers(model, images, batch_size, dtype):
            right.append(_is_right(logits, y))
            losses.append(F.cross_entropy(logits, y, reduction="none"))
            if enough(right[-1]):
                break
    return torch.cat(right), torch.cat(losses)


def _answers(
    model: nn.Module, images: ImageSet, batch_size: int, dtype: torch.dtype
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Logits ``[b, classes]`` in float32, and labels ``[b]``."""
    for x, y in images.batches(batch_size, dtype=dtype):
        yield model(x).float(), y


def _is_right(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    finite = logits.isfinite().all(1)  # the argmax of NaN would be a class like any other
    return (logits.argmax(1) == labels) & finite
