"""Examples of any task, held in memory on the device that will use them: what every kind of set can do."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from amc.core.errors import AmcError
from amc.data.order import fixed_order

if TYPE_CHECKING:
    from typing_extensions import Self

# The arguments of one call: a tensor [n, …], several by place, or several by name.
Inputs: TypeAlias = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
# A tensor [n, …], several by name, or an entry for each example (boxes and labels), which may have any shapes.
Targets: TypeAlias = Tensor | Mapping[str, Tensor] | tuple[Any, ...]
Triple: TypeAlias = tuple[float, ...]
SPACE = 3  # dimensions of one image: channels, height, width


class Examples(ABC):
    """A set of examples in an order that mixes them, so that any prefix is a fair sample."""

    @abstractmethod
    def __len__(self) -> int:
        """How many examples there are."""

    @property
    @abstractmethod
    def raw(self) -> Inputs:
        """All inputs as they are held, without normalisation."""

    @property
    @abstractmethod
    def answers(self) -> Targets:
        """All targets; where there are none, as of a language model, the inputs themselves."""

    @abstractmethod
    def normalised(self, dtype: torch.dtype = torch.float32, channels_last: bool = True) -> Inputs:
        """All inputs as the network takes them: floating-point ones in ``dtype``, images channels-last if asked."""

    @abstractmethod
    def select(self, indices: Tensor) -> Self:
        """The examples at ``indices``, int64 ``[m]`` on the set's device."""

    @abstractmethod
    def take(self, n: int | None) -> Self:
        """The first ``n`` examples; all of them if there are fewer or ``n`` is ``None``. Shares memory."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Self:
        """The same on ``device``."""

    @abstractmethod
    def own(self) -> Self:
        """The same in tensors that can be trained on, which those made in inference mode can't."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of everything in it: equal for equal sets, wherever they came from."""

    @property
    def device(self) -> torch.device:
        """Where the inputs are."""
        return _tensors(self.raw)[0].device

    @property
    def what(self) -> str:
        """Shapes and types of one example's inputs, for people: ``"1×8×8 uint8"``."""
        return described(self.raw)

    def batches(
        self, batch_size: int, dtype: torch.dtype = torch.float32, channels_last: bool = True
    ) -> Iterator[tuple[Inputs, Targets]]:
        """Yields (inputs, targets) of ``batch_size`` examples in order; the last batch may be smaller."""
        for start in range(0, len(self), batch_size):
            some = self._part(start, start + batch_size)
            yield some.normalised(dtype, channels_last), some.answers

    @abstractmethod
    def _part(self, start: int, stop: int) -> Self:
        """Some of the examples. Shares memory."""

    def _with(self, **changed: Any) -> Self:
        """The same with other fields, not checked again: on a GPU each look at the numbers would wait for it."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__, **changed)
        return twin


@dataclass(frozen=True, eq=False)
class ExampleSet(Examples):
    """Examples of any task.

    Attributes:
        inputs: the arguments of one call of the network, for all examples: a tensor ``[n, …]``, a tuple of them,
            or a dict of them. Whole numbers, such as token ids, reach the network as they are, floating-point numbers
            in the network's precision, images of uint8 scaled to [0, 1] and normalised if ``mean`` is given.
        targets: a tensor ``[n, …]``, a dict of them, a tuple with an entry for each example (such as a dict with
            ``boxes`` ``[k, 4]`` and ``labels`` ``[k]``), or ``None``: the inputs themselves.
        mean, std: per channel, of uint8 images ``[n, c, h, w]`` scaled to [0, 1]; ``None``: not normalised.

    Raises:
        AmcError: no examples, tensors of several lengths, or numbers that are NaN or infinite.
    """

    inputs: Inputs
    targets: Targets | None = None
    mean: Triple | None = None
    std: Triple | None = None

    def __post_init__(self) -> None:
        for name in ("inputs", "targets"):  # a batch of a tokenizer's is a mapping, and no dict
            value = getattr(self, name)
            if isinstance(value, Mapping):
                object.__setattr__(self, name, dict(value))
        held = _tensors(self.inputs)
        if not held or any(tensor.ndim == 0 for tensor in held):
            raise AmcError("inputs: hold no tensor with a dimension for the examples; give tensors [n, …]")
        count = len(held[0])
        if count == 0:
            raise AmcError("inputs: the set is empty; give at least one example")
        if (self.mean is None) != (self.std is None):
            raise AmcError("inputs: mean without std, or the other way round; give both or neither")
        targets = [] if self.targets is None else [self.targets]
        lengths = [len(t) for t in held] + [n for t in targets for n in _lengths(t)]
        if set(lengths) != {count}:
            raise AmcError(f"inputs and targets: {', '.join(map(str, lengths))} examples; give as many of each")
        for what, value in (("inputs", self.inputs), ("targets", self.targets)):
            _check_finite(what, value)

    @classmethod
    def from_loader(cls, loader: Iterable[Any], name: str = "loader") -> ExampleSet:
        """All examples of a ``DataLoader``, put in a mixed order.

        Args:
            loader: read once. It yields ``(inputs, targets)``, ``(input, input, …, targets)``, a dict whose
                ``labels`` (or ``label``, ``targets``, ``target``) are the targets, or inputs alone.
            name: its name in errors.

        Raises:
            AmcError: anything wrong in what it yields, see :func:`amc.data.collect.collect`.
        """
        from amc.data.collect import collect  # which makes sets of this class

        inputs, targets = collect(loader, name)
        try:
            found = cls(inputs, targets)
            return found.select(torch.from_numpy(fixed_order(len(found))).to(found.device))
        except AmcError as error:
            raise AmcError(f"{name}: {error}") from error

    def __len__(self) -> int:
        return len(_tensors(self.inputs)[0])

    @property
    def raw(self) -> Inputs:
        return self.inputs

    @property
    def answers(self) -> Targets:
        return self.inputs if self.targets is None else self.targets

    def normalised(self, dtype: torch.dtype = torch.float32, channels_last: bool = True) -> Inputs:
        ready: Inputs = _mapped(lambda tensor: self._ready(tensor, dtype, channels_last), self.inputs)
        return ready

    def _ready(self, tensor: Tensor, dtype: torch.dtype, channels_last: bool) -> Tensor:
        if self.mean is not None and self.std is not None and tensor.dtype == torch.uint8:
            tensor = scaled(tensor, self.mean, self.std)
        if not tensor.is_floating_point():
            return tensor
        layout = torch.channels_last if channels_last and tensor.ndim == SPACE + 1 else torch.preserve_format
        return tensor.to(dtype, memory_format=layout)

    def select(self, indices: Tensor) -> ExampleSet:
        return self._map(lambda tensor: tensor[indices.to(tensor.device)], indices.tolist())

    def take(self, n: int | None) -> ExampleSet:
        return self if n is None or n >= len(self) else self._part(0, n)

    def to(self, device: torch.device | str) -> ExampleSet:
        return self._map(lambda tensor: tensor.to(device))

    def own(self) -> ExampleSet:
        held = [t for t in tree_leaves((self.inputs, self.targets)) if isinstance(t, Tensor)]
        return self._map(torch.clone) if any(t.is_inference() for t in held) else self

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.mean, self.std)).encode())
        for part in (self.inputs, self.targets):
            _digest(part, digest.update)
        return digest.hexdigest()

    def _part(self, start: int, stop: int) -> ExampleSet:
        return self._map(lambda tensor: tensor[start:stop], range(start, min(stop, len(self))))

    def _map(self, function: Any, chosen: Iterable[int] | None = None) -> ExampleSet:
        """The set with ``function`` of its tensors. ``chosen``: the examples left, of targets with an entry each."""
        targets = self.targets
        if isinstance(targets, tuple) and chosen is not None:
            targets = tuple(targets[i] for i in chosen)
        elif targets is not None:
            targets = _mapped(function, targets)
        return self._with(inputs=_mapped(function, self.inputs), targets=targets)


def scaled(images: Tensor, mean: Triple, std: Triple) -> Tensor:
    """uint8 images ``[b, c, h, w]`` scaled to [0, 1], minus ``mean``, over ``std``; float32."""
    means, stds = (torch.tensor(values, device=images.device).view(1, -1, 1, 1) for values in (mean, std))
    return (images.float() / 255 - means) / stds


def described(inputs: Any) -> str:
    """Shapes and types of one example, for people."""
    if isinstance(inputs, Mapping):
        return ", ".join(f"{name} {_one(tensor)}" for name, tensor in inputs.items())
    return " and ".join(map(_one, inputs)) if isinstance(inputs, tuple) else _one(inputs)


def _one(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    kind = str(value.dtype).removeprefix("torch.")
    return f"{'×'.join(map(str, value.shape[1:])) or 'one'} {kind}"


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _mapped(function: Any, value: Any) -> Any:
    return tree_map(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, value)


def _lengths(targets: Targets) -> list[int]:
    """Number of examples that they are for, for each of their tensors."""
    if isinstance(targets, tuple):
        return [len(targets)]
    return [len(t) if t.ndim else 0 for t in _tensors(targets)]


def _check_finite(what: str, value: Any) -> None:
    for tensor in _tensors(value):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            place = int((~torch.isfinite(tensor)).flatten(1).any(1).nonzero()[0]) if tensor.ndim > 1 else 0
            raise AmcError(f"{what}: example {place} holds NaN or infinite values; check where it comes from")


def _digest(value: Any, update: Any) -> None:
    """Feeds a hash with nested data: kinds and names as well as numbers."""
    if isinstance(value, Tensor):
        update(repr((tuple(value.shape), str(value.dtype))).encode())
        update(np.ascontiguousarray(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()).data)
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            update(repr(name).encode())
            _digest(entry, update)
    elif isinstance(value, (tuple, list)):
        update(repr((type(value).__name__, len(value))).encode())
        for entry in value:
            _digest(entry, update)
    else:
        update(repr(value).encode())
