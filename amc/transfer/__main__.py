"""``python -m amc.transfer policy=RUN_DIR model=resnet56``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from amc.cli.command import Command, plain_of
from amc.cli.run import run
from amc.cli.settings import method_of, settings_of
from amc.core.checks import one_of
from amc.core.errors import AmcError
from amc.policies.start import read
from amc.reporting.console import show
from amc.transfer.run import STRENGTH_BY, transfer

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads policy, data and network as configured, then transfers."""
    command = Command("transfer", plain_of(config), run_dir)
    plain = command.plain
    if plain["policy"] is None:
        raise AmcError("policy: not given; give the run that learned it, policy=RUN_DIR")
    settings, policy = settings_of(plain), read(plain["policy"])
    method = method_of(plain, settings)
    one_of("strength_by", plain["strength_by"], STRENGTH_BY)
    with command.folder() as folder:
        task = command.load()
        if command.verbose:
            models = ", ".join(policy.trained_on.get("models", ())) or "unknown networks"
            show(Text(f"{policy.agent} policy trained on {models}"))
        transfer(
            task.model,
            policy,
            budget=plain["budget"]["keep"],
            strengths=plain["strengths"],
            strength_by=plain["strength_by"],
            importance=method.importance,
            recovery=method.recovery,
            settings=settings,
            description=task.description,
            **command.arguments(task, folder),
        )


def main() -> None:
    """``python -m amc.transfer`` and the console script."""
    run("transfer", main_from_config)


if __name__ == "__main__":
    main()
