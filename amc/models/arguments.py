"""What a network's callable takes, as far as its signature tells; before anything is loaded."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, Union, get_args, get_origin

from amc.core.callables import find_callable
from amc.core.checks import shown
from amc.core.errors import AmcError
from amc.core.trust import BUILDERS
from amc.core.values import (
    LARGEST_REAL,
    LARGEST_WHOLE,
    Flag,
    Kind,
    OneOf,
    Real,
    Text,
    Whole,
    check_all,
    refuse_unknown_keys,
)
from amc.models import from_timm, from_transformers
from amc.models.libraries import HUB, TIMM, TRANSFORMERS

TORCHVISION = "torchvision.models."
OURS = "amc.models."
ADVICE = "give a dotted path, such as my_pkg.my_net or torchvision.models.resnet50"
CLASSES = {"digits": 10, "cifar10": 10}  # of the data sets that have always as many
IMAGENET_CLASSES = 1000
IMAGENET = "IMAGENET1K_V1"
PRETRAINED = Flag(also=("auto", HUB))  # model.pretrained
SIMPLE: Mapping[Any, Kind] = {
    int: Whole(low=-LARGEST_WHOLE),
    float: Real(low=-LARGEST_REAL),
    bool: Flag(),
    str: Text(),
}

ONLY_HUB = f"only model={TRANSFORMERS.prefix}/NAME has it; give true or false"
APART = ("num_classes", "image_shape", "weights", "pretrained", "progress")  # set in another way

# Arguments of this project's networks whose types don't say enough.
KNOWN: Mapping[str, Mapping[str, Kind]] = {
    TIMM.target: {"architecture": from_timm.Architecture()},
    TRANSFORMERS.target: {
        "source": Text(what="a folder, or a name"),
        "task": OneOf(names=tuple(from_transformers.TASKS)),
    },
    "amc.models.mobilenet_v1.mobilenet_v1": {"width": Real(high=16, ends="(]")},
}


def check_arguments(target: str, given: Mapping[str, Any]) -> None:
    """Refuses a callable that there isn't, arguments that it doesn't take, and values of another type than it says.

    Args:
        target: dotted path of the callable.
        given: its further arguments; ``num_classes`` is the data set's.

    Raises:
        AmcError: names the argument and what there is.
    """
    maker = find_callable("model", target, ADVICE)
    parameters = parameters_of(maker, target)
    if parameters is not None:
        own = {name: p for name, p in parameters.items() if name not in APART}
        refuse_unknown_keys("model.net", given, tuple(own), whose=target)
        for name, value in given.items():
            _check_type(f"model.net.{name}", value, own[name])
    check_all("model.net", given, KNOWN.get(target, {}))


def check_pretrained(model: Mapping[str, Any], dataset: str) -> None:
    """Refuses ``model.pretrained=true`` where there are no trained weights to have.

    Args:
        model: the section of the configuration.
        dataset: name of the data set.

    Raises:
        AmcError: this project's networks have none, torchvision's are for ImageNet's classes, and only transformers
            tells the local cache from the hub.
    """
    target, pretrained = model["net"]["_target_"], model["pretrained"]
    if target in BUILDERS:
        replaced = pretrained is True and model.get("checkpoint") is not None
        _check_library(model["net"], not replaced and pretrained, CLASSES.get(dataset))
    elif pretrained == HUB:
        raise AmcError(f"model.pretrained={HUB}: {ONLY_HUB}")
    elif pretrained is True and target.startswith(OURS):
        raise AmcError(f"model.pretrained=true: {model['name']} has no trained weights to fetch; give model.checkpoint")
    elif pretrained is True and target.startswith(TORCHVISION):
        imagenet_weights(target, CLASSES.get(dataset, IMAGENET_CLASSES))


def _check_library(net: Mapping[str, Any], pretrained: bool | str, num_classes: int | None) -> None:
    """The same of another library's network, as far as the data set's classes are known already."""
    if net["_target_"] == TRANSFORMERS.target:
        from_transformers.check_source(net.get(TRANSFORMERS.argument, "???"), pretrained, num_classes)
    elif pretrained == HUB:
        raise AmcError(f"model.pretrained={HUB}: {ONLY_HUB}")
    elif pretrained is True and num_classes is not None:
        from_timm.check_classes(net[TIMM.argument], num_classes)


def imagenet_weights(target: str, num_classes: int = IMAGENET_CLASSES) -> Any:
    """The weights made for the plain 256 → 224 pixels preprocessing, which ``IMAGENET1K_V1`` always is.

    Raises:
        AmcError: the data set has another number of classes, or torchvision has no such weights for the network.
    """
    from torchvision.models import get_model_weights

    if num_classes != IMAGENET_CLASSES:
        raise AmcError(
            f"model.pretrained=true: torchvision's weights know {IMAGENET_CLASSES} classes, the dataset has "
            f"{num_classes}; give dataset=imagenet with all its class folders, or model.pretrained=false"
        )
    name = target.removeprefix(TORCHVISION)
    weights = get_model_weights(name)
    if IMAGENET not in weights.__members__:
        raise AmcError(f"model.pretrained=true: torchvision has no {IMAGENET} weights for {name}; give a checkpoint")
    return weights[IMAGENET]


def parameters_of(maker: Callable[..., Any], target: str) -> Mapping[str, inspect.Parameter] | None:
    """Name → parameter of everything that ``maker`` takes by name; ``None`` if it doesn't say.

    torchvision's functions pass what they don't name on to the class that they return.
    """
    try:
        signature = inspect.signature(maker, eval_str=True)
    except (ValueError, TypeError, NameError):
        return None
    parameters = dict(signature.parameters)
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        network = signature.return_annotation
        if not (target.startswith(TORCHVISION) and inspect.isclass(network)):
            return None
        # What a class of torchvision takes without a name goes nowhere.
        parameters = {**inspect.signature(network).parameters, **parameters}
    return {name: p for name, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def _check_type(name: str, value: Any, parameter: inspect.Parameter) -> None:
    """Compares with the annotation, or with the default's type, if these are simple."""
    wanted = parameter.annotation
    if wanted is parameter.empty:
        wanted = type(parameter.default) if type(parameter.default) in SIMPLE else Any
    options = get_args(wanted) if get_origin(wanted) in (Union, types.UnionType) else (wanted,)
    if not all(option in SIMPLE or option is type(None) for option in options):
        return None
    if value is None and type(None) in options:
        return None
    errors = []
    for kind in (SIMPLE[option] for option in options if option in SIMPLE):
        try:
            return kind.check(name, value)
        except AmcError as error:
            errors.append(error)
    raise errors[0] if errors else AmcError(f"{shown(name, value)}: give null")
