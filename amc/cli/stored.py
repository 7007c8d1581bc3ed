"""``config.json`` of a run folder, which may come from anywhere: checked before anything is made of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from amc.cli.trust import check_named
from amc.core.conf import config_folder
from amc.core.errors import AmcError
from amc.tracking.run_dir import CONFIG

COMMANDS = ("search", "finetune", "sensitivity", "transfer", "train")
# Their settings are checked where they are used, and an older version may have had fewer.
OPEN = ("agent", "recovery", "importance", "training", "reward", "net")
LATER = {"task": "auto"}  # groups that earlier versions didn't have, and what they did without
NAME = re.compile(r"\w[\w.+-]*")  # they become names of folders


def checked(config: Any, folder: Path, given: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """A stored configuration, with the defaults of settings that an earlier version didn't have.

    Args:
        config: the content of ``config.json``.
        folder: it lies in.
        given: dotted paths that the user has named.

    Returns:
        The configuration, and the dotted keys that were filled in.

    Raises:
        AmcError: names file and entry that is missing, of another type, or names code that nobody trusts.
    """
    file = folder / CONFIG
    if not isinstance(config, dict):
        raise AmcError(f"{file}: holds no configuration; the file is damaged")
    check_named(config, file, given)
    filled = [group for group in LATER if group not in config]
    for group in filled:
        content = OmegaConf.load(config_folder() / group / f"{LATER[group]}.yaml")
        config = {**config, group: OmegaConf.to_container(content)}
    template = _template(str(config.get("command")), config)
    whole = _filled(template, config, file, (), filled)
    for model in [whole["model"], *whole.get("networks", [])]:
        _check_model(model, file)
    return whole, filled


def ready(group: str, name: object) -> bool:
    """Whether ``conf/`` has a file of that name in a group, and never one elsewhere."""
    return isinstance(name, str) and name in {path.stem for path in (config_folder() / group).glob("*.yaml")}


def _template(command: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The command's default configuration, with the groups that the stored one has chosen."""
    content: Any = OmegaConf.to_container(
        OmegaConf.load(config_folder() / f"{command if command in COMMANDS else 'search'}.yaml")
    )
    for entry in content.pop("defaults"):
        for group, _ in entry.items() if isinstance(entry, dict) else ():
            if (config_folder() / group).is_dir() and group != "experiment":
                section = config.get(group)
                name = section.get("name") if isinstance(section, dict) else None
                chosen = name if ready(group, name) else "custom"
                file = config_folder() / group / f"{chosen}.yaml"
                content[group] = OmegaConf.to_container(OmegaConf.load(file)) if file.is_file() else {"name": "???"}
    for apart in ("hydra", "resume", "dry_run", "verbose", "trust"):
        content.pop(apart, None)
    return content  # type: ignore[no-any-return]


def _filled(
    template: Mapping[str, Any], config: Any, file: Path, at: tuple[str, ...], filled: list[str]
) -> dict[str, Any]:
    """``config`` with the entries of ``template`` that it lacks; ``filled`` gets their dotted keys."""
    where = ".".join(at) or "all"
    if not isinstance(config, dict):
        raise AmcError(f"{file}: {where} is {config!r}, not a section of settings; the file is damaged")
    whole = dict(config)
    for key, default in template.items():
        own = (*at, key)
        if key not in config:
            if default == "???" or key in ("name", "_target_") or (not at and isinstance(default, dict)):
                raise AmcError(f"{file}: {'.'.join(own)} is missing; the file is damaged")
            if not at or at[-1] not in OPEN:
                whole[key] = default
                filled.append(".".join(own))
        elif isinstance(default, dict):
            whole[key] = _filled(default, config[key], file, own, filled)
        elif isinstance(default, list) and not isinstance(config[key], (list, type(None))):
            raise AmcError(f"{file}: {'.'.join(own)} is {config[key]!r}, not a list; the file is damaged")
        elif key == "name":
            _check_name(config[key], file, own)
    return whole


def _check_model(model: Any, file: Path) -> None:
    if not isinstance(model, dict) or not isinstance(model.get("net"), dict) or "_target_" not in model["net"]:
        raise AmcError(f"{file}: a model without net._target_; the file is damaged")
    _check_name(model.get("name"), file, ("model", "name"))
    for key in ("checkpoint", "stem", "pretrained"):
        if key not in model or isinstance(model[key], (dict, list)):
            raise AmcError(f"{file}: model.{key} is {model.get(key)!r}; the file is damaged")


def _check_name(name: object, file: Path, at: tuple[str, ...]) -> None:
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise AmcError(f"{file}: {'.'.join(at)} is {name!r}, not a name; the file is damaged")
