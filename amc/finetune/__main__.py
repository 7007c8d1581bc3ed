"""``python -m amc.finetune plan=RUN_DIR/plan.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amc.cli.command import Command, checked, plain_of
from amc.cli.run import run
from amc.cli.schema import CUTTING, FILE, RESUME, Group, check_config
from amc.cli.settings import unnamed
from amc.core.errors import AmcError
from amc.core.types import PruningPlan
from amc.core.values import Nullable, Section
from amc.finetune.run import check_plan, finetune, plan_file
from amc.finetune.settings import KINDS, REGULARISER, SECTIONS, FineTuneSettings
from amc.task.load import load_recipe
from amc.task.settings import SCOPE
from amc.training.recipe import KINDS as RECIPE

if TYPE_CHECKING:
    from omegaconf import DictConfig


# What may differ from the training recipe.
FINETUNING = ("batch_size", "weight_decay", "label_smoothing", "augment", "bf16", "ema")
SCHEMA = Section(
    {
        **CUTTING,
        **RESUME,
        **KINDS,
        **{section: Section(kinds) for section, kinds in SECTIONS.items()},
        "regulariser": Group("regulariser", REGULARISER),
        "finetuning": Section({key: Nullable(RECIPE[key]) for key in FINETUNING}),
        "plan": FILE,
    }
)


def check(plain: Mapping[str, Any]) -> None:
    """Raises ``AmcError`` for anything wrong in the configuration and the plan that it names."""
    check_config(SCHEMA, plain)
    _settings(plain)
    load_recipe(plain)
    if plain["plan"] is None:
        raise AmcError("plan: not given; give a search's plan, plan=RUN_DIR/plan.json")
    if plain["resume"] is None:
        PruningPlan.check_file(plan_file(plain["plan"]))


@checked(check)
def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads data and network as configured, then fine-tunes the plan."""
    command = Command("finetune", plain_of(config), run_dir)
    plain = command.plain
    settings = _settings(plain)
    given = {key: value for key, value in plain["finetuning"].items() if value is not None}
    recipe = replace(load_recipe(plain), **given)
    with command.folder() as folder:
        task = command.load(check=lambda network: check_plan(plain["plan"], network, settings))
        finetune(
            task.model,
            plain["plan"],
            recipe=recipe,
            settings=settings,
            resume=command.resume,
            description=task.description,
            **command.arguments(task, folder),
        )


def _settings(plain: Mapping[str, Any]) -> FineTuneSettings:
    """Raises ``AmcError`` for a setting that has an impossible value."""
    sections = {"refine": ("plans", "epochs"), "distill": ("weight", "temperature")}
    nested = {f"{section}_{key}": plain[section][key] for section, keys in sections.items() for key in keys}
    keys = ("epochs", "lr_scale", "schedule", "stages", "calibration_images", *SCOPE)
    return FineTuneSettings(
        **{key: plain[key] for key in keys},
        **nested,
        importance=plain["importance"]["name"],
        recovery=plain["recovery"]["name"],
        recovery_settings=unnamed(plain["recovery"]),
        regulariser=plain["regulariser"]["name"],
        regulariser_strength=plain["regulariser"]["strength"],
    )


def main() -> None:
    """``python -m amc.finetune`` and the console script."""
    run("finetune", main_from_config)


if __name__ == "__main__":
    main()
