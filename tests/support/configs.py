"""Every command's configuration, composed as on the command line, and values that hardly any setting can have."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hydra

from amc import train
from amc.cli.command import Entry, plain_of
from amc.core.conf import config_folder
from amc.export import __main__ as export
from amc.finetune import __main__ as finetune
from amc.search import __main__ as search
from amc.sensitivity import __main__ as sensitivity
from amc.transfer import __main__ as transfer
from tests.support.small import saved_policy

ENTRIES: dict[str, Entry] = {
    "search": search.main_from_config,
    "train": train.main_from_config,
    "sensitivity": sensitivity.main_from_config,
    "transfer": transfer.main_from_config,
    "finetune": finetune.main_from_config,
    "export": export.main_from_config,
}
# What the templates leave to the user.
MODEL = ["model.name=mine", "model.net._target_=torchvision.models.resnet101"]
GIVEN = {
    ("model", "custom"): MODEL,
    ("model", "torchvision"): MODEL,
    ("model", "timm"): ["model.name=mine", "model.net.architecture=resnet10t"],
    ("model", "hf"): [
        "model.name=mine",
        f"model.net.source={Path(__file__).parents[1] / 'data' / 'tiny_vit'}",
        "model.pretrained=false",
    ],
    ("dataset", "custom"): ["dataset._target_=amc.data.load_dataset"],
    ("reward", "custom"): ["reward.name=mine", "reward._target_=amc.rewards.accuracy"],
}
WRONG: dict[str, Any] = {
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "negative": -1,
    "negative fraction": -0.5,
    "huge": 10**30,
    "huge fraction": 1e300,
    "text": "no such thing",
    "empty text": "",
    "number as text": "3",
    "missing": "???",
    "null": None,
    "true": True,
    "list": ["x", 1],
    "list of nothing": [None],
    "empty list": [],
    "section": {"a": 1},
    "empty section": {},
}


def composed(command: str, *overrides: str) -> dict[str, Any]:
    """The configuration of a command, as plain data."""
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        return plain_of(hydra.compose(command, list(overrides)))


def needed(command: str, folder: Path) -> list[str]:
    """The files that a command can't do without, made in ``folder``, as overrides."""
    if command == "transfer":
        saved_policy(folder / "policy")
        return [f"policy={folder / 'policy'}"]
    if command == "finetune":
        (folder / "plan.json").write_text(json.dumps({"format": 1, "groups": {"conv1": {"keep": 1, "of": 16}}}))
        return [f"plan={folder / 'plan.json'}"]
    return [f"run={folder}"] if command == "export" else []


def leaves(config: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every setting that isn't a section."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key)


def sections(config: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every section; the whole configuration is not among them."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield (*above, key)
            yield from sections(value, (*above, key))


def changed(config: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy with another value."""
    copied = copy.deepcopy(dict(config))
    parent = copied
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return copied


def without(config: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """A copy that lacks a setting or a section."""
    copied = copy.deepcopy(dict(config))
    parent = copied
    for key in path[:-1]:
        parent = parent[key]
    del parent[path[-1]]
    return copied
