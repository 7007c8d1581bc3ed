"""What the parts of a configuration can be that several commands share: groups of ``conf/``, and settings of all.

A command's whole schema is one :class:`amc.core.values.Section` made of these. It is checked once, before anything else
is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

import agents
from amc import importance as importances
from amc import recovery as recoveries
from amc.cli.trust import trust_of
from amc.core.callables import find_callable
from amc.core.checks import one_of, shown
from amc.core.conf import config_folder
from amc.core.device import resolve_device
from amc.core.errors import AmcError
from amc.core.values import (
    Flag,
    Kind,
    Nullable,
    OneOf,
    Section,
    Text,
    Whole,
    refuse_unknown_keys,
    require_section,
)
from amc.data.custom import ADVICE as DATA_ADVICE
from amc.data.custom import NAME as OWN_DATA
from amc.data.load import KINDS as IMAGES
from amc.data.load import NAMES as DATASETS
from amc.data.readers import KINDS as EXAMPLES
from amc.data.readers import NAMES as READERS
from amc.evaluation.catalogue import check_metric
from amc.models.arguments import PRETRAINED, check_arguments, check_pretrained
from amc.models.build import STEMS
from amc.pruning.constraints import CONSTRAINTS
from amc.rewards import get_reward
from amc.task.kinds import check_loss, wanted_from
from amc.task.settings import BUDGET, EVALUATE, SCOPE, SEED
from amc.training.recipe import KINDS as RECIPE

NAME = Text(what="a name", file_name=True)
FILE = Text(also=(None,), what="a file")
FOLDER = Text(also=(None,), what="a folder")
TARGET = Text(what="a dotted path, such as my_pkg.my_callable")


@dataclass(frozen=True)
class Group:
    """A group of ``conf/``: its name says which settings it has, those of the file there, and no others.

    Attributes:
        group: folder in ``conf/``.
        kinds: of the settings of all its choices; what it doesn't list, such as an agent's own, is checked elsewhere.
    """

    group: str
    kinds: Mapping[str, Kind]

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` naming the first setting that is unknown, missing, or can't be as it is."""
        require_section(name, value)
        if "name" not in value:
            raise AmcError(f"{name}.name: was removed; choose one by {name}=NAME")
        one_of(name, value["name"], _choices(self.group))
        known = _keys(self.group, value["name"])
        refuse_unknown_keys(name, value, known, whose=f"{name}={value['name']}")
        Section({key: self.kinds.get(key, Anything()) for key in known}).check(name, value)


@dataclass(frozen=True)
class Anything:
    """A setting whose owner checks it."""

    def check(self, name: str, value: Any) -> None:
        """Nothing to say here."""


class Agent(Group):
    """The agent, whose own class knows its settings."""

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` as :meth:`Group.check`, and for what the agent refuses."""
        super().check(name, value)
        try:
            agents.check_settings(value["name"], {key: entry for key, entry in value.items() if key != "name"})
        except ValueError as error:
            raise AmcError(str(error)) from error


class Budget(Group):
    """The budget; ``none`` has no limit, and any other has one."""

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` as :meth:`Group.check`, and for a limit of no budget or a budget of no limit."""
        super().check(name, value)
        if value["name"] == "none" and value["keep"] is not None:
            raise AmcError(f"{shown('budget.keep', value['keep'])}: contradicts budget=none; give one of them")
        if value["keep"] is not None:
            KEEP.check("budget.keep", value["keep"])
        elif value["name"] != "none":
            raise AmcError(f"budget.keep=null: budget={value['name']} sets a limit; give budget=none for no budget")


class Model:
    """The network: its callable can be found, and takes the arguments that are given."""

    keys: Mapping[str, Kind] = {
        "name": NAME,
        "net": Anything(),
        "checkpoint": FILE,
        "stem": OneOf(names=STEMS),
        "pretrained": PRETRAINED,
    }

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` naming the first setting that can't be."""
        Section(self.keys).check(name, value)
        net = value["net"]
        require_section(f"{name}.net", net)
        TARGET.check(f"{name}.net._target_", net.get("_target_", "???"))
        check_arguments(net["_target_"], {key: entry for key, entry in net.items() if key != "_target_"})


class Reward:
    """The reward: a callable that can be called with metrics and two costs, and the further arguments given."""

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` if there is no such callable, or it can't be called like that."""
        require_section(name, value)
        for key, kind in {"name": NAME, "_target_": TARGET}.items():
            kind.check(f"{name}.{key}", value.get(key, "???"))
        get_reward(value["_target_"], **{key: entry for key, entry in value.items() if key not in ("name", "_target_")})


class Dataset(Group):
    """The data; of one's own, the callable that makes it can be found."""

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` as :meth:`Group.check`, and if there is no such callable."""
        super().check(name, value)
        if value["name"] == OWN_DATA:
            TARGET.check(f"{name}._target_", value["_target_"])
            require_section(f"{name}.arguments", value["arguments"])
            find_callable(name, value["_target_"], DATA_ADVICE)


class Task(Group):
    """The task: metric and loss can be found."""

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` as :meth:`Group.check`, and for a metric or loss that there isn't."""
        super().check(name, value)
        require_section(f"{name}.metric_arguments", value["metric_arguments"])
        wanted = wanted_from(value)
        check_metric(wanted.metric)
        check_loss(wanted.loss)


class Device:
    """``auto``, or a device of this machine."""

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` if there is no such device."""
        Text(what="auto, cpu, cuda or cuda:N").check(name, value)
        resolve_device(value)


class Trust:
    """Dotted paths of code that files may name."""

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` for something else."""
        trust_of({name: value})


MODEL = Model()
OWN: Mapping[str, Kind] = {
    "name": OneOf(names=(*DATASETS, *READERS, OWN_DATA)),
    "num_classes": Nullable(Whole()),
}
TASK: Mapping[str, Kind] = {
    "metric": Text(also=(None,), what="a metric"),
    "loss": Text(also=(None,), what="a function"),
}
KEEP = BUDGET["keep"]
TRUST = Trust()
DATASET: Mapping[str, Kind] = {**IMAGES, **EXAMPLES, "name": OneOf(names=(*DATASETS, *READERS))}
# Settings of (almost) all commands.
COMMON: Mapping[str, Kind] = {
    "model": MODEL,
    "dataset": Dataset("dataset", {**DATASET, **OWN}),
    "task": Task("task", TASK),
    "training": Group("training", {key: Nullable(kind) for key, kind in RECIPE.items()}),
    "seed": SEED,
    "device": Device(),
    "cache_dir": FOLDER,
    "verbose": Flag(),
}
# Settings of the commands that cut networks.
CUTTING: Mapping[str, Kind] = {
    **COMMON,
    "importance": Group("importance", {"name": OneOf(names=importances.NAMES)}),
    "recovery": Group("recovery", recoveries.KINDS),
    **SCOPE,
    "trust": TRUST,
}
BUDGETED: Mapping[str, Kind] = {
    **CUTTING,
    "constraints": CONSTRAINTS,
    "budget": Budget("budget", {key: kind for key, kind in BUDGET.items() if key != "keep"}),
}
RESUME: Mapping[str, Kind] = {"resume": FOLDER}


def evaluate(*keys: str) -> Section:
    """The section ``evaluate`` with these settings, or all."""
    return Section({key: EVALUATE[key] for key in keys or EVALUATE})


def check_config(schema: Section, config: Mapping[str, Any]) -> None:
    """Checks a whole configuration, and what its parts say of each other.

    Raises:
        AmcError: names the first setting that is unknown, missing, or can't be as it is.
    """
    schema.check("", config)
    if "model" in config:
        for model in (config["model"], *config.get("networks", ())):
            check_pretrained(model, config["dataset"]["name"])


@cache
def _choices(group: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (config_folder() / group).glob("*.yaml")))


@cache
def _keys(group: str, name: str) -> tuple[str, ...]:
    """The settings of a group's choice."""
    return tuple(yaml.safe_load((config_folder() / group / f"{name}.yaml").read_text(encoding="utf-8")))
