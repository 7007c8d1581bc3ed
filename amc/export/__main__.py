"""``python -m amc.export run=RUN_DIR format=onnx``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amc.cli.command import checked, plain_of
from amc.cli.run import run
from amc.cli.schema import TRUST, check_config
from amc.cli.trust import trust_of
from amc.core.values import Flag, OneOf, Section, Text
from amc.export.formats import FORMATS
from amc.export.run import export, pruned_folder
from amc.pruning.plain_folder import NAME as FOLDER
from amc.pruning.saved import read_info

if TYPE_CHECKING:
    from omegaconf import DictConfig


SCHEMA = Section(
    {
        "run": Text(what="the folder of an amc.finetune run"),
        "format": OneOf(names=(*FORMATS, FOLDER)),
        "trust": TRUST,
        "verbose": Flag(),
    }
)


def check(plain: Mapping[str, Any]) -> None:
    """Raises ``AmcError`` for anything wrong in the configuration alone."""
    check_config(SCHEMA, plain)
    read_info(pruned_folder(plain["run"]))


@checked(check)
def main_from_config(config: DictConfig, _: Path) -> None:
    """Exports as configured, into the run's folder; Hydra's own is not used."""
    plain = plain_of(config)
    export(plain["run"], plain["format"], trust=trust_of(plain), verbose=plain["verbose"])


def main() -> None:
    """``python -m amc.export`` and the console script."""
    run("export", main_from_config)


if __name__ == "__main__":
    main()
