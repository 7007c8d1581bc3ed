"""Losses of tasks, and over how much of a batch each of them is a mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from amc.core.types import Loss

IGNORED = -100  # target of a token or pixel that isn't judged, as in torch


def token_cross_entropy(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy of the next token, in nats.

    Args:
        logits: ``[n, tokens, vocabulary]``; those of the last token are not judged.
        labels: int64 ``[n, tokens]``, the tokens themselves; −100: not judged, such as padding.
        reduction: ``mean`` over the judged tokens, their ``sum``, or ``none``: the mean of each sequence, ``[n]``.
    """
    given, wanted = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    if reduction != "none":
        return F.cross_entropy(given, wanted, ignore_index=IGNORED, reduction=reduction)
    losses = F.cross_entropy(given, wanted, ignore_index=IGNORED, reduction="none").view(len(labels), -1)
    return losses.sum(1) / judged_tokens(labels).sum(1).clamp(min=1)


def judged_tokens(labels: Tensor) -> Tensor:
    """Which of the next tokens are judged, bool ``[n, tokens − 1]``."""
    return labels[:, 1:] != IGNORED


@cache
def _reduces(loss: Loss) -> bool:
    """Whether a loss takes ``reduction``."""
    try:
        return "reduction" in inspect.signature(loss).parameters
    except (TypeError, ValueError):  # of a few callables written in C
        return False


def has_each(loss: Loss) -> bool:
    """Whether a loss can tell that of each example."""
    return _reduces(loss)


def mean_loss(loss: Loss, outputs: Any, targets: Any, **more: Any) -> Tensor:
    """The mean loss of a batch, a scalar."""
    if _reduces(loss):
        more["reduction"] = "mean"
    found: Tensor = loss(outputs, targets, **more)
    return found


def each_loss(loss: Loss, outputs: Any, targets: Any) -> Tensor:
    """The mean loss of each example, float32 ``[n]``, of a loss that has it."""
    losses: Tensor = loss(outputs, targets, reduction="none")
    return losses.flatten(1).mean(1) if losses.ndim > 1 else losses


def loss_name(loss: Loss) -> str:
    """Name of a loss function or module, for people and fingerprints."""
    return str(getattr(loss, "__name__", type(loss).__name__))


# Targets of a batch → over how many things its loss is a mean.
Share = Callable[[Any], int]


def examples_in(targets: Any) -> int:
    """A mean over examples."""
    if isinstance(targets, Tensor) or not hasattr(targets, "values"):
        return len(targets)
    return len(next(iter(targets.values())))


def tokens_in(labels: Tensor) -> int:
    """A mean over the tokens that are judged."""
    return int(judged_tokens(labels).sum())


def pixels_in(labels: Tensor) -> int:
    """A mean over the pixels that are judged."""
    return int((labels != IGNORED).sum())


def weighted(total: float, loss: Tensor, share: int) -> float:
    """``total`` plus a batch's mean loss, by its share; nothing of a batch without anything to judge."""
    return total + float(loss) * share if share else total


def no_loss(outputs: Any, targets: Any) -> Tensor:
    """Stands for the loss of a detector, which only the network itself can tell, in training mode."""
    raise NotImplementedError("a detector's predictions have no loss")
