"""Export of a network of Hugging Face as a folder of its own library."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.text import Text
from torch import nn

from amc.core.files import plain, write_json
from amc.pruning.plain_folder import NAME as FOLDER
from amc.pruning.plain_folder import write_plain_folder
from amc.pruning.rebuild import PrunedInfo
from amc.reporting.console import show


def export_folder(target: Path, small: nn.Module, info: PrunedInfo, verbose: bool) -> dict[str, Any]:
    """Writes ``config.json`` and weights for transformers, and ``export.json`` beside the folder.

    Args:
        target: folder for both.
        small: the pruned network.
        info: of its folder.
        verbose: say what was written.

    Returns:
        The content of ``export.json``.

    Raises:
        AmcError: no network of transformers, none that a configuration describes, or a folder that can't be written.
    """
    made = write_plain_folder(target / FOLDER, small, info.example())
    result: dict[str, Any] = plain(
        {
            "format": FOLDER,
            "file": FOLDER,
            "class": made,
            **{name: getattr(info, name) for name in ("image_shape", "num_classes", "mean", "std")},
            **({} if info.inputs is None else {"inputs": info.inputs}),
            "versions": {package: version(package) for package in ("torch", FOLDER)},
        }
    )
    write_json(target / "export.json", result)
    if verbose:
        show(Text(f"written: {target / FOLDER}, for transformers.{made}.from_pretrained; it gives the same outputs"))
    return result
