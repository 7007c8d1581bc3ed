"""Joint search from a configuration, ``python -m amc.search model=[resnet20,resnet32]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amc.cli.command import Command
from amc.cli.settings import budget_check
from amc.core.errors import AmcError
from amc.search.joint import check_joint, search_jointly
from amc.task.settings import Settings


def network_configs(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A configuration per network, as for a single search; ``config`` itself without a list of networks.

    Raises:
        AmcError: checkpoints that do not go with the networks.
    """
    networks, checkpoints = config["networks"], config["checkpoints"] or []
    if checkpoints and not networks:
        raise AmcError("checkpoints: for several networks, model=[a,b]; give model.checkpoint for one")
    if checkpoints and len(checkpoints) != len(networks):
        raise AmcError(
            f"checkpoints: {len(checkpoints)} for {len(networks)} networks; give one for each, null for a baseline "
            "that is trained here"
        )
    alone = {**config, "networks": [], "checkpoints": []}
    files = checkpoints or [None] * len(networks)
    models = [{**net, "checkpoint": file} for net, file in zip(networks, files, strict=True)]
    return [{**alone, "model": model} for model in models] or [config]


def check_several(plain: Mapping[str, Any], configs: Sequence[Mapping[str, Any]], settings: Settings) -> None:
    """Refuses what makes no sense on several networks. Raises ``AmcError``."""
    if plain["reward"]["_target_"] != "amc.rewards.accuracy":
        raise AmcError(
            f"reward={plain['reward']['name']}: not the same scale on every network; several need reward=accuracy, "
            "which is divided by each dense network's"
        )
    names = [config["model"]["name"] for config in configs]
    check_joint(names, plain["agent"]["name"], plain["budget"]["keep"], settings)


def search_several(command: Command, configs: Sequence[Mapping[str, Any]], arguments: Mapping[str, Any]) -> None:
    """Loads data and networks as configured, then searches jointly.

    Args:
        command: the call.
        configs: of each network, from :func:`network_configs`.
        arguments: of the search, as for a single network.
    """
    plain = command.plain
    given = {key: value for key, value in arguments.items() if key != "reward"}
    names = [config["model"]["name"] for config in configs]
    with command.folder() as folder:
        tasks = [command.load(config, budget_check(given["settings"], given["budget"])) for config in configs]
        search_jointly(
            tasks,
            **given,
            device=plain["device"],
            run_dir=folder,
            facts={"models": names, "dataset": tasks[0].facts["dataset"]},
            verbose=command.verbose,
        )
