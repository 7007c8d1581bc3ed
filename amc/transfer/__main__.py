"""``python -m amc.transfer policy=RUN_DIR model=resnet56``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from amc.cli.command import Command, checked, plain_of
from amc.cli.run import run
from amc.cli.schema import BUDGETED, FOLDER, check_config, evaluate
from amc.cli.settings import budget_check, method_of, settings_of
from amc.core.errors import AmcError
from amc.core.values import Many, OneOf, Real, Section
from amc.policies.start import read
from amc.reporting.console import show
from amc.task.load import load_recipe
from amc.transfer.run import STRENGTH_BY, transfer

if TYPE_CHECKING:
    from omegaconf import DictConfig


SCHEMA = Section(
    {
        **BUDGETED,
        "policy": FOLDER,
        "strengths": Many(entry=Real(high=2), least=1, example="[0,0.5,1]"),
        "strength_by": OneOf(names=STRENGTH_BY),
        "evaluate": evaluate("calibration_images", "images", "batch_size", "precision"),
    }
)


def check(plain: Mapping[str, Any]) -> None:
    """Raises ``AmcError`` for anything wrong in the configuration and the policy that it names."""
    check_config(SCHEMA, plain)
    if plain["policy"] is None:
        raise AmcError("policy: not given; give the run that learned it, policy=RUN_DIR")
    read(plain["policy"])
    load_recipe(plain)
    method_of(plain, settings_of(plain))


@checked(check)
def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads policy, data and network as configured, then transfers."""
    command = Command("transfer", plain_of(config), run_dir)
    plain = command.plain
    settings, policy = settings_of(plain), read(plain["policy"])
    method = method_of(plain, settings)
    with command.folder() as folder:
        task = command.load(check=budget_check(settings, plain["budget"]["keep"]))
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
