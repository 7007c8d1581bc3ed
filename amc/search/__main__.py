"""``python -m amc.search model=resnet50``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from amc.cli.command import Command, plain_of
from amc.cli.run import run
from amc.cli.settings import choices_of, method_of, settings_of
from amc.pruning.budget import Budget
from amc.pruning.network import trace_network
from amc.reporting.console import show
from amc.reporting.tables import group_table, uncounted_note
from amc.rewards import resolved
from amc.search.joint_config import network_configs, search_several
from amc.search.run import search
from amc.search.settings import check_agent, check_choices
from amc.task.load import load_untrained
from amc.task.settings import Settings

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads data and network as configured, then prints the groups (``dry_run=true``) or searches."""
    command = Command("search", plain_of(config), run_dir)
    plain = command.plain
    settings, chosen = settings_of(plain), choices_of(plain)
    method = method_of(plain, settings)
    resolved(chosen["reward"])
    check_choices(chosen["agent"], chosen["episodes"])
    check_agent(settings, chosen["agent"])
    networks = network_configs(command.config)
    if command.config["dry_run"]:
        for network in networks:
            _dry_run(network, settings, plain["budget"]["keep"])
        return
    common = {
        "budget": plain["budget"]["keep"],
        **chosen,
        "importance": method.importance,
        "recovery": method.recovery,
        "settings": settings,
        "policy": plain["policy"],
    }
    if plain["networks"]:
        search_several(command, networks, common)
        return
    with command.folder() as folder:
        task = command.load()
        given = {**command.arguments(task, folder), "facts": task.facts, "description": task.description}
        search(task.model, cache_dir=plain["cache_dir"], **common, **given)


def _dry_run(config: Mapping[str, Any], settings: Settings, keep: float | None) -> None:
    """Prints the layer groups and the smallest cost that can be reached."""
    loaded = load_untrained(config)
    example = loaded.splits.train.take(1).normalised()
    network = trace_network(loaded.model, example, prune_residual=settings.prune_residual, freeze=settings.freeze)
    show(group_table(network.groups, network.cost_model.cost()))
    if network.uncounted:
        show(Text(uncounted_note(network.uncounted)))
    if settings.cost != "latency_ms":
        limit = Budget(network.cost_model, settings.cost, None, settings.min_keep, settings.channel_round)
        show(Text(f"smallest reachable {settings.cost}: {limit.smallest:.4f} of the dense network's; asked: {keep}"))


def main() -> None:
    """``python -m amc.search`` and the console script."""
    run("search", main_from_config)


if __name__ == "__main__":
    main()
