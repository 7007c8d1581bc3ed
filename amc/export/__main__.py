"""``python -m amc.export run=RUN_DIR format=onnx``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from amc.cli.command import plain_of
from amc.cli.run import run
from amc.core.errors import AmcError
from amc.export.run import export, pruned_folder
from amc.pruning.rebuild import build_uncut
from amc.pruning.saved import read_info

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main_from_config(config: DictConfig, _: Path) -> None:
    """Exports as configured, into the run's folder; Hydra's own is not used."""
    if OmegaConf.is_missing(config, "run"):
        raise AmcError("run: is missing; give the folder of an amc.finetune run, run=RUN_DIR")
    plain = plain_of(config)
    model = None
    if plain["network"] is not None:
        folder = pruned_folder(plain["run"])
        model = build_uncut(folder, read_info(folder), trusted=plain["network"])
    export(plain["run"], plain["format"], model=model, verbose=plain["verbose"])


def main() -> None:
    """``python -m amc.export`` and the console script."""
    run("export", main_from_config)


if __name__ == "__main__":
    main()
