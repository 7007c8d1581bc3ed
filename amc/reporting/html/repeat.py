"""The command that repeats a run: the stored configuration as overrides of the default one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from amc.core.conf import config_folder, quoted
from amc.core.errors import AmcError
from amc.models.libraries import LIBRARIES, name_of
from amc.reporting.html.runs import StoredRun

ALWAYS = ("model", "dataset", "agent")  # given even where they are the defaults
APART = ("command", "networks", "cache_dir")  # given in another way, or without effect on the result
MISSING = object()


def repeated_by(run: StoredRun) -> str:
    """Command line, or Python call for a run started from Python. Empty if the folder doesn't say."""
    config = run.config
    if not config or config.get("command") == "joint":
        return ""
    if "settings" in config:
        return _call(run)
    asked = config.get("episodes")
    if isinstance(asked, int):  # a run that went on has more than it began with
        config = {**config, "episodes": max(asked, *(len(part.episodes) for part in (run, *run.parts)))}
    return command_line(config)


def command_line(config: Mapping[str, Any]) -> str:
    """``python -m amc.<command> …`` with what differs from the installed version's default configuration.

    A file outside of the run is given by its name alone, not its folder.
    """
    try:
        ready, groups = _ready(str(config.get("command")))
    except (OSError, AmcError, yaml.YAMLError):
        return ""
    words = [word for key, value in config.items() if key not in APART for word in _words(key, value, ready, groups)]
    networks = config.get("networks") or []
    if networks:
        names = ",".join(_of_library(network.get("net")) or str(network.get("name")) for network in networks)
        words = [f"model=[{names}]", *(word for word in words if not word.startswith("model"))]
    return " ".join(map(shlex.quote, ["python", "-m", f"amc.{config['command']}", *words]))


def without_folders(value: object, instead: str = "…") -> object:
    """``value``; of an absolute path its last part, with ``instead`` for where it lies."""
    if isinstance(value, str) and re.match(r"(/|~|[A-Za-z]:\\)", value):
        return f"{instead}/" + re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    if isinstance(value, Mapping):
        return {key: without_folders(entry, instead) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(entry, instead) for entry in value]
    return value


def _ready(command: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The command's own values, and the option that it takes of each group."""
    if not command.isidentifier():
        raise AmcError(f"{command}: no command")
    content = yaml.safe_load((config_folder() / f"{command}.yaml").read_text(encoding="utf-8"))
    defaults = [entry for entry in content.pop("defaults", []) if isinstance(entry, dict)]
    groups = {str(group): str(option) for entry in defaults for group, option in entry.items() if " " not in group}
    return content, groups


def _words(key: str, value: Any, ready: Mapping[str, Any], groups: Mapping[str, str]) -> Iterator[str]:
    if key not in groups or not isinstance(value, Mapping):
        yield from _differences(key, value, ready.get(key, MISSING))
        return
    chosen, values = _option(key, value)
    if chosen != groups[key] or key in ALWAYS:
        yield f"{key}={chosen}"
    for name, entry in value.items():
        if name != "name":
            yield from _differences(f"{key}.{name}", entry, values.get(name, MISSING))


def _option(group: str, value: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The group's option as the command line names it, and its content."""
    name = str(value.get("name"))
    file = config_folder() / group / f"{name}.yaml"
    if re.fullmatch(r"\w+", name) and file.is_file():
        return name, {"name": name, **(yaml.safe_load(file.read_text(encoding="utf-8")) or {})}
    net = value.get("net")
    target = str((net.get("_target_") if isinstance(net, Mapping) else None) or value.get("_target_") or name)
    of_library = _of_library(net)
    if of_library is not None:
        target, base = of_library, of_library.partition("/")[0]
    elif target == f"torchvision.models.{name}":
        target, base = name, "torchvision"
    else:
        base = "custom"
    file = config_folder() / group / f"{base}.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    named = {"_target_": value.get("_target_")}
    if isinstance(net, Mapping):
        said = ("_target_", *(library.argument for library in LIBRARIES if library.target == net.get("_target_")))
        named = {"net": {**(content.get("net") or {}), **{key: net.get(key) for key in said}}}
    return target, {**content, **named}


def _of_library(net: object) -> str | None:
    """``timm/NAME`` or ``hf/FOLDER/…`` for a network of another library."""
    base, slash, own = ((name_of(net) if isinstance(net, Mapping) else None) or "").partition("/")
    return f"{base}/{without_folders(own, 'FOLDER')}" if slash else None


def _differences(key: str, value: Any, ready: Any) -> Iterator[str]:
    if isinstance(ready, str) and ("${" in ready or ready == "???"):
        ready = MISSING
    if isinstance(value, Mapping) and isinstance(ready, Mapping):
        for name, entry in value.items():
            yield from _differences(f"{key}.{name}", entry, ready.get(name, MISSING))
    elif value != ready:
        plus = "++" if ready is MISSING and "." in key else ""
        yield f"{plus}{key}={_plain(without_folders(value, 'FOLDER'))}"


def _plain(value: object) -> str:
    """``value`` in the grammar of Hydra's overrides, without quotes where none are needed."""
    if isinstance(value, str) and re.fullmatch(r"(?!null$|true$|false$)[A-Za-z_][\w./-]*", value, re.IGNORECASE):
        return value
    return quoted(value)


def _call(run: StoredRun) -> str:
    """The call from Python; network and images are the caller's own."""
    facts = {key: run.config.get(key) for key in ("reward", "importance", "recovery", "agent", "seed")}
    budget = run.config.get("budget") or {}
    episodes = run.summary.get("episodes")
    given = {"budget": budget.get("keep"), **facts, **({} if episodes is None else {"episodes": episodes})}
    lines = [f"    {key}={value!r}," for key, value in given.items()]
    settings = _settings(run.config["settings"])
    return "\n".join(["search(", "    model,", "    train=train, val=val, test=test,", *lines, *settings, ")"])


def _settings(stored: Mapping[str, Any]) -> Sequence[str]:
    entries = (f"        {key}={without_folders(value)!r}," for key, value in stored.items())
    return ["    settings=Settings(", *entries, "    ),"]
