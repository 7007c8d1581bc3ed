"""Beside a pruned network of Hugging Face, the same as a folder that transformers loads by itself."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from torch import nn

from amc.core.errors import AmcError
from amc.models.to_transformers import write_folder
from amc.pruning.inputs import Example, run
from amc.pruning.skipped import dropped_blocks

NAME = "transformers"  # of the folder

log = logging.getLogger(__name__)


def is_of_transformers(model: nn.Module) -> bool:
    """Whether a network is one of Hugging Face's."""
    return any(made.__module__.partition(".")[0] == NAME for made in type(model).__mro__)


def write_plain_folder(folder: Path, model: nn.Module, example: Example) -> str:
    """Writes the network as ``config.json`` and weights; returns the class of transformers that loads it.

    Args:
        folder: replaced as a whole.
        model: pruned; left as it is.
        example: an input, on which the network that is loaded again must give the same.

    Raises:
        AmcError: see :func:`amc.models.to_transformers.write_folder`.
    """
    return write_folder(folder, model, partial(run, example=example), dropped_blocks(model))


def keep_plain_folder(folder: Path, model: nn.Module, example: Example) -> None:
    """The same after a run, in the folder ``transformers``; where it can't be done, the log says why.

    Raises:
        AmcError: the folder can't be written.
    """
    if not is_of_transformers(model):
        return
    try:
        write_plain_folder(folder / NAME, model, example)
    except AmcError as error:
        if isinstance(error.__cause__, OSError):  # a full disk: the run is not finished
            raise
        log.warning("no folder for transformers: %s", error)
