"""A pruned network on disk: weights, plan, and the description that rebuilds it without the original.

``model.json`` describes the dense architecture and holds the digests of the other files; it is written last, so a
folder is valid only as a whole. Nothing in it is unpickled, and of what it names only this project's and torchvision's
own networks are called.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from amc.core.errors import AmcError, damaged
from amc.core.files import read_bytes, read_json, read_safetensors, write_json, write_safetensors
from amc.core.trust import listed
from amc.core.types import PruningPlan, Scored
from amc.data import Examples
from amc.data.layout import about
from amc.models.given import check_layers, copied
from amc.pruning.numbers import numbers_of
from amc.pruning.rebuild import (
    FORMAT,
    MODEL,
    PLAN,
    WEIGHTS,
    PrunedInfo,
    _assemble,
    _check_rebuilt,
    _described,
    _is_channels_last,
    _layers,
    architecture,
    unsaved_buffers,
)
from amc.pruning.skipped import skipped_modules


def save_pruned(
    folder: str | Path,
    model: nn.Module,
    *,
    plan: PruningPlan,
    description: Mapping[str, Any] | None,
    facts: Mapping[str, Any],
    image_shape: Sequence[int] | None = None,
    num_classes: int | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    inputs: Any = None,
) -> None:
    """Writes ``weights.safetensors``, ``plan.json`` and ``model.json``; each replaced atomically, the last one last.

    Args:
        folder: made if need be; what an earlier save left there is replaced.
        model: the pruned network, on any device; left as it is.
        plan: its plan.
        description: how to build the dense architecture, as :func:`amc.models.build` takes it: ``target`` (dotted
            path), ``stem`` (default ``auto``; ``imagenet`` where torchvision's weights were taken) and ``arguments``
            (plain data); ``None`` for a network that no callable makes.
        facts: plain data to keep with the network, such as accuracies as fractions.
        image_shape: (channels, height, width) of an image.
        num_classes: length of the output.
        mean, std: of the images scaled to [0, 1], per channel.
        inputs: form of one input, see :func:`amc.data.layout.layout_of`, of a network that takes no images or sorts
            them into no classes; instead of the four above.

    Raises:
        AmcError: the files can't be written; or the description doesn't rebuild this network, in which case
            nothing is written.
    """
    folder = Path(folder)
    tensors = {**model.state_dict(), **unsaved_buffers(model)}
    extra = [name for name, value in tensors.items() if not isinstance(value, torch.Tensor)]
    if extra:
        raise AmcError(f"{folder}: the network's state {extra[0]!r} is no tensor and can't be saved; make it one")
    info = PrunedInfo(
        network=None if description is None else _described(description, model),
        image_shape=None if image_shape is None else (image_shape[0], image_shape[1], image_shape[2]),
        num_classes=num_classes,
        mean=tuple(mean),
        std=tuple(std),
        layers=_layers(model),
        numbers={name: own for name, module in model.named_modules() if (own := numbers_of(module))},
        skipped=skipped_modules(model),
        channels_last=tuple(name for name, tensor in tensors.items() if _is_channels_last(tensor)),
        facts=facts,
        inputs=inputs,
    )
    # As it will be read: a tuple among the arguments, say, comes back from a file as a list.
    _check_rebuilt(folder, PrunedInfo.from_json(json.loads(json.dumps(info.to_json()))), model, tensors)
    write_safetensors(folder / WEIGHTS, tensors)
    write_json(folder / PLAN, plan.to_json())
    digests = {name: _digest(folder / name) for name in (WEIGHTS, PLAN)}
    write_json(folder / MODEL, {**info.to_json(), "files": digests})


def load(folder: str | Path, model: nn.Module | None = None, trust: str | Collection[str] = ()) -> nn.Module:
    """The pruned network in ``folder``, on the CPU, in evaluation mode; no other file is needed.

    It gives, bit for bit, the outputs of the network that was saved. Its inputs are images normalised with the ``mean``
    and ``std`` from :func:`read_info`.

    Args:
        folder: written by :func:`save_pruned`, such as ``RUN_DIR/pruned``.
        model: the dense architecture with any weights, left as it is; for networks that are neither torchvision's nor
            this project's. A folder may come from anywhere, so no other code that it names is run.
        trust: dotted path, or several, of other code that may be run if the folder names it.

    Raises:
        AmcError: the folder is damaged or incomplete, ``model`` is needed, or ``model`` is another architecture.
    """
    folder = Path(folder)
    info = read_info(folder)
    uncut = architecture(folder, info, listed(trust)) if model is None else copied(check_layers(model))
    for name, digest in info.files.items():
        if _digest(folder / name) != digest:
            raise AmcError(
                f"{folder / name}: is not the file that {MODEL} was written with; it is damaged, or a save was "
                "interrupted: save or copy the folder again"
            )
    return _assemble(folder, uncut, read_safetensors(folder / WEIGHTS), info)


def read_info(folder: str | Path) -> PrunedInfo:
    """The content of a pruned network's ``model.json``. Raises ``AmcError`` if it is missing or damaged."""
    path = Path(folder) / MODEL
    if not path.is_file():
        raise AmcError(f"{folder}: holds no pruned network (no {MODEL}); give RUN_DIR/pruned of an amc.finetune run")
    data = read_json(path)
    if isinstance(data, dict) and isinstance(data.get("format"), int) and data["format"] > FORMAT:
        raise AmcError(f"{path}: has format {data['format']}, this amc reads {FORMAT}; install a newer amc-pruning")
    with damaged(path, "describes no pruned network"):
        info = PrunedInfo.from_json(data)
        if set(info.files) != {WEIGHTS, PLAN}:
            raise ValueError(f"files {sorted(info.files)}")
    return info


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except AmcError as error:
        raise AmcError(f"{error}; the folder is incomplete, copy it again") from error


log = logging.getLogger(__name__)


def keep_network(
    folder: Path,
    model: nn.Module,
    plan: PruningPlan,
    scored: Scored,
    images: Examples,
    description: Mapping[str, Any] | None,
) -> None:
    """Saves a plan's network without fine-tuning. One that its description doesn't rebuild doesn't fail the run.

    Args:
        folder: of the pruned network.
        model, plan, scored: the network, its plan and its results.
        images: examples; their form and normalisation are noted.
        description: see :func:`amc.pruning.saved.save_pruned`.

    Raises:
        AmcError: the files can't be written.
    """
    try:
        save_pruned(
            folder,
            model,
            plan=plan,
            description=description,
            facts={f"val_{scored.val.metric}": scored.val.value, "macs": scored.cost.macs},
            **about(images),
        )
    except AmcError as error:
        if isinstance(error.__cause__, OSError):  # a full disk: the run is not finished
            raise
        log.warning("the pruned network is not saved: %s", error)
