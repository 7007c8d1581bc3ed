"""``python -m amc.sensitivity model=resnet50``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from amc.analysis.heuristics.choose import Questions, check_budget
from amc.cli.settings import settings_of
from amc.core.checks import refuse_unknown
from amc.reporting.console import show
from amc.sensitivity.run import sensitivity
from amc.task.settings import check_cutting
from amc.tracking import run_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads data and network as configured, then analyses."""
    from omegaconf import OmegaConf

    from amc.task.load import load_task

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    resume, verbose = plain.pop("resume"), plain.pop("verbose")
    settings, questions, keep = settings_of(plain), _questions(plain), plain["budget"]["keep"]
    choices = {"importance": plain["importance"]["name"], "recovery": plain["recovery"]["name"], "seed": plain["seed"]}
    check_cutting(**choices)
    check_budget(questions, settings.cost, keep)
    with run_folder(run_dir, resume is not None, {"command": "sensitivity", **plain}) as folder:
        task = load_task(config)
        splits = task.splits
        facts = {"model": plain["model"]["name"], **task.facts}
        if verbose:
            counts = ", ".join(f"{count} {name}" for name, count in facts["images"].items())
            show(Text(f"{facts['model']}: {task.source}; {splits.name}: {counts}, validation from {splits.val_from}"))
        sensitivity(
            task.model,
            train=splits.train,
            val=splits.val,
            test=splits.test,
            questions=questions,
            budget=keep,
            **choices,
            device=plain["device"],
            settings=settings,
            cache_dir=plain["cache_dir"],
            run_dir=folder,
            facts=facts,
            verbose=verbose,
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
    from amc.cli.run import run

    run("sensitivity", main_from_config)


if __name__ == "__main__":
    main()
