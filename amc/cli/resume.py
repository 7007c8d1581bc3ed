"""Stored configuration of a run that is resumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from amc.cli.overrides import _named_callables, _several_networks
from amc.core.errors import AmcError
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
    if stored.pop("command", None) != command or "settings" in stored:
        raise AmcError(f"resume={folder}: no run of python -m amc.{command}; go on with it where it was started")
    config = OmegaConf.create({**stored, "resume": str(folder), "dry_run": False, "verbose": True})
    for argument in _named_callables(_several_networks(command, arguments)):
        key, _, text = argument.lstrip("+").partition("=")
        if key.startswith(("-", "hydra.")) or key == "resume":
            continue
        given = OmegaConf.select(OmegaConf.from_dotlist([f"value={text}"]), "value")
        before = OmegaConf.select(config, key)
        before = before.get("name") if isinstance(before, DictConfig) else before
        if key in FREE_ON_RESUME:
            OmegaConf.update(config, key, given)
        elif before != given:
            raise AmcError(
                f"resume={folder}: the run was started with {key}={before}, now it is {given}; leave the override "
                "out, or start a new run"
            )
    return config
