"""Networks by dotted path for tasks whose outputs are no logits of one class, or whose inputs are no images."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import nn

from amc.core.callables import find_callable
from amc.models.arguments import ADVICE, TORCHVISION
from amc.models.build import made
from amc.models.checkpoint import load_checkpoint
from amc.models.given import own_copy
from amc.models.libraries import TRANSFORMERS, name_of


def build_for_task(
    target: str,
    num_classes: int | None = None,
    *,
    pretrained: bool | str = False,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    **kwargs: Any,
) -> nn.Module:
    """The network called ``target`` as its authors made it, on the CPU, in evaluation mode; nothing is run.

    Args:
        target: dotted path of a callable that returns an ``nn.Module``.
        num_classes: given to it if it is known, and the callable takes it.
        pretrained: weights of timm or of a folder for transformers, see :func:`amc.models.build`; of torchvision's
            networks their default weights.
        checkpoint: weights to load afterwards, see :func:`load_checkpoint`.
        seed: of the initial weights; the global random state is left alone.
        **kwargs: passed to the callable.

    Raises:
        AmcError: no such callable, it doesn't give an ``nn.Module``, or weights don't fit.
    """
    maker = find_callable("model", target, ADVICE)
    known = inspect.signature(maker).parameters
    arguments: dict[str, Any] = {}
    if "num_classes" in known and (num_classes is not None or known["num_classes"].default is inspect.Parameter.empty):
        arguments["num_classes"] = num_classes or 1
    if target.startswith(TORCHVISION):
        arguments["weights"] = "DEFAULT" if pretrained else None
        if "weights_backbone" in known:  # by default fetched from the internet
            arguments["weights_backbone"] = None
    elif pretrained and "pretrained" in known:
        arguments["pretrained"] = pretrained
    if target == TRANSFORMERS.target:
        arguments.setdefault("num_classes", 1)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs as well
        who = name_of({"_target_": target, **kwargs}) or target
        model = own_copy(made(maker, who, {**arguments, **kwargs}))
    if checkpoint is not None:
        load_checkpoint(model, checkpoint)
    return model.eval()
