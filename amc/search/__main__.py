"""``python -m amc.search model=resnet50``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from amc.cli.settings import choices_of, settings_of
from amc.pruning.budget import Budget
from amc.pruning.network import trace_network
from amc.reporting.console import show
from amc.reporting.tables import group_table
from amc.search.run import search
from amc.search.settings import check_agent, check_choices
from amc.task.settings import Settings
from amc.tracking import run_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads data and network as configured, then prints the groups (``dry_run=true``) or searches."""
    from omegaconf import OmegaConf

    from amc.search.joint_config import joint_from_config, network_configs
    from amc.task.load import load_task

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    resume, dry_run, verbose = (plain.pop(key) for key in ("resume", "dry_run", "verbose"))
    settings, choices = settings_of(plain), choices_of(plain)
    check_choices(**choices)
    check_agent(settings, choices["agent"])
    networks = network_configs(config)
    if dry_run:
        for network in networks:
            _dry_run(network, settings, plain["budget"]["keep"])
        return
    if plain["networks"]:
        joint_from_config(config, run_dir)
        return
    with run_folder(run_dir, resume is not None, {"command": "search", **plain}) as folder:
        started = time.perf_counter()
        task = load_task(config)
        splits = task.splits
        facts = {
            "model": plain["model"]["name"],
            **task.facts,
            "loading_seconds": time.perf_counter() - started,
        }
        if verbose:
            counts = ", ".join(f"{count} {name}" for name, count in facts["images"].items())
            show(Text(f"{facts['model']}: {task.source}; {splits.name}: {counts}, validation from {splits.val_from}"))
        search(
            task.model,
            train=splits.train,
            val=splits.val,
            test=splits.test,
            budget=plain["budget"]["keep"],
            **choices,
            device=plain["device"],
            settings=settings,
            policy=plain["policy"],
            cache_dir=plain["cache_dir"],
            run_dir=folder,
            description=task.description,
            facts=facts,
            verbose=verbose,
        )


def _dry_run(config: DictConfig, settings: Settings, keep: float | None) -> None:
    """Prints the layer groups, and how far the budget's cost can go down."""
    from amc.task.load import load_untrained

    task = load_untrained(config)
    example = task.splits.train.take(1).normalised()
    network = trace_network(task.model, example, prune_residual=settings.prune_residual, freeze=settings.freeze)
    show(group_table(network.groups, network.cost_model.cost()))
    if settings.cost != "latency_ms":
        limit = Budget(network.cost_model, settings.cost, None, settings.min_keep, settings.channel_round)
        show(Text(f"smallest reachable {settings.cost}: {limit.smallest:.4f} of the uncut network's; asked: {keep}"))


def main() -> None:
    """``python -m amc.search`` and the console script."""
    from amc.cli.run import run

    run("search", main_from_config)


if __name__ == "__main__":
    main()
