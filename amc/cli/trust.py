"""What the command line names, against what files name: see :mod:`amc.core.trust`."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from amc.cli.paths import KEYS
from amc.core.errors import AmcError
from amc.core.trust import check_arguments, is_dotted, listed, own_callable, trusted

TARGET = "_target_"
PATHS = {key.rpartition(".")[2] for key in KEYS}
SETTING = re.compile(r"[\w.*-]+")
NAMING = (
    "model",
    "reward",
    "dataset",
    "dataset.target",
    "task.metric",
    "task.loss",
    "trust",
)  # keys whose values can be dotted paths
GIVEN_BY_CALLER = ("metrics", "cost", "original")  # a reward's own three arguments
# What build() has of its own.
RESERVED = ("target", "num_classes", "image_shape", "stem", "pretrained", "checkpoint", "seed", "name")


def trust_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The dotted paths in ``trust=``. Raises ``AmcError`` for something else."""
    given = config.get("trust")
    if given is None:
        return ()
    paths = listed(given) if isinstance(given, (str, list, tuple)) else (given,)
    for path in paths:
        if not is_dotted(path) or "." not in path:
            raise AmcError(f"trust={given}: give a dotted path, such as my_pkg.my_net, or a list of them")
    return paths


def named(arguments: Sequence[str]) -> set[str]:
    """Dotted paths that the user has typed: they may be imported."""
    found: set[str] = set()
    for argument in arguments:
        key, _, value = argument.lstrip("+").partition("=")
        if key in NAMING or key.endswith(TARGET):
            found |= {path for path in re.split(r"[\[\],\s'\"]+", value) if "." in path and is_dotted(path)}
    return found


def search_current_folder(arguments: Sequence[str]) -> None:
    """Modules are looked for in the current folder if the command line names code, and else not.

    A stranger's folder may be the current one, and hold a module that something imports if it is there.
    """
    here = str(Path.cwd())
    if any(own_callable(path) is None for path in named(arguments)):
        sys.path.insert(0, here)
    elif sys.path[:1] in ([""], [here]) and not Path(__file__).is_relative_to(here):
        del sys.path[0]


def check_named(config: Any, file: Path, given: Collection[str]) -> None:
    """Checks everything in a stored configuration that would become code, and what is passed to it.

    Args:
        config: as read from ``file``.
        file: for the message.
        given: dotted paths that the user has named.

    Raises:
        AmcError: a dotted path that nobody trusts, an argument that its callable doesn't take, or an interpolation.
    """
    _check(config, file, given, ())


def _check(value: Any, file: Path, given: Collection[str], at: tuple[str, ...]) -> None:
    where = f"{file}: {'.'.join(at)}"
    is_path = bool(at) and at[-1] in PATHS  # of any name; see amc.cli.paths.literal
    if isinstance(value, str) and not is_path and ("${" in value or value == "???"):
        raise AmcError(f"{where}: {value!r} means something to Hydra, which no run stores; the file is damaged")
    if isinstance(value, list):
        for place, entry in enumerate(value):
            _check(entry, file, given, (*at, str(place)))
    if not isinstance(value, dict):
        return
    if TARGET in value:
        path = trusted(value[TARGET], f"{where}.{TARGET}", given)
        arguments = {name: entry for name, entry in value.items() if name != TARGET}
        if at == ("reward",):
            arguments.pop("name", None)
            check_arguments(path, arguments, where, GIVEN_BY_CALLER)
        elif at == ("dataset",):
            check_arguments(path, value.get("arguments") or {}, where)
        else:
            check_arguments(path, arguments, where, RESERVED)
    if at == ("task",):
        for name in ("metric", "loss"):
            if isinstance(value.get(name), str) and "." in value[name]:
                trusted(value[name], f"{where}.{name}", given)
    for name, entry in value.items():
        if not SETTING.fullmatch(name):
            raise AmcError(f"{where}: {name!r} is no setting; the file is damaged")
        _check(entry, file, given, (*at, name))
