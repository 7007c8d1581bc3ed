"""``python -m amc.finetune plan=RUN_DIR/plan.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from amc.core.errors import AmcError
from amc.finetune.run import finetune, plan_file
from amc.finetune.settings import FineTuneSettings
from amc.reporting.console import count, show
from amc.tracking import run_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads data and network as configured, then fine-tunes the plan."""
    from omegaconf import OmegaConf

    from amc.task.load import load_recipe, load_task

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    resume, verbose = plain.pop("resume"), plain.pop("verbose")
    settings = _settings(plain)
    if plain["plan"] is None:
        raise AmcError("plan: not given; give a search's plan, plan=RUN_DIR/plan.json")
    if not plan_file(plain["plan"]).is_file() and resume is None:
        raise AmcError(f"plan={plain['plan']}: no such file; give a search's plan, plan=RUN_DIR/plan.json")
    recipe = load_recipe(config)
    given = {key: value for key, value in plain["finetuning"].items() if value is not None}
    own = replace(recipe, **given)
    with run_folder(run_dir, resume is not None, {"command": "finetune", **plain}) as folder:
        task = load_task(config)
        splits = task.splits
        facts = {"command": "finetune", "model": plain["model"]["name"], **task.facts}
        if verbose:
            show(Text(f"{facts['model']}: {task.source}; {splits.name}: {count(len(splits.train))} training images"))
        finetune(
            task.model,
            plain["plan"],
            train=splits.train,
            val=splits.val,
            test=splits.test,
            recipe=own,
            settings=settings,
            seed=plain["seed"],
            device=plain["device"],
            run_dir=folder,
            resume=resume is not None,
            description=task.description,
            facts=facts,
            verbose=verbose,
        )


def _settings(plain: Mapping[str, Any]) -> FineTuneSettings:
    """Raises ``AmcError`` for a setting that has an impossible value."""
    sections = {"refine": ("plans", "epochs"), "distill": ("weight", "temperature")}
    nested = {f"{section}_{key}": plain[section][key] for section, keys in sections.items() for key in keys}
    keys = ("epochs", "lr_scale", "schedule", "stages", "calibration_images", "prune_residual", "freeze")
    return FineTuneSettings(
        **{key: plain[key] for key in keys},
        **nested,
        importance=plain["importance"]["name"],
        recovery=plain["recovery"]["name"],
        recovery_settings={key: value for key, value in plain["recovery"].items() if key != "name"},
        regulariser=plain["regulariser"]["name"],
        regulariser_strength=plain["regulariser"]["strength"],
    )


def main() -> None:
    """``python -m amc.finetune`` and the console script."""
    from amc.cli.run import run

    run("finetune", main_from_config)


if __name__ == "__main__":
    main()
