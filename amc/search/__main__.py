"""``python -m amc.search model=resnet50``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from amc.cli.command import Command, checked, plain_of
from amc.cli.run import run
from amc.cli.schema import BUDGETED, FILE, FOLDER, MODEL, RESUME, Agent, Reward, check_config, evaluate
from amc.cli.settings import budget_check, choices_of, method_of, settings_of
from amc.core.values import Flag, Many, Section
from amc.policies.start import read, settings_from
from amc.pruning.budget import Budget
from amc.pruning.constraints import Limits
from amc.reporting.console import show
from amc.reporting.tables import group_table, uncounted_note
from amc.rewards import resolved
from amc.search.joint_config import check_several, network_configs, search_several
from amc.search.run import search
from amc.search.settings import EPISODES, check_agent, check_played, settle_early_stop
from amc.task.load import load_recipe, load_untrained
from amc.task.settings import KINDS, Settings

if TYPE_CHECKING:
    from omegaconf import DictConfig


SCHEMA = Section(
    {
        **BUDGETED,
        **RESUME,
        **KINDS,
        "agent": Agent("agent", {}),
        "reward": Reward(),
        "evaluate": evaluate(),
        "episodes": EPISODES,
        "policy": FOLDER,
        "networks": Many(entry=MODEL),
        "checkpoints": Many(entry=FILE),
        "dry_run": Flag(),
    }
)


def check(plain: Mapping[str, Any]) -> None:
    """Raises ``AmcError`` for anything wrong in the configuration, the policy or the earlier run that it names."""
    check_config(SCHEMA, plain)
    load_recipe(plain)
    settings, chosen, keep = settings_of(plain), choices_of(plain), plain["budget"]["keep"]
    method_of(plain, settings)
    check_agent(settings, chosen["agent"])
    networks = network_configs(plain)
    if plain["networks"]:
        check_several(plain, networks, settings)
    else:
        settle_early_stop(settings, keep, chosen["agent"], resolved(chosen["reward"]))
    if plain["resume"] is not None:
        check_played(plain["resume"], plain["episodes"])
    elif plain["policy"] is not None:
        settings_from(settings, chosen["agent"], read(plain["policy"]), plain["policy"])


@checked(check)
def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads data and network as configured, then prints the groups (``dry_run=true``) or searches."""
    command = Command("search", plain_of(config), run_dir)
    plain = command.plain
    settings, chosen = settings_of(plain), choices_of(plain)
    method = method_of(plain, settings)
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
        task = command.load(check=budget_check(settings, plain["budget"]["keep"]))
        given = {**command.arguments(task, folder), "facts": task.facts, "description": task.description}
        search(task.model, cache_dir=plain["cache_dir"], **common, **given)


def _dry_run(config: Mapping[str, Any], settings: Settings, keep: float | None) -> None:
    """Prints the layer groups and the smallest cost that can be reached."""
    network = load_untrained(config).traced(vars(settings))
    words = Limits(**settings.limits).words(network.groups)
    show(group_table(network.groups, network.cost_model.cost(), words))
    if network.uncounted:
        show(Text(uncounted_note(network.uncounted)))
    if settings.cost != "latency_ms":
        limit = Budget(network.cost_model, settings.cost, None, **settings.limits)
        show(Text(f"smallest reachable {settings.cost}: {limit.smallest:.4f} of the dense network's; asked: {keep}"))


def main() -> None:
    """``python -m amc.search`` and the console script."""
    run("search", main_from_config)


if __name__ == "__main__":
    main()
