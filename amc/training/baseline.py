"""The baseline that a search starts from: trained once, then cached."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from amc.core.checks import number
from amc.core.errors import WRONG_VALUES, AmcError
from amc.core.files import cache_folder, read_json, write_json, write_safetensors
from amc.data import Splits
from amc.evaluation.losses import loss_name
from amc.evaluation.metrics import CLASSIFICATION, Criterion
from amc.models import load_checkpoint
from amc.training.fit import evaluate, train
from amc.training.recipe import Recipe
from amc.training.trainer import Epoch, Objective

CACHE_FORMAT = 1
SCORE_TOLERANCE = 0.02
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Baseline:
    """A baseline's weight file, whether it was cached, and its validation score."""

    path: Path
    cached: bool
    val_score: float


def baseline(
    model: nn.Module,
    splits: Splits,
    recipe: Recipe,
    *,
    name: str,
    arguments: Mapping[str, Any] | None = None,
    seed: int = 0,
    cache_dir: str | Path | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    before_training: Callable[[], None] | None = None,
    criterion: Criterion = CLASSIFICATION,
) -> Baseline:
    """Gives ``model`` trained weights, in place, on the device that holds the images.

    They come from the cache if the same network was trained on the same images in the same way before, and still
    reaches the score noted then. Test images are not looked at.

    Args:
        model: untrained, its initial weights made from ``seed``.
        splits: training and validation images.
        recipe: how to train.
        name: of the network; part of the file's name.
        arguments: the network's further arguments; plain data.
        seed: of the training.
        cache_dir: see :func:`amc.core.files.cache_folder`.
        on_epoch: called after every epoch of a training.
        criterion: loss and metric.
        before_training: called if there is none in the cache, to refuse what a training would be lost on.

    Raises:
        AmcError: the training fails.
    """
    facts = {
        "format": CACHE_FORMAT,
        "name": name,
        "arguments": dict(arguments or {}),
        "network": hashlib.sha256(_structure(model).encode()).hexdigest(),
        "dataset": splits.name,
        "images": splits.train.fingerprint(),
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        **(
            {}
            if criterion == CLASSIFICATION
            else {"metric and loss": f"{criterion.metric.name}, {loss_name(criterion.loss)}"}
        ),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    path = cache_folder(cache_dir) / "baselines" / f"{name.rpartition('.')[2]}-{splits.name}-{key}.safetensors"
    score = _restore(model, splits, path, criterion)
    if score is not None:
        return Baseline(path, True, score)
    if before_training is not None:
        before_training()
    objective = Objective(criterion)
    train(model, splits.train, splits.val, recipe, seed=seed, objective=objective, on_epoch=on_epoch)
    model.to(memory_format=torch.contiguous_format)  # as it comes from the cache: the layout decides the last digits
    score, loss = evaluate(model, splits.val, criterion=criterion)
    try:
        write_safetensors(path, model.state_dict())
        write_json(path.with_suffix(".json"), {**facts, "val_accuracy": score, "val_loss": loss})
    except AmcError as error:
        log.warning("the trained baseline is not cached: %s", error)
    return Baseline(path, False, score)


def _structure(model: nn.Module) -> str:
    """Every layer with its settings, and every tensor's shape."""
    shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in model.state_dict().items()]
    return "\n".join([repr(model), *shapes])


def _restore(model: nn.Module, splits: Splits, path: Path, criterion: Criterion) -> float | None:
    """Validation score with the weights in ``path``; ``None``, and ``model`` as it was, if they can't be used."""
    notes = path.with_suffix(".json")
    if not (path.is_file() and notes.is_file()):
        return None
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        expected = number(read_json(notes)["val_accuracy"], 0, 1)
        load_checkpoint(model, path)
    except (AmcError, *WRONG_VALUES):
        log.warning("the cached baseline %s is damaged and is trained again", path)
        return None
    score, _ = evaluate(model.to(splits.val.device), splits.val, criterion=criterion)
    if abs(score - expected) <= SCORE_TOLERANCE:
        model.eval()
        return score
    # The network's code can change without its structure, which invalidates the old weights.
    log.warning("the cached baseline %s no longer reaches its score and is trained again", path)
    model.load_state_dict(before)
    return None
