"""Shorthand on the command line, expanded to Hydra overrides."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import torchvision
from omegaconf import OmegaConf

from amc.cli.networks import expanded, listed
from amc.cli.paths import literal, path_of
from amc.cli.stored import checked, ready
from amc.cli.trust import named
from amc.core.conf import config_folder, quoted
from amc.core.errors import AmcError
from amc.core.files import read_json
from amc.models.libraries import named_by
from amc.policies.start import _gentle, read
from amc.task.settings import SCOPE
from amc.tracking.run_dir import CONFIG
from amc.tracking.seal import check_sealed

# By fine-tuning, from the search that made its plan.
INHERITED = ("model", "dataset", "task", "training", "importance", *SCOPE, "seed")


def _named_callables(arguments: Sequence[str]) -> list[str]:
    """Expands names without a configuration file, ``model=resnet101`` or ``reward=my_pkg.my_reward``."""
    result: list[str] = []
    for argument in arguments:
        key, _, name = argument.partition("=")
        file = config_folder() / key / f"{name}.yaml"
        if key == "reward" and "." in name:
            result += ["reward=custom", f"reward.name={name.rpartition('.')[2]}", f"reward._target_={name}"]
        elif key == "dataset" and "." in name:
            result += ["dataset=custom", f"dataset._target_={name}"]
        elif key == "dataset.target":
            result.append(f"dataset._target_={name}")
        elif key == "model" and name and "," not in name and not file.is_file():  # a comma: Hydra's sweep
            result += _named_model(name)
        else:
            result.append(argument)
    return result


def _named_model(name: str) -> list[str]:
    """Overrides for a network without a configuration file. Raises ``AmcError`` if there is no such network."""
    found = named_by(name)
    if found is not None:
        library, own, short = found
        values = {"name": short, f"net.{library.argument}": own}
        return [f"model={library.prefix}", *(f"model.{key}={quoted(literal(value))}" for key, value in values.items())]
    if "." in name:
        return ["model=custom", f"model.name={name.rpartition('.')[2]}", f"model.net._target_={name}"]
    if name in torchvision.models.list_models(module=torchvision.models):
        return ["model=torchvision", f"model.name={name}", f"model.net._target_=torchvision.models.{name}"]
    models = sorted(p.stem for p in (config_folder() / "model").glob("*.yaml"))
    raise AmcError(
        f"model={name}: unknown; give one of {', '.join(models)}, a classifier of torchvision.models, timm/NAME, "
        "hf/FOLDER, or a dotted path to your own callable (my_pkg.my_net)"
    )


def _several_networks(command: str, arguments: Sequence[str]) -> list[str]:
    """``model=[a,b]`` as the first model, and a list of all."""
    chosen = [argument for argument in arguments if argument.startswith("model=")]
    names = listed(chosen[-1].partition("=")[2]) if chosen else []
    return expanded(command, arguments, names, _composed_model, quoted) if names else list(arguments)


def _composed_model(name: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        model = hydra.compose("search", _named_callables([f"model={name}"])).model
    return OmegaConf.to_container(model, resolve=True)  # type: ignore[return-value]


def _learned(command: str, arguments: Sequence[str]) -> list[str]:
    """Overrides that let a search start from a policy; the command line takes precedence."""
    policy = path_of("policy", arguments)
    if command != "search" or policy is None:
        return []
    chosen = dict(argument.lstrip("+").split("=", 1) for argument in arguments if "=" in argument)
    return overrides(policy, chosen)


def _inherited(command: str, arguments: Sequence[str]) -> list[str]:
    """Overrides that make a fine-tuning use the network, images and settings of the search that made its plan.

    The command line takes precedence: a group that is chosen there is not inherited at all.
    """
    plan = path_of("plan", arguments)
    if command != "finetune" or plan is None:
        return []
    folder = Path(plan) if Path(plan).is_dir() else Path(plan).parent
    if not (folder / CONFIG).exists():
        return []
    chosen = {argument.partition("=")[0] for argument in arguments}
    stored = _inheritable(folder, [key for key in INHERITED if key not in chosen], named(arguments))
    overrides: list[str] = []
    for key, value in stored.items():
        if isinstance(value, dict):
            overrides.append(f"{key}={value['name'] if ready(key, value['name']) else 'custom'}")
        overrides += _leaves(key, value)
    return overrides


def _inheritable(folder: Path, keys: Collection[str], given: Collection[str]) -> dict[str, Any]:
    """What the run in ``folder`` was started with. Raises ``AmcError`` for a damaged file, or code nobody trusts."""
    check_sealed(folder, CONFIG)
    stored = read_json(folder / CONFIG)
    if isinstance(stored, dict) and not any(isinstance(stored.get(key), dict) for key in ("model", "dataset")):
        return {}  # from Python: network and images are the caller's own
    whole, filled = checked(stored, folder, given)
    return {key: whole[key] for key in keys if key in whole and key not in filled}


def _leaves(key: str, value: object) -> list[str]:
    """``value`` as overrides that set ``key``, or every entry below it."""
    if isinstance(value, dict) and value:
        return [override for name, entry in value.items() for override in _leaves(f"{key}.{name}", entry)]
    return [f"++{key}={quoted(literal(value))}"]


def overrides(path: str, chosen: Mapping[str, str]) -> list[str]:
    """Overrides that ``policy=path`` implies for a search.

    Args:
        path: the policy.
        chosen: keys and values given on the command line, which take precedence.

    Raises:
        AmcError: no policy there, a damaged one, or one of another agent or observation than chosen.
    """
    policy = read(path)
    for key, own in (("agent", policy.agent), ("observation", policy.layout)):
        if chosen.get(key, own) != own:
            raise AmcError(f"{key}={chosen[key]}: the policy {path} has {key}={own}; give that, or nothing")
    agents_own = {key.removeprefix("agent."): value for key, value in chosen.items() if key.startswith("agent.")}
    agent = {**_gentle(policy, agents_own), "hidden": str(list(policy.hidden)).replace(" ", "")}
    settings = {"agent": policy.agent, "observation": policy.layout, **{f"agent.{k}": v for k, v in agent.items()}}
    texts = {key: "null" if value is None else value for key, value in settings.items()}
    return [f"{key}={value}" for key, value in texts.items() if key not in chosen]
