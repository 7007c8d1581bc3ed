"""The configurations that a command line stands for: one, or one for each job of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict

from amc.cli.command import plain_of
from amc.core.conf import config_folder
from amc.core.errors import AmcError, first_line


@dataclass(frozen=True)
class Job:
    """A job before it is run.

    Attributes:
        config: as plain data.
        missing_folders: of its run folder and the folders around it those that there aren't yet.
    """

    config: Mapping[str, Any]
    missing_folders: tuple[Path, ...]


def jobs(command: str, overrides: Sequence[str], sweep: bool) -> Iterator[Job]:
    """Composes every job.

    Keys that a command doesn't have are composed too, so that they can be refused with what it has.

    Raises:
        AmcError: overrides that can't be composed.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    if sweep and any(override.key_or_group.startswith("hydra/sweeper") for override in parsed):
        return  # another sweeper's values; each job is checked when it begins
    one_by_one = BasicSweeper.split_arguments(parsed, None)[0] if sweep else [list(overrides)]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        for chosen in one_by_one:
            forced = [_forced(override) for override in OverridesParser.create().parse_overrides(chosen)]
            yield _job(_composed(command, forced), sweep)


def _composed(command: str, overrides: list[str]) -> DictConfig:
    try:
        return hydra.compose(command, overrides, return_hydra_config=True)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:  # OmegaConf's, of odd values
        raise AmcError(f"{first_line(error)}; the overrides can't be composed") from error


def _job(config: DictConfig, sweep: bool) -> Job:
    own = config.copy()
    with open_dict(own):
        del own["hydra"]
    plain = plain_of(own)
    if sweep:
        return Job(plain, ())
    try:
        folder = Path(str(OmegaConf.select(config, "hydra.run.dir"))).absolute()
    except Exception:  # the name of a group that was removed, or of no group: the check says so
        return Job(plain, ())
    return Job(plain, tuple(path for path in (folder, *folder.parents) if not path.exists()))


def _forced(override: Override) -> str:
    """The override as one that adds its key if there is none."""
    key, line = override.key_or_group, str(override.input_line)
    group = "/" in key or "@" in line.partition("=")[0] or (config_folder() / key).is_dir()
    if override.type is not OverrideType.CHANGE or group or key.startswith("hydra.") or key == "experiment":
        return line
    return f"++{line}"
