"""Data from a user's own callable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from amc.core.callables import find_callable
from amc.core.errors import AmcError, first_line
from amc.data.examples import Examples
from amc.data.images import ImageSet
from amc.data.load import Splits

NAME = "custom"
ADVICE = "give the dotted path of a callable of your own, my_pkg.my_data"
NAMES = ("train", "val", "test")


def load_custom(
    target: str,
    arguments: Mapping[str, Any],
    as_examples: Callable[[Any, str], Examples],
    num_classes: int | None = None,
) -> Splits:
    """The sets that a user's own callable returns.

    Args:
        target: its dotted path. It returns two or three of ``train``, ``val``, ``test``, in this order or as a dict:
            loaders, or sets of :mod:`amc.data`.
        arguments: of it.
        as_examples: reads a loader, given its name for errors.
        num_classes: how many classes there are, by default the largest label + 1 if there are labels.

    Raises:
        AmcError: there is no such callable, it fails, or returns something else.
    """
    make = find_callable("dataset", target, ADVICE)
    try:
        found = make(**arguments)
    except AmcError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise AmcError(f"dataset={target}: fails ({type(error).__name__}: {first_line(error)})") from error
    given = dict(found) if isinstance(found, Mapping) else dict(zip(NAMES, _listed(found, target), strict=False))
    if not {"train", "val"} <= given.keys() <= set(NAMES):
        raise AmcError(
            f"dataset={target}: returns {', '.join(map(str, given))}; needed are train, val, and test if any"
        )
    sets = {name: as_examples(given[name], name) for name in NAMES if given.get(name) is not None}
    return Splits(NAME, sets["train"], sets["val"], sets.get("test"), num_classes or classes_of(sets["train"]), "val")


def classes_of(train: Examples) -> int | None:
    """How many classes the labels are of; ``None`` where there are no labels."""
    if isinstance(train, ImageSet):
        return train.num_classes
    labels = train.answers
    return int(labels.max()) + 1 if isinstance(labels, Tensor) and labels.ndim == 1 and _whole(labels) else None


def _whole(labels: Tensor) -> bool:
    return not labels.is_floating_point()


def _listed(found: Any, target: str) -> list[Any]:
    if not isinstance(found, (tuple, list)) or not 2 <= len(found) <= len(NAMES):
        raise AmcError(
            f"dataset={target}: returns {type(found).__name__}; needed are (train, val) or (train, val, test)"
        )
    return list(found)
