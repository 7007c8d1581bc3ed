"""How good a classifier is on a set of images."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from amc.data import ImageSet
from amc.layers import frozen_eval


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
        for x, y in images.batches(batch_size, dtype=dtype):
            logits = model(x).float()
            finite = logits.isfinite().all(1)  # the argmax of NaN would be a class like any other
            right.append((logits.argmax(1) == y) & finite)
            loss += float(F.cross_entropy(logits, y, reduction="sum"))
    return torch.cat(right), loss / len(images)
