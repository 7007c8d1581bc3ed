"""``python -m amc.sensitivity model=resnet50``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amc.analysis.heuristics.choose import KINDS as QUESTIONS
from amc.analysis.heuristics.choose import SIZE_AWARE, Questions, check_budget
from amc.analysis.interactions import KINDS as INTERACTIONS
from amc.cli.command import Command, checked, plain_of
from amc.cli.run import run
from amc.cli.schema import BUDGETED, RESUME, check_config, evaluate
from amc.cli.settings import budget_check, method_of, settings_of
from amc.core.values import Many, Real, Section
from amc.sensitivity.run import sensitivity
from amc.task.load import load_recipe

if TYPE_CHECKING:
    from omegaconf import DictConfig


SCHEMA = Section(
    {
        **BUDGETED,
        **RESUME,
        **QUESTIONS,
        "keep_ratios": Many(entry=Real(high=1, ends="()"), least=1, example="[0.9,0.7,0.5]"),
        "size_aware": Section(SIZE_AWARE),
        "interactions": Section(INTERACTIONS),
        "evaluate": evaluate("calibration_images", "images", "batch_size", "precision"),
    }
)


def check(plain: Mapping[str, Any]) -> None:
    """Raises ``AmcError`` for anything wrong in the configuration alone."""
    check_config(SCHEMA, plain)
    load_recipe(plain)
    settings = settings_of(plain)
    method_of(plain, settings)
    check_budget(_questions(plain), settings.cost, plain["budget"]["keep"])


@checked(check)
def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads data and network as configured, then analyses."""
    command = Command("sensitivity", plain_of(config), run_dir)
    plain = command.plain
    settings, questions, keep = settings_of(plain), _questions(plain), plain["budget"]["keep"]
    method = method_of(plain, settings)
    with command.folder() as folder:
        task = command.load(check=budget_check(settings, keep))
        sensitivity(
            task.model,
            questions=questions,
            budget=keep,
            importance=method.importance,
            recovery=method.recovery,
            settings=settings,
            cache_dir=plain["cache_dir"],
            **command.arguments(task, folder),
        )


def _questions(plain: Mapping[str, Any]) -> Questions:
    return Questions(
        keep_ratios=plain["keep_ratios"],
        rule=plain["rule"],
        accuracy_drop=plain["accuracy_drop"],
        **plain["size_aware"],
        pairs=plain["interactions"]["pairs"],
        pairs_keep_ratio=plain["interactions"]["keep_ratio"],
    )


def main() -> None:
    """``python -m amc.sensitivity`` and the console script."""
    run("sensitivity", main_from_config)


if __name__ == "__main__":
    main()
