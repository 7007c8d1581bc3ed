"""A network from outside: the sizes of its tensors, and the plain values that its modules keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from torch import nn

# (name of a tensor, dimension), or (path of a module, name of its attribute)
Place = tuple[str, int | str]
PLAIN = (bool, int, float, str)


@dataclass(frozen=True)
class Signature:
    """What tells networks of one class apart.

    Attributes:
        sizes: name in the state dict → size.
        traits: (module, attribute) → a plain value that the module keeps (``num_heads``, ``scaling`` …), or the size of
            a buffer that is not saved. A cut network may keep some that nothing reads any more as they were, so these
            are hints; sizes are not.
    """

    sizes: Mapping[str, tuple[int, ...]]
    traits: Mapping[tuple[str, str], Any]

    def value(self, place: Place) -> Any:
        """The size along a dimension, or the attribute's value; ``None`` if it has no such place."""
        name, at = place
        if isinstance(at, str):
            return self.traits.get((name, at))
        size = self.sizes.get(name, ())
        return size[at] if at < len(size) else None


def signature_of(model: nn.Module) -> Signature:
    """The signature of a network, on whatever device."""
    state = model.state_dict()
    traits: dict[tuple[str, str], Any] = {}
    for path, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if (f"{path}.{name}" if path else name) not in state:
                traits[path, name] = tuple(buffer.shape)
        if not type(module).__module__.startswith("torch."):  # what torch's own keep follows their tensors
            traits.update({(path, k): _frozen(v) for k, v in vars(module).items() if k[0] != "_" and _is_plain(v)})
    return Signature({name: tuple(tensor.shape) for name, tensor in state.items()}, traits)


def unlike(have: Signature, want: Signature) -> list[Place]:
    """Dimensions whose sizes differ, in the order of the wanted network; of tensors that both have."""
    return [
        (name, dim)
        for name, size in want.sizes.items()
        if name in have.sizes and len(have.sizes[name]) == len(size)
        for dim, (a, b) in enumerate(zip(have.sizes[name], size, strict=True))
        if a != b
    ]


def unlike_names(have: Signature, want: Signature) -> list[str]:
    """Tensors that only one of two networks has, or that have other numbers of dimensions."""
    both = have.sizes.keys() & want.sizes.keys()
    shape = [name for name in both if len(have.sizes[name]) != len(want.sizes[name])]
    return sorted([*(have.sizes.keys() ^ want.sizes.keys()), *shape])


def unlike_traits(have: Signature, want: Signature) -> list[Place]:
    """Plain values that differ, of modules that both have."""
    return [place for place, value in want.traits.items() if have.traits.get(place, value) != value]


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is a whole number that may stand for a size."""
    return type(value) is int and value > 0


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(entry, PLAIN) for entry in value)
    return isinstance(value, PLAIN)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
