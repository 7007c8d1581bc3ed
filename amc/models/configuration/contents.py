"""From a cut network to the configurations that may describe it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from amc.core.errors import AmcError
from amc.models.configuration.depth import blocks_of, shallower, without
from amc.models.configuration.family import Content, Family
from amc.models.configuration.reasons import names_differ, sizes_differ
from amc.models.configuration.search import find
from amc.models.configuration.signature import signature_of, unlike_names


def contents_for(
    family: Family, content: Content, small: nn.Module, dropped: Collection[str]
) -> tuple[tuple[dict[str, Any], ...], str]:
    """Contents of configurations whose networks have the sizes of ``small``, the likeliest first.

    Their networks may reckon otherwise: four heads of eight channels are as wide as eight of four.

    Args:
        family: of the network.
        content: of the dense network's configuration.
        small: that was cut out of it.
        dropped: paths of blocks in it that do nothing any more.

    Returns:
        The contents, and what the class said of one that it refused, if it refused any.

    Raises:
        AmcError: there is none; says which width or block is in the way.
    """
    name, where = family.config_class.__name__, family.model_class.__name__
    dense = family.signature(content)
    if dense is None:
        raise AmcError(f"{where}: its own configuration builds no network ({family.error}); is it the dense network's?")
    blocks = blocks_of(small, dropped)
    starts = shallower(family, content, blocks)
    own = signature_of(small)
    want, dense = without(own, blocks), without(dense, blocks)
    if unlike_names(dense, want):
        raise AmcError(f"{where}: {names_differ(name, dense, want)}")
    found = find(family, starts, want)
    if not found.contents:
        raise AmcError(f"{where}: {sizes_differ(family, found, dense, want)}")
    return found.contents, found.refused
