"""``python -m amc.sensitivity model=resnet50``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amc.analysis.heuristics.choose import Questions, check_budget
from amc.cli.command import Command, plain_of
from amc.cli.run import run
from amc.cli.settings import method_of, settings_of
from amc.core.checks import refuse_unknown
from amc.sensitivity.run import sensitivity

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads data and network as configured, then analyses."""
    command = Command("sensitivity", plain_of(config), run_dir)
    plain = command.plain
    settings, questions, keep = settings_of(plain), _questions(plain), plain["budget"]["keep"]
    method = method_of(plain, settings)
    check_budget(questions, settings.cost, keep)
    with command.folder() as folder:
        task = command.load()
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
    for section, known in (
        ("size_aware", ("choices", "time_limit_seconds")),
        ("interactions", ("pairs", "keep_ratio")),
    ):
        refuse_unknown(section, plain[section], known)
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
