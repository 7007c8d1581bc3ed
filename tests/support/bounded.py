"""Random networks with random bounds, and whether a plan obeys them, told without the code that makes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from amc.core.errors import AmcError
from amc.core.types import LayerGroup
from amc.pruning.budget import Budget
from amc.pruning.cost import CostModel
from tests.support import toys

RATIOS = st.sampled_from([0.05, 0.2, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0])
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "min_keep": RATIOS,
        "max_keep": RATIOS,
        "min_channels": st.integers(1, 12),
        "keep": RATIOS,
        "channel_round": st.sampled_from([1, 2, 4]),
    },
).filter(bool)
ROUNDINGS = st.sampled_from([1, 2, 3, {"conv*": 2}, {"*": 4, "linear": 1}])


@st.composite
def bounded(draw: st.DrawFn, limited: bool = True) -> tuple[CostModel, dict[str, Any]]:
    """A network and the arguments of a budget that can be met; without a limit in some unless ``limited``."""
    widths = draw(st.lists(st.integers(1, 24), min_size=2, max_size=4))
    model = toys.chain(widths) if draw(st.booleans()) else toys.stream(8, widths)
    linear = draw(st.sampled_from([None, 1]))
    groups = [replace(g, kind="linear" if i == linear else "conv3x3") for i, g in enumerate(model.groups)]
    model = CostModel(groups, model.layers)
    patterns = st.sampled_from(["*", "?[01]", *(g.name for g in groups)])
    limits = {
        "min_keep": draw(st.sampled_from([0.05, 0.1, 0.3])),
        "min_channels": draw(st.sampled_from([1, 1, 3])),
        "channel_round": draw(ROUNDINGS),
        "constraints": draw(st.dictionaries(patterns, ENTRIES, min_size=1, max_size=3)),
    }
    smallest = _smallest(model, limits)
    keep = smallest + draw(st.floats(0, 1)) * (1 - smallest) + 1e-9
    if keep < 1:
        return model, {"keep": keep if limited or draw(st.booleans()) else None, **limits}
    return reject()


def _smallest(model: CostModel, limits: dict[str, Any]) -> float:
    """The smallest reachable cost. Of constraints that contradict each other the last ones are left out."""
    while True:
        try:
            return Budget(model, keep=None, **limits).smallest
        except AmcError:
            if not limits["constraints"]:
                reject()
            limits["constraints"].popitem()


def obeys(kept: Mapping[str, int], model: CostModel, arguments: Mapping[str, Any]) -> bool:
    """Whether a plan keeps every bound, unit and given ratio."""
    return all(_obeys(kept[g.name], g, arguments) for g in model.groups)


def _obeys(count: int, group: LayerGroup, arguments: Mapping[str, Any]) -> bool:
    own: dict[str, float] = {}
    for pattern, entry in arguments["constraints"].items():
        own |= entry if any(s.axis == "out" and fnmatchcase(s.layer, pattern) for s in group.slices) else {}
    common = {} if "keep" in own else {key: arguments[key] for key in ("min_keep", "min_channels")}
    rounding = arguments["channel_round"]
    if isinstance(rounding, Mapping):
        rounding = [1, *(n for pattern, n in rounding.items() if fnmatchcase(group.kind, pattern))][-1]
    asked = {"channel_round": rounding, **common, **own}
    total, close = group.channels, 1e-6
    unit = min(math.lcm(group.step, int(asked["channel_round"])), total)
    given = asked.get("keep")
    return (
        (count % unit == 0 or count == total)
        and count >= min(asked.get("min_keep", 0) * total - close, total)
        and count >= min(asked.get("min_channels", 1), total)
        and count <= asked.get("max_keep", 1) * total + close
        and (given is None or count in (unit, total) or abs(count - given * total) <= unit / 2 + close)
    )
