"""Any loader → the inputs and targets of all its examples, every batch checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from amc.core.errors import AmcError, first_line
from amc.data.examples import Inputs, Targets, described
from amc.data.loader import check_amount, refuse_dataset, said_by

FORMS = "it must yield (inputs, targets), (input, input, …, targets), a dict, or inputs alone"
TARGETS = ("labels", "label", "targets", "target")  # keys of a dict, as Hugging Face and others call them
# A sole tensor under one of these is what the network is called with, whatever its parameter is called.
PLAIN = ("image", "images", "input", "inputs", "x", "data")
WIDE = {torch.uint16: 65535.0, torch.int16: 32767.0}  # 16-bit pixels, scaled to [0, 1]


def collect(loader: Iterable[Any], name: str) -> tuple[Inputs, Targets | None]:
    """All inputs and targets in the loader's order.

    Floating-point numbers become float32, 16-bit ones are scaled to [0, 1]; other whole numbers stay as they are.

    Args:
        loader: read once. Its batches are ``(inputs, targets)``, ``(input, input, …, targets)``, a dict whose
            ``labels`` are the targets (or ``label``, ``targets``, ``target``), or inputs alone. Images may come in a
            list; targets then are a list with an entry for each, such as boxes and labels.
        name: its name in errors.

    Raises:
        AmcError: no loader, an empty or endless one, batches of another form or of several shapes, or whatever goes
            wrong in its own code.
    """
    refuse_dataset(loader, name)
    batches: list[tuple[Any, Any]] = []
    held = 0
    for batch in _read(loader, name):
        inputs, targets = _parts(batch, name)
        held += _count(inputs, name)
        if batches and described(inputs) != described(batches[0][0]):
            both = f"{described(batches[0][0])} and {described(inputs)}"
            raise AmcError(f"{name}: yields inputs of several shapes or types, {both}; make them alike")
        batches.append((inputs, targets))
        check_amount(loader, name, held, _first(inputs))
    if not held:
        raise AmcError(f"{name}: the set is empty; give at least one example")
    inputs = _joined([inputs for inputs, _ in batches], name)
    targets = [targets for _, targets in batches]
    if isinstance(targets[0], tuple):
        return inputs, tuple(entry for batch in targets for entry in batch)
    return inputs, None if targets[0] is None else _joined(targets, name)


def _read(loader: Iterable[Any], name: str) -> Iterator[Any]:
    try:
        yield from loader
    except Exception as error:  # the loader's own code may raise anything
        raise AmcError(f"{name}: reading it failed ({said_by(error)}); {FORMS}") from error


def _parts(batch: Any, name: str) -> tuple[Any, Any]:
    """Inputs and targets of a batch; ``None`` for no targets."""
    if isinstance(batch, Mapping):
        entries = {str(key): value for key, value in batch.items()}
        targets = next((entries.pop(key) for key in TARGETS if key in entries), None)
        if len(entries) == 1 and next(iter(entries)) in PLAIN:
            return _inputs(next(iter(entries.values())), name), _targets(targets, name)
        return _inputs(entries, name), _targets(targets, name)
    if isinstance(batch, (tuple, list)) and len(batch) > 1:
        given = batch[0] if len(batch) == 2 else tuple(batch[:-1])
        return _inputs(given, name), _targets(batch[-1], name)
    if isinstance(batch, (tuple, list)) and len(batch) == 1:
        return _inputs(batch[0], name), None
    return _inputs(batch, name), None


def _inputs(given: Any, name: str) -> Any:
    if isinstance(given, Tensor):
        return _plain(given, name, "inputs")
    if isinstance(given, Mapping):
        return {str(key): _inputs_tensor(value, name, repr(key)) for key, value in given.items()}
    if isinstance(given, (tuple, list)) and given and all(isinstance(one, Tensor) for one in given):
        if isinstance(given, tuple):
            return tuple(_plain(one, name, "inputs") for one in given)
        if len({one.shape for one in given}) > 1:  # a list of images, as detectors take them
            sizes = " and ".join(sorted({"×".join(map(str, one.shape)) for one in given})[:2])
            raise AmcError(f"{name}: yields images of several sizes, {sizes}; resize them to one")
        return _plain(torch.stack(given), name, "inputs")
    raise AmcError(f"{name}: yields inputs that are a {type(given).__name__}; {FORMS} of tensors")


def _inputs_tensor(value: Any, name: str, key: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise AmcError(f"{name}: yields {key}, a {type(value).__name__}; give tensors, which a collate_fn can make")
    return _plain(value, name, f"input {key}")


def _targets(given: Any, name: str) -> Any:
    if given is None:
        return None
    if isinstance(given, Tensor):
        return _plain(given, name, "targets")
    if isinstance(given, Mapping) and all(isinstance(value, Tensor) for value in given.values()):
        return {str(key): _plain(value, name, f"target {key!r}") for key, value in given.items()}
    if isinstance(given, (tuple, list)) and given and isinstance(given[0], str):
        raise AmcError(f"{name}: labels are text, such as {given[0]!r}; give the number of each class, 0, 1, 2 …")
    if isinstance(given, (tuple, list)):
        return tuple(given)
    raise AmcError(
        f"{name}: yields targets that are a {type(given).__name__}; give tensors, or a list of an entry each"
    )


def _plain(tensor: Tensor, name: str, what: str) -> Tensor:
    if tensor.layout != torch.strided or tensor.is_complex():
        raise AmcError(f"{name}: {what} are {tensor.dtype}, {tensor.layout}; give plain real numbers")
    if tensor.dtype in WIDE:
        return tensor.float() / WIDE[tensor.dtype]
    return tensor.float() if tensor.is_floating_point() else tensor


def _first(inputs: Any) -> Tensor:
    found: Tensor = inputs if isinstance(inputs, Tensor) else next(iter(_values(inputs)))
    return found


def _values(inputs: Any) -> Sequence[Tensor]:
    return list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)


def _count(inputs: Any, name: str) -> int:
    tensors = [inputs] if isinstance(inputs, Tensor) else _values(inputs)
    if not tensors or any(tensor.ndim == 0 for tensor in tensors):
        raise AmcError(f"{name}: yields inputs without a dimension for the examples; {FORMS} [b, …]")
    return len(tensors[0])


def _joined(parts: Sequence[Any], name: str) -> Any:
    """Batches of one form, one after the other."""
    first = parts[0]
    try:
        if isinstance(first, Tensor):
            return torch.cat(list(parts))
        if isinstance(first, Mapping):
            return {key: torch.cat([part[key] for part in parts]) for key in first}
        return tuple(torch.cat(list(column)) for column in zip(*parts, strict=True))
    except (RuntimeError, TypeError, LookupError, ValueError) as error:
        raise AmcError(f"{name}: its batches don't fit together ({first_line(error)}); make them alike") from error
