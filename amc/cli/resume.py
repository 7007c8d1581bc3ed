"""Stored configuration of a run that is resumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from amc.cli.command import FILLED
from amc.cli.overrides import _named_callables, _several_networks
from amc.cli.paths import literal
from amc.cli.stored import checked
from amc.cli.trust import named
from amc.core.errors import AmcError
from amc.core.files import plain
from amc.tracking import RunDir
from amc.tracking.claim import RESUMABLE
from amc.tracking.run_dir import FREE_ON_RESUME


def _stored_config(command: str, folder: Path, arguments: Sequence[str]) -> DictConfig:
    """The configuration of the run in ``folder``, with the overrides that are allowed on resume.

    Raises:
        AmcError: no run there, a run of another command, or an override that contradicts it.
    """
    if command not in RESUMABLE:
        raise AmcError(
            f"resume={folder}: amc.{command} can't go on with a run; give the same call with hydra.run.dir={folder}, "
            "which takes the place of a run that was killed"
        )
    with RunDir.open(folder) as run_dir:
        stored = run_dir.read_config()
    if stored.get("command") != command or "settings" in stored:
        raise AmcError(f"resume={folder}: no run of python -m amc.{command}; go on with it where it was started")
    stored, filled = checked(stored, folder, named(arguments))
    del stored["command"]
    own = {"resume": str(folder), "verbose": True, **({"dry_run": False} if command == "search" else {})}
    config: DictConfig = OmegaConf.create(literal({**stored, **own, "trust": None, FILLED: filled}))
    for argument in _named_callables(_several_networks(command, arguments)):
        override = OverridesParser.create().parse_override(argument)
        key = override.key_or_group
        if key in ("resume", "trust") or key.startswith("hydra."):
            continue
        if override.is_delete() or override.is_sweep_override():
            raise AmcError(f"resume={folder}: {argument} can't change a run that has begun; start a new run")
        _take_up(config, key, override.value(), folder)
    return config


def _take_up(config: DictConfig, key: str, given: Any, folder: Path) -> None:
    """Sets ``key`` to what is ``given`` if it may differ; raises ``AmcError`` if it may not and does."""
    if key in FREE_ON_RESUME:
        OmegaConf.update(config, key, given)
        return
    before = OmegaConf.select(config, key)
    if isinstance(before, DictConfig):
        before = before.get("name") if "name" in before else OmegaConf.to_container(before)
    if plain(before) != plain(given):
        raise AmcError(
            f"resume={folder}: the run was started with {key}={before}, now it is {given}; leave the override "
            "out, or start a new run"
        )
