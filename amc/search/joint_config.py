"""A search over several networks from a configuration, ``python -m amc.search model=[resnet20,resnet32]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.text import Text

from amc.cli.settings import choices_of, settings_of
from amc.core.errors import AmcError
from amc.reporting.console import show
from amc.search.joint import check_joint, search_jointly
from amc.search.network_search import Task
from amc.task.load import load_task
from amc.tracking import run_folder


def network_configs(config: DictConfig) -> list[DictConfig]:
    """A configuration for each of the networks, as if it were alone; of a single network, the one there is.

    Raises:
        AmcError: checkpoints that do not go with the networks.
    """
    plain: Any = OmegaConf.to_container(config, resolve=True)
    networks, checkpoints = plain["networks"], plain["checkpoints"] or []
    if checkpoints and not networks:
        raise AmcError("checkpoints: for several networks, model=[a,b]; give model.checkpoint for one")
    if checkpoints and len(checkpoints) != len(networks):
        raise AmcError(
            f"checkpoints: {len(checkpoints)} for {len(networks)} networks; give one for each, null for a baseline "
            "that is trained here"
        )
    alone = {**plain, "networks": [], "checkpoints": []}
    files = checkpoints or [None] * len(networks)
    models = [{**net, "checkpoint": file} for net, file in zip(networks, files, strict=True)]
    return [OmegaConf.create({**alone, "model": model}) for model in models] or [config]


def joint_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads data and networks as configured, then searches on all of them together."""
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    resume, _, verbose = (plain.pop(key) for key in ("resume", "dry_run", "verbose"))
    settings, choices = settings_of(plain), choices_of(plain)
    reward = choices.pop("reward")
    if reward != "accuracy":
        raise AmcError(
            f"reward={plain['reward']['name']}: not the same scale on every network; several need reward=accuracy, "
            "which is divided by each uncut network's"
        )
    configs = network_configs(config)
    check_joint([one.model.name for one in configs], choices["agent"], plain["budget"]["keep"], settings)
    with run_folder(run_dir, resume is not None, {"command": "search", **plain}) as folder:
        tasks = [_load(one, verbose) for one in configs]
        search_jointly(
            tasks,
            budget=plain["budget"]["keep"],
            **choices,
            device=plain["device"],
            settings=settings,
            policy=plain["policy"],
            run_dir=folder,
            facts={"models": [task.name for task in tasks], "dataset": tasks[0].facts["dataset"]},
            verbose=verbose,
        )


def _load(config: DictConfig, verbose: bool) -> Task:
    loaded = load_task(config)
    splits = loaded.splits
    plain: Any = OmegaConf.to_container(config, resolve=True)
    if verbose:
        show(Text(f"{config.model.name}: {loaded.source}; validation from {splits.val_from}"))
    return Task(
        config.model.name,
        loaded.model,
        splits.train,
        splits.val,
        splits.test,
        loaded.description,
        {key: value for key, value in plain.items() if key not in ("resume", "dry_run", "verbose")},
        loaded.facts,
    )
