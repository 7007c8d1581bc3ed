"""Which of a network's outputs is judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from amc.core.errors import AmcError

USUAL = ("logits", "out")  # keys of the judged output, as Hugging Face and torchvision call it
Output = str | int | None  # a key, a place, or None: found by itself


def picked(output: Any, which: Output = None) -> Any:
    """The part of a network's output that is judged.

    Args:
        output: what the network returned: a tensor, a tuple or list, a mapping, an object with attributes.
        which: a key or attribute, a place, or ``None``: the output itself if it is a tensor, else what is called
            ``logits`` or ``out``, else its first floating-point tensor. A list of dicts, as detectors return, is
            left as it is.

    Raises:
        AmcError: there is no such part; says what there is.
    """
    if which is None:
        found = _usual(output)
        return output if found is None else found
    try:
        if isinstance(which, str) and not isinstance(output, Mapping):
            return getattr(output, which)
        return output[which]
    except (LookupError, TypeError, AttributeError) as error:
        said = f"the network returns {structure(output)}"
        raise AmcError(f"task.output={which}: {said}; give one of its parts") from error


def _usual(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        named = [output[key] for key in USUAL if key in output]
        return _first([*named, *output.values()])
    logits = getattr(output, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    return _first(output) if isinstance(output, (tuple, list)) else None


def _first(values: Any) -> Tensor | None:
    return next((value for value in values if isinstance(value, Tensor) and value.is_floating_point()), None)


def structure(output: object) -> str:
    """A type with what is in it, for people."""
    if isinstance(output, Tensor):
        return f"a tensor {list(output.shape)} of {str(output.dtype).removeprefix('torch.')}"
    items: list[tuple[str, object]] = []
    if isinstance(output, Mapping):
        items = [(f"{key!r}: ", value) for key, value in output.items()]
    elif isinstance(output, (tuple, list)):
        items = [("", value) for value in output]
    inside = ", ".join(
        f"{key}{list(value.shape) if isinstance(value, Tensor) else type(value).__name__}" for key, value in items
    )
    return f"a {type(output).__name__} ({inside})" if items else f"a {type(output).__name__}"
