"""Networks of other libraries, ``model=timm/NAME`` and ``model=hf/DIR_OR_NAME``: what they are called in files."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from amc.core.errors import AmcError

HUB = "hub"  # model.pretrained: what is missing may be fetched


@dataclass(frozen=True)
class Library:
    """A library whose networks go by name.

    Attributes:
        prefix: of the name on the command line.
        target: dotted path of what makes its networks; see :data:`amc.core.trust.BUILDERS`.
        argument: that the name is given to.
        package: to be imported; its extra of this project is called alike.
    """

    prefix: str
    target: str
    argument: str
    package: str


TIMM = Library("timm", "amc.models.from_timm.network", "architecture", "timm")
TRANSFORMERS = Library("hf", "amc.models.from_transformers.network", "source", "transformers")
LIBRARIES = (TIMM, TRANSFORMERS)


def import_library(library: Library) -> ModuleType:
    """The library's package. Raises ``AmcError`` with the command that installs it if it isn't there."""
    try:
        return importlib.import_module(library.package)
    except ImportError as error:
        raise AmcError(
            f"model={library.prefix}/…: needs {library.package} ({error}); pip install 'amc-pruning[{library.package}]'"
        ) from error


def named_by(name: str) -> tuple[Library, str, str] | None:
    """What ``model=NAME`` means: the library, the network's own name in it, and what it is called in files.

    ``None`` if it names no library.
    """
    prefix, slash, own = name.partition("/")
    library = next((one for one in LIBRARIES if one.prefix == prefix), None)
    if not slash or library is None:
        return None
    if not own.strip("/"):
        raise AmcError(f"model={name}: no name behind {prefix}/; give model={prefix}/NAME")
    last = Path(own).name or Path(own).resolve().name
    short = "".join(c if c.isalnum() or c in "._+-" else "_" for c in last)
    return library, own, f"{prefix}-{short}"


def name_of(net: Mapping[str, Any]) -> str | None:
    """What follows ``model=`` for a network that the configuration describes; ``None`` if no library made it."""
    for library in LIBRARIES:
        if net.get("_target_") == library.target:
            return f"{library.prefix}/{net.get(library.argument)}"
    return None
