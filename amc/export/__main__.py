"""``python -m amc.export run=RUN_DIR format=onnx``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from amc.cli.command import plain_of
from amc.cli.run import run
from amc.cli.trust import trust_of
from amc.core.errors import AmcError
from amc.export.run import export

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main_from_config(config: DictConfig, _: Path) -> None:
    """Exports as configured, into the run's folder; Hydra's own is not used."""
    if OmegaConf.is_missing(config, "run"):
        raise AmcError("run: is missing; give the folder of an amc.finetune run, run=RUN_DIR")
    plain = plain_of(config)
    export(plain["run"], plain["format"], trust=trust_of(plain), verbose=plain["verbose"])


def main() -> None:
    """``python -m amc.export`` and the console script."""
    run("export", main_from_config)


if __name__ == "__main__":
    main()
