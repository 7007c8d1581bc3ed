"""Metric and loss of a network on a set of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from amc.core.types import Metrics
from amc.data import ImageSet
from amc.evaluation.metrics import CLASSIFICATION, Criterion, joined
from amc.pruning.layers import frozen_eval


@torch.inference_mode()
def score(
    model: nn.Module,
    images: ImageSet,
    batch_size: int,
    dtype: torch.dtype = torch.float32,
    criterion: Criterion = CLASSIFICATION,
) -> tuple[torch.Tensor, float]:
    """What the metric says of the predictions (see :class:`Metric`), and the mean loss.

    Args:
        model: maps images ``[n, c, h, w]`` to logits ``[n, classes]``; used in evaluation mode and left as it was.
        images: at least one.
        batch_size: images in one forward pass.
        dtype: of the model's weights, and so of the images that it is given.
        criterion: by default top-1 (which images are classified right, bool ``[n]``) and cross-entropy in nats.
    """
    metric, worth = criterion.metric, list[torch.Tensor]()
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    loss = 0.0
    with frozen_eval(model):
        for logits, y in _answers(model, images, batch_size, dtype):
            if metric.per_example:
                worth.append(metric.of(logits, y))
            else:
                seen.append((logits, y))
            loss += float(criterion.loss(logits, y, reduction="sum"))
    found = torch.cat(worth) if metric.per_example else joined(metric, *map(list, zip(*seen, strict=True)))
    return found, loss / len(images)


def measure(
    model: nn.Module,
    images: ImageSet,
    batch_size: int,
    dtype: torch.dtype = torch.float32,
    criterion: Criterion = CLASSIFICATION,
) -> Metrics:
    """The same as one number of each; see :func:`score`."""
    return criterion.metric.metrics(*score(model, images, batch_size, dtype, criterion), len(images))


@torch.inference_mode()
def score_until(
    model: nn.Module,
    images: ImageSet,
    batch_size: int,
    dtype: torch.dtype,
    enough: Callable[[torch.Tensor], bool],
    criterion: Criterion = CLASSIFICATION,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same image by image, and only as far as needed: right bool ``[m]`` and loss float32 ``[m]``, m ≤ n.

    Args:
        model: see :func:`score`.
        images: taken in their order.
        batch_size: images in one forward pass.
        dtype: see :func:`score`.
        enough: called after each batch with its right answers ``[b]``; whether to leave the other images out.
        criterion: with a metric that is a mean over examples.
    """
    right, losses = [], []
    with frozen_eval(model):
        for logits, y in _answers(model, images, batch_size, dtype):
            right.append(criterion.metric.of(logits, y))
            losses.append(criterion.loss(logits, y, reduction="none"))
            if enough(right[-1]):
                break
    return torch.cat(right), torch.cat(losses)


def _answers(
    model: nn.Module, images: ImageSet, batch_size: int, dtype: torch.dtype
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Logits ``[b, classes]`` in float32, and labels ``[b]``."""
    for x, y in images.batches(batch_size, dtype=dtype):
        yield model(x).float(), y
