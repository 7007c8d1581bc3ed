"""Metric and loss of a network on a set of examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amc.core.types import Metrics
from amc.data import Examples
from amc.evaluation.losses import each_loss, mean_loss, weighted
from amc.evaluation.metrics import CLASSIFICATION, LANGUAGE, Criterion
from amc.pruning.layers import frozen_eval

MOST_TOKENS = 2048  # of a language model in one forward pass: each has logits over the whole vocabulary


@dataclass(frozen=True)
class Seen:
    """What scoring saw.

    Attributes:
        worth: of a metric that is a mean over examples, whether each is right, bool ``[n]``; else its value.
        loss: mean loss.
        examples: how many there were.
    """

    worth: Tensor | float
    loss: float
    examples: int


@torch.inference_mode()
def score(
    model: nn.Module,
    images: Examples,
    batch_size: int,
    dtype: torch.dtype = torch.float32,
    criterion: Criterion = CLASSIFICATION,
) -> Seen:
    """What the metric says of the predictions (see :class:`Metric`), and the mean loss.

    Args:
        model: used in evaluation mode and left as it was.
        images: examples, at least one.
        batch_size: examples in one forward pass.
        dtype: of the model's weights, and so of the inputs that it is given.
        criterion: by default top-1 (which images are classified right, bool ``[n]``) and cross-entropy in nats.
    """
    metric = criterion.metric
    if metric.of_model is not None:
        with frozen_eval(model):
            value = metric.of_model(model, images, batch_size, dtype)
        return Seen(value, value, len(images))
    tally, total, judged = metric.tally(), 0.0, 0
    with frozen_eval(model):
        for inputs, targets in images.batches(fitting(batch_size, images, criterion), dtype=dtype):
            outputs = criterion.judged(model, inputs)
            tally.update(outputs, targets)
            if criterion.has_loss:
                share = criterion.share(targets)
                total = weighted(total, mean_loss(criterion.loss, outputs, targets), share)
                judged += share
    loss = total / max(judged, 1)
    if metric.of_loss is not None:
        return Seen(metric.of_loss(loss), loss, len(images))
    worth = tally.compute()
    if not (metric.per_example and isinstance(worth, Tensor)):
        worth = float(worth)
    return Seen(worth, loss if criterion.has_loss else 1 - metric.value(worth), len(images))


def fitting(batch_size: int, images: Examples, criterion: Criterion) -> int:
    """``batch_size``, or fewer sequences where the logits of so many tokens would take much memory."""
    if criterion.kind != LANGUAGE:
        return batch_size
    targets = images.take(1).answers
    tokens = targets.shape[1] if isinstance(targets, Tensor) and targets.ndim > 1 else 1
    return max(1, min(batch_size, MOST_TOKENS // tokens))


def measure(
    model: nn.Module,
    images: Examples,
    batch_size: int,
    dtype: torch.dtype = torch.float32,
    criterion: Criterion = CLASSIFICATION,
) -> Metrics:
    """The same as one number of each; see :func:`score`."""
    seen = score(model, images, batch_size, dtype, criterion)
    return criterion.metric.metrics(seen.worth, seen.loss, seen.examples)


@torch.inference_mode()
def score_until(
    model: nn.Module,
    images: Examples,
    batch_size: int,
    dtype: torch.dtype,
    enough: Callable[[torch.Tensor], bool],
    criterion: Criterion = CLASSIFICATION,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same example by example, and only as far as needed: right bool ``[m]`` and loss float32 ``[m]``, m ≤ n.

    Args:
        model: see :func:`score`.
        images: taken in their order.
        batch_size: examples in one forward pass.
        dtype: see :func:`score`.
        enough: called after each batch with its right answers ``[b]``; whether to leave the other examples out.
        criterion: with a metric that is a mean over examples, and a loss that each of them has.
    """
    right, losses = [], []
    of = criterion.metric.of
    assert of is not None
    with frozen_eval(model):
        for inputs, targets in images.batches(batch_size, dtype=dtype):
            outputs = criterion.judged(model, inputs)
            right.append(of(outputs, targets))
            losses.append(each_loss(criterion.loss, outputs, targets))
            if enough(right[-1]):
                break
    return torch.cat(right), torch.cat(losses)
