"""``python -m amc.transfer policy=RUN_DIR model=resnet56``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from amc.cli.settings import settings_of
from amc.core.checks import one_of
from amc.core.errors import AmcError
from amc.policies.start import read
from amc.reporting.console import show
from amc.task.settings import check_cutting
from amc.tracking import run_folder
from amc.transfer.run import STRENGTH_BY, transfer

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads policy, data and network as configured, then transfers."""
    from omegaconf import OmegaConf

    from amc.task.load import load_task

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    verbose = plain.pop("verbose")
    if plain["policy"] is None:
        raise AmcError("policy: not given; give the run that learned it, policy=RUN_DIR")
    settings, policy = settings_of(plain), read(plain["policy"])
    names = {key: plain[key]["name"] for key in ("importance", "recovery")}
    check_cutting(**names, seed=plain["seed"])
    one_of("strength_by", plain["strength_by"], STRENGTH_BY)
    with run_folder(run_dir, False, {"command": "transfer", **plain}) as folder:
        task = load_task(config)
        splits = task.splits
        facts = {"command": "transfer", "model": plain["model"]["name"], **task.facts}
        if verbose:
            models = ", ".join(policy.trained_on.get("models", ())) or "unknown networks"
            show(Text(f"{facts['model']} on {splits.name}: {task.source}; {policy.agent} policy trained on {models}"))
        transfer(
            task.model,
            policy,
            train=splits.train,
            val=splits.val,
            test=splits.test,
            budget=plain["budget"]["keep"],
            strengths=plain["strengths"],
            strength_by=plain["strength_by"],
            **names,
            seed=plain["seed"],
            device=plain["device"],
            settings=settings,
            run_dir=folder,
            description=task.description,
            facts=facts,
            verbose=verbose,
        )


def main() -> None:
    """``python -m amc.transfer`` and the console script."""
    from amc.cli.run import run

    run("transfer", main_from_config)


if __name__ == "__main__":
    main()
