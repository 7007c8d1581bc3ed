"""Why no configuration describes a network, in words."""

from __future__ import annotations

import re

from amc.models.configuration.family import Family, Path
from amc.models.configuration.search import Found
from amc.models.configuration.signature import Place, Signature, is_whole, unlike, unlike_names

UNIFORM = "prune with uniform_per_axis=true, which gives them one width"
WHOLE = "keep it whole, or load the network by amc"
ALIKE = "cut them alike or keep them whole, or load the network by amc"


def names_differ(name: str, have: Signature, want: Signature) -> str:
    """Why the tensors are others than a configuration can ask for.

    Args:
        name: of the configuration's class.
        have: of the network that the configuration describes.
        want: of the cut network; the two have different names.
    """
    odd = unlike_names(have, want)[0]
    if odd not in want.sizes:
        return f"{odd} is gone, and {name} always asks for it; only whole blocks can be left out"
    return f"{name} asks for no {odd}; was the network built from its own configuration?"


def sizes_differ(family: Family, found: Found, dense: Signature, want: Signature) -> str:
    """Which width no entry gives.

    Args:
        family: of the network.
        found: what the search came to, which is not the wanted network.
        dense: signature of the dense network, its remaining blocks numbered in order.
        want: of the cut network.
    """
    wrong = unlike(found.closest, want)
    name = family.config_class.__name__
    for place in wrong:
        other = _other_size(place, dense, want, found, alike=True)
        if other is not None:
            return f"{_both(place, other, dense, want, name)}; {UNIFORM}"
    refused = f" ({name} says: {found.refused})" if found.refused else ""
    cut = next((place for place in wrong if dense.value(place) != want.value(place)), None)
    if cut is None:
        place = wrong[0]
        size, given = want.value(place), found.closest.value(place)
        return f"{_layer(place)} keeps {size} channels, {name} gives it {given} beside what was cut{refused}; {WHOLE}"
    heads = _heads(cut, dense, want)
    other = None if heads else _other_size(cut, dense, want, found, alike=False)
    if other is not None:
        return f"{_both(cut, other, dense, want, name)}; {ALIKE}"
    axis = heads or f"{dense.value(cut)} → {want.value(cut)} channels of {_layer(cut)}"
    return f"{axis}: {name} has no entry for it that leaves the rest alone{refused}; {WHOLE}"


def _both(place: Place, other: Place, dense: Signature, want: Signature, name: str) -> str:
    mine, its = (f"{_layer(one)} keeps {want.value(one)}" for one in (place, other))
    return f"{mine} and {its} of {dense.value(place)} channels, {name} has one entry for both"


def _other_size(place: Place, dense: Signature, want: Signature, found: Found, *, alike: bool) -> Place | None:
    """A place that the same entries move and that has another size now; the same one of another block, if ``alike``."""
    moving = _moving(place, found)
    for name, size in want.sizes.items() if moving else ():
        for other in ((name, dim) for dim in range(len(size))):
            if alike and (other[1] != place[1] or _numberless(name) != _numberless(place[0])):
                continue
            was_alike = dense.value(other) == dense.value(place) and _moving(other, found) == moving
            if was_alike and want.value(other) != want.value(place):
                return other
    return None


def _moving(place: Place, found: Found) -> set[Path]:
    return {lever.path for lever in found.levers if place in lever.slopes}


def _numberless(name: str) -> str:
    return re.sub(r"\.\d+\.", ".*.", name)


def _heads(place: Place, dense: Signature, want: Signature) -> str:
    """``num_heads 4 → 2 in h.0.attn`` for a layer of a module that knows its number of heads, else empty."""
    before, after = dense.value(place), want.value(place)
    module = _layer(place).rpartition(".")[0]
    counts = {n: v for (path, n), v in dense.traits.items() if path == module and n.endswith("heads") and is_whole(v)}
    for name, heads in counts.items():
        if before % heads == 0 and heads * after % before == 0:
            return f"{name} {heads} → {heads * after // before} in {module}"
    return ""


def _layer(place: Place) -> str:
    """What people call the tensor: a layer for its weights, else by its own name."""
    above, _, own = place[0].rpartition(".")
    return above if own in ("weight", "bias") else place[0]
