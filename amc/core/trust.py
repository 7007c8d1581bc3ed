"""What a file may name: the one rule by which dotted paths from files become code.

A run folder, a pruned network or a policy may come from anywhere. Of what its files name only torchvision's classifiers
and this project's own networks and rewards are ever imported, and networks of timm and transformers by what builds
those here. Anything else must be named on the command line
(``trust=my_pkg.my_net``) or given as an object.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeGuard, get_type_hints

from torch import nn

from amc.core.errors import AmcError

CLASSIFIERS, NETWORKS, REWARDS = "torchvision.models", "amc.models", "amc.rewards"
# What builds networks of other libraries by name: never a stranger's code, and from a hub only where the user asks.
BUILDERS = (
    "amc.models.from_timm.network",
    "amc.models.from_transformers.network",
    "amc.models.from_transformers.from_config",
)
# They take weights from the internet or from a file of somebody's choice.
FETCHING = ("weights", "weights_backbone", "pretrained", "progress")
LARGEST = 1_000_000  # number among a file's arguments; no width, depth or size is larger
LONGEST = 10_000  # list among them
Maker = Callable[..., Any]


def trusted(path: object, where: str, given: Collection[str], or_else: str = "") -> str:
    """``path``, which a file names, if it may be imported.

    Args:
        path: dotted.
        where: the file and the entry, for the message.
        given: dotted paths that the user has named.
        or_else: another way, for the message.

    Raises:
        AmcError: it is neither own nor ``given``; says what to add.
    """
    if not is_dotted(path):
        raise AmcError(f"{where}: {path!r} is unknown, no dotted path; the file is damaged")
    if path not in given and own_callable(path) is None:
        raise AmcError(f"{where}: {path} is code that is not run by itself; if you trust it, add trust={path}{or_else}")
    return path


def is_dotted(path: object) -> TypeGuard[str]:
    """Whether ``path`` is made of names with dots between them, one name at least."""
    return isinstance(path, str) and all(part.isidentifier() for part in path.split("."))


def listed(trust: str | Collection[str]) -> tuple[str, ...]:
    """Dotted paths that were given as one or as several."""
    return (trust,) if isinstance(trust, str) else tuple(trust)


def own_callable(path: str) -> Maker | None:
    """The classifier of torchvision, or the network, builder or reward of this project, at ``path``; ``None``: neither.

    Exactly these: what lies beside them in the same modules may download, or import what it is told.
    """
    module_name, _, name = path.rpartition(".")
    if module_name == CLASSIFIERS:
        import torchvision

        models = torchvision.models
        return getattr(models, name) if name in models.list_models(module=models) else None
    if module_name == REWARDS:
        found: Maker | None = importlib.import_module(REWARDS).REWARDS.get(name)
        return found
    if path in BUILDERS:
        builder: Maker = getattr(importlib.import_module(module_name), name)
        return builder
    if not re.fullmatch(rf"{re.escape(NETWORKS)}\.[a-z][a-z0-9_]*", module_name) or name.startswith("_"):
        return None
    try:
        module = importlib.import_module(module_name)
    except ImportError:
        return None
    found = vars(module).get(name)
    return found if getattr(found, "__module__", None) == module_name and _makes_network(found) else None


def check_arguments(path: str, arguments: Mapping[str, Any], where: str, reserved: Collection[str] = ()) -> None:
    """Checks arguments that a file gives to the callable at ``path``, which must have been trusted.

    Args:
        path: dotted.
        arguments: by name.
        where: the file and the entry, for the message.
        reserved: names that are set in another way.

    Raises:
        AmcError: one that the callable doesn't know, or that is no plain number, text, or list of them.
    """
    own = own_callable(path)
    known = None if own is None else parameters_of(own)
    for name, value in arguments.items():
        if (
            not isinstance(name, str)
            or not name.isidentifier()
            or name in reserved
            or (own is not None and name in FETCHING)
        ):
            raise AmcError(f"{where} has the argument {name!r}, which may not stand in a file; it is damaged")
        if known is not None and name not in known:
            raise AmcError(f"{where} has the argument {name!r}, which {path} does not take; it is damaged")
        _check_plain(value, f"{where}, argument {name!r}")


def parameters_of(maker: Maker) -> set[str]:
    """Names of the parameters of ``maker`` and, where it passes on what it is given, of the network that it returns."""
    parameters = inspect.signature(maker).parameters.values()
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    network = _returned(maker)
    if any(p.kind is p.VAR_KEYWORD for p in parameters) and network is not None and network is not maker:
        names |= parameters_of(network)
    return names


def _check_plain(value: Any, where: str) -> None:
    values = value if isinstance(value, (list, tuple)) else [value]
    if len(values) > LONGEST:
        raise AmcError(f"{where}: a list of {len(values)}; a file may give lists of up to {LONGEST}")
    for entry in values:
        if isinstance(entry, (list, tuple)) and entry is not value:
            _check_plain(entry, where)
        elif entry is not None and not isinstance(entry, (bool, int, float, str)):
            raise AmcError(f"{where}: a {type(entry).__name__}; a file may give numbers, texts and lists of them")
        elif isinstance(entry, (int, float)) and not abs(entry) <= LARGEST:
            raise AmcError(f"{where}: {entry}; a file may give numbers of up to {LARGEST}")


def _makes_network(maker: Any) -> bool:
    network = _returned(maker)
    is_network = network is not None and network is not nn.Module and issubclass(network, nn.Module)
    return is_network and "num_classes" in inspect.signature(maker).parameters


def _returned(maker: Any) -> type | None:
    """The class that ``maker`` is, or that its annotation says it returns."""
    if inspect.isclass(maker):
        return maker
    try:
        returned = get_type_hints(maker).get("return") if inspect.isfunction(maker) else None
    except (NameError, TypeError):
        return None
    return returned if inspect.isclass(returned) else None
