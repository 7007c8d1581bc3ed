"""timm's networks by name. timm is imported when one is asked for, and a hub is contacted only for its weights."""

from __future__ import annotations

import difflib
from typing import Any

from torch import nn

from amc.core.errors import AmcError
from amc.models.libraries import TIMM, import_library


class Architecture:
    """The setting that names one of timm's networks."""

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` if timm is not installed, or has no such network."""
        timm = import_library(TIMM)
        # Names with a colon would make timm look elsewhere: at a hub, in a folder.
        if not isinstance(value, str) or ":" in value or "/" in value or not timm.is_model(value):
            near = difflib.get_close_matches(str(value), timm.list_models(), n=3)
            hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists them"
            raise AmcError(f"model=timm/{value}: timm {timm.__version__} has no such network; {hint}")


def network(
    architecture: str, num_classes: int, image_shape: tuple[int, int, int], *, pretrained: bool = False
) -> nn.Module:
    """The network that timm calls ``architecture``, for images of this shape.

    Args:
        architecture: as in ``timm.list_models()``, with the tag of its weights or without.
        num_classes: length of the output.
        image_shape: (channels, height, width); networks that are made for one size are made for this one.
        pretrained: timm's weights, from its cache or else from their hub.

    Raises:
        AmcError: timm is not installed or has no such network; or its weights know other classes.
    """
    Architecture().check("model.net.architecture", architecture)
    timm = import_library(TIMM)
    own = timm.get_pretrained_cfg(architecture)
    channels, *size = image_shape
    arguments: dict[str, Any] = {"num_classes": num_classes, "in_chans": channels}
    if own is not None and own.fixed_input_size:
        arguments["img_size"] = tuple(size)
    if pretrained:
        check_classes(architecture, num_classes)
    model: nn.Module = timm.create_model(architecture, pretrained=pretrained, **arguments)
    return model


def check_classes(architecture: str, num_classes: int) -> None:
    """Raises ``AmcError`` if timm's weights for ``architecture`` know another number of classes."""
    own = import_library(TIMM).get_pretrained_cfg(architecture)
    if own is not None and own.num_classes != num_classes:
        raise AmcError(
            f"model.pretrained=true: timm's weights for {architecture} know {own.num_classes} classes, the dataset has "
            f"{num_classes}; give a data set of these classes, or model.pretrained=false"
        )
