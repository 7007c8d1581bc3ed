"""Rebuilding a pruned network from its description, weights and plan."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from amc.core.checks import number, text, whole
from amc.core.errors import AmcError, first_line
from amc.core.files import plain
from amc.core.places import Form
from amc.core.trust import BUILDERS, check_arguments, own_callable, trusted
from amc.data.layout import checked_layout, example_of
from amc.models import build
from amc.models.any_task import build_for_task
from amc.models.arguments import TORCHVISION
from amc.models.build import skeleton
from amc.pruning.inputs import Example, mapped, outputs_of, run
from amc.pruning.layers import is_cuttable
from amc.pruning.numbers import follow_tensors, set_known_numbers
from amc.pruning.skipped import skip
from amc.pruning.surgery import Surgeon, resized

FORMAT = 3  # 1 had no numbers, 2 only images and no skipped modules
WEIGHTS, PLAN, MODEL = "weights.safetensors", "plan.json", "model.json"
# What a description may not give as an argument: build() has its own, and weights come from the folder.
RESERVED = ("target", "num_classes", "image_shape", "stem", "pretrained", "checkpoint", "seed")
IMAGES = 2  # format of networks that sort images into classes
SAME = 1e-4  # largest difference of a rebuilt network, relative to the largest output


@dataclass(frozen=True)
class PrunedInfo:
    """The content of ``model.json``.

    Attributes:
        network: what :func:`amc.models.build` takes to make the dense architecture: ``target``, ``stem`` and
            ``arguments``; ``None`` for a network that was made in Python.
        image_shape: (channels, height, width) of an image; ``None`` for a network of other inputs, or another task.
        num_classes: length of the output; of other networks ``None`` if it isn't known.
        mean, std: of the images scaled to [0, 1], per channel; the network wants ``(image - mean) / std``. Empty where
            it takes its inputs as they are.
        inputs: form of one input, see :func:`amc.data.layout.layout_of`, where there is no ``image_shape``.
        layers: layer → its channels (out, in), of all layers that can be cut.
        numbers: module → the whole numbers that it keeps (``num_heads`` …), some of which follow channels.
        skipped: modules of dropped branches → form of what they returned, see :class:`amc.pruning.skipped.Skipped`.
        channels_last: names of the tensors that lay in memory that way.
        facts: measured results of the network, such as its accuracy.
        files: name → SHA-256 of the other files in the folder.
    """

    network: Mapping[str, Any] | None
    image_shape: tuple[int, int, int] | None
    num_classes: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layers: Mapping[str, tuple[int, int]]
    numbers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    skipped: Mapping[str, Form] = field(default_factory=dict)
    channels_last: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    inputs: Any = None

    def __post_init__(self) -> None:
        if self.image_shape is None or self.num_classes is None:
            if self.inputs is None:
                raise ValueError("neither images nor other inputs")
            return
        if len(self.image_shape) != 3 or min(*self.image_shape, self.num_classes) < 1:
            raise ValueError(f"image_shape {self.image_shape}, num_classes {self.num_classes}")
        if not {len(self.mean), len(self.std)} <= {1, self.image_shape[0]} or 0 in self.std:
            raise ValueError(f"mean {self.mean}, std {self.std}")

    def to_json(self) -> dict[str, Any]:
        """Plain data; read back with :meth:`from_json`."""
        content: dict[str, Any] = plain({"format": FORMAT, **asdict(self)})
        if self.inputs is None:
            del content["inputs"]
            if not self.skipped:  # earlier versions can read it
                content["format"] = IMAGES
        return content

    @classmethod
    def from_json(cls, data: Any) -> PrunedInfo:
        """Raises ``KeyError``, ``TypeError``, ``ValueError`` or ``AttributeError`` if ``data`` is something else."""
        inputs = checked_layout(data["inputs"]) if data.get("inputs") is not None else None
        channels, height, width = data["image_shape"] if inputs is None else (1, 1, 1)
        return cls(
            network=None if data["network"] is None else _network(**data["network"]),
            image_shape=None if inputs is not None else (whole(channels, 1), whole(height, 1), whole(width, 1)),
            num_classes=None if data["num_classes"] is None else whole(data["num_classes"], 1),
            mean=tuple(number(value) for value in data["mean"]),
            std=tuple(number(value) for value in data["std"]),
            layers={name: (whole(out, 1), whole(inp, 1)) for name, (out, inp) in data["layers"].items()},
            numbers={
                module: {text(name): whole(value) for name, value in own.items()}
                for module, own in data.get("numbers", {}).items()
            },
            skipped={text(path): _form(form) for path, form in data.get("skipped", {}).items()},
            channels_last=tuple(text(name) for name in data["channels_last"]),
            facts=dict(data["facts"]),
            files={name: text(digest) for name, digest in data["files"].items()},
            inputs=inputs,
        )

    def example(self, count: int = 1) -> Example:
        """So many inputs of the form that the network takes, always the same."""
        if self.image_shape is None:
            return example_of(self.inputs, count)
        return torch.randn(count, *self.image_shape, generator=torch.Generator().manual_seed(0))


def _form(form: object) -> Form:
    if form is None:
        return None
    if not isinstance(form, list) or not all(isinstance(entry, bool) for entry in form):
        raise TypeError(f"form {form!r} of what a skipped module returns")
    return tuple(form)


def _network(target: str, stem: str = "auto", arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    if not isinstance(target, str) or not isinstance(stem, str):
        raise TypeError(f"network {target!r} with stem {stem!r}")
    return {"target": target, "stem": stem, "arguments": dict(arguments or {})}


def build_uncut(folder: str | Path, info: PrunedInfo, trust: Collection[str] = ()) -> nn.Module:
    """The dense architecture with random weights.

    Args:
        folder: for errors.
        info: its :func:`read_info`.
        trust: dotted paths of callables of the user's own that may be called.

    Raises:
        AmcError: the network was made in Python, or it is neither torchvision's nor this project's nor in ``trust``.
    """
    network = _checked(folder, info, trust)
    if info.image_shape is None or info.num_classes is None:
        return build_for_task(network["target"], info.num_classes, **network["arguments"])
    return build(network["target"], info.num_classes, info.image_shape, stem=network["stem"], **network["arguments"])


def architecture(folder: str | Path, info: PrunedInfo, trust: Collection[str] = ()) -> nn.Module:
    """The same for taking a stored network's weights: of own networks a skeleton, which takes no memory."""
    network = _checked(folder, info, trust)
    by_others = own_callable(network["target"]) is None or network["target"] in BUILDERS
    if by_others or info.image_shape is None or info.num_classes is None:
        return build_uncut(folder, info, trust)
    return skeleton(network["target"], info.num_classes, info.image_shape, stem=network["stem"], **network["arguments"])


def _checked(folder: str | Path, info: PrunedInfo, trust: Collection[str]) -> Mapping[str, Any]:
    """The network's description, of which everything may be called."""
    if info.network is None:
        raise AmcError(f"{folder}: the network was made in Python; give its uncut architecture there, model=my_net()")
    target, stem, arguments = info.network["target"], info.network["stem"], info.network["arguments"]
    more = "".join(f", {key}={value!r}" for key, value in {"stem": stem, **arguments}.items())
    built = f"amc.models.build({target!r}, {info.num_classes}, {info.image_shape}{more})"
    trusted(target, f"{folder}: the network", trust, f" or give, in Python, model={built}")
    check_arguments(target, arguments, f"{folder}: {MODEL}", RESERVED)
    return info.network


def _described(description: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """The description without the entries about the original's weights."""
    network = _network(**description)
    if network["target"].startswith(TORCHVISION):
        network["arguments"].pop("weights", None)
        if hasattr(model, "transform_input"):  # GoogLeNet and Inception: on only where torchvision's weights were taken
            network["arguments"]["transform_input"] = bool(model.transform_input)
    return network


def _assemble(folder: Path, uncut: nn.Module, tensors: Mapping[str, torch.Tensor], info: PrunedInfo) -> nn.Module:
    """The pruned network from the dense architecture and the stored tensors."""
    try:
        return _shrunk(uncut, {n: _laid_out(t, n in info.channels_last) for n, t in tensors.items()}, info)
    except ValueError as error:
        name = type(uncut).__name__
        raise AmcError(
            f"{folder}: was not cut from this {name}: {error}; give the architecture it was cut from"
        ) from error


def _shrunk(uncut: nn.Module, tensors: Mapping[str, torch.Tensor], info: PrunedInfo) -> nn.Module:
    """Raises ``ValueError`` if the tensors are no cut of ``uncut``."""
    if info.skipped:
        uncut = copy.deepcopy(uncut)
        try:
            skip(uncut, info.skipped)
        except AttributeError as error:
            raise ValueError(f"it has no module that was left out ({first_line(error)})") from error
    buffers = unsaved_buffers(uncut)
    missing = buffers.keys() - tensors.keys()
    if missing:
        raise ValueError(f"tensor {min(missing)!r} is in only one of the two networks")
    state = {name: tensor for name, tensor in tensors.items() if name not in buffers}
    small = resized(uncut, state)
    _check_kernels(uncut, state)
    for name in buffers:
        layer, _, own_name = name.rpartition(".")
        small.get_submodule(layer).register_buffer(own_name, tensors[name], persistent=False)
    for name, module in small.named_modules():
        if isinstance(module, _NormBase) and not module.state_dict() and name in info.layers:
            module.num_features = info.layers[name][0]  # no tensor tells its size
    for name, module in small.named_modules():
        follow_tensors(module)
        set_known_numbers(module, info.numbers.get(name, {}))
    if _layers(small) != info.layers:
        raise ValueError("its layers have other sizes")
    small = small.cpu().eval()
    _check_output(small, info)
    return small


def _check_output(small: nn.Module, info: PrunedInfo) -> None:
    """Checks shapes alone, by a copy without values: images may be of any size."""
    try:
        with torch.device("meta"):
            output = run(copy.deepcopy(small).to("meta").eval(), mapped(lambda t: t.to("meta"), info.example()))
    except Exception as error:  # a network of the user's own may not run without values, which is no fault of the file
        if own_network(info) and info.network is not None and info.network["target"] not in BUILDERS:
            raise ValueError(f"can't run on its images ({first_line(error)})") from error
        return
    if info.inputs is None and isinstance(output, torch.Tensor) and tuple(output.shape) != (1, info.num_classes):
        raise ValueError(f"its output for one image is {tuple(output.shape)}, not (1, {info.num_classes})")


def own_network(info: PrunedInfo) -> bool:
    """Whether the network is torchvision's or this project's, so that building it runs nobody else's code."""
    return info.network is not None and own_callable(info.network["target"]) is not None


def _check_kernels(uncut: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Channels may be fewer than in the dense network; nothing else may differ."""
    for name, tensor in uncut.state_dict().items():
        free = 2 if isinstance(uncut.get_submodule(name.rpartition(".")[0]), _ConvNd) else tensor.dim()
        large, small = tensor.shape, state[name].shape
        if small[free:] != large[free:] or any(s > n for s, n in zip(small, large, strict=True)):
            raise ValueError(f"tensor {name!r} is {tuple(small)}, no cut of {tuple(large)}")


def _check_rebuilt(folder: Path, info: PrunedInfo, model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Checks that a description rebuilds the network. The user's own code was run before: it may here."""
    if info.network is None:
        return
    on_cpu = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    rebuilt = _assemble(folder, architecture(folder, info, trust=[info.network["target"]]), on_cpu, info)
    original = copy.deepcopy(model).cpu().eval()
    dtype = next((tensor.dtype for tensor in on_cpu.values() if tensor.is_floating_point()), torch.float32)
    inputs = mapped(lambda t: t.to(dtype) if t.is_floating_point() else t, info.example(2))
    with torch.inference_mode():
        pairs = zip(outputs_of(run(rebuilt, inputs)), outputs_of(run(original, inputs)), strict=True)
        same = all(_agree(actual, expected) for actual, expected in pairs)
    if not same:
        raise AmcError(
            f"{folder}: {info.network['target']} as described does not compute what the network to be saved computes; "
            "describe the stem and the arguments it was built with"
        )


def _agree(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    if actual.shape != expected.shape or not expected.is_floating_point() or not expected.numel():
        return actual.shape == expected.shape
    return torch.allclose(actual, expected, rtol=0, atol=SAME * float(expected.abs().max()), equal_nan=True)


def unsaved_buffers(model: nn.Module) -> dict[str, torch.Tensor]:
    """Buffers that are not part of the state dict; their size may depend on channels all the same."""
    saved = model.state_dict().keys()
    return {name: tensor for name, tensor in model.named_buffers(remove_duplicate=False) if name not in saved}


def _layers(model: nn.Module) -> dict[str, tuple[int, int]]:
    surgeon = Surgeon(model, ())
    cuttable = [name for name, module in model.named_modules() if is_cuttable(module)]
    return {name: (surgeon.axis_size(name, "out"), surgeon.axis_size(name, "in")) for name in cuttable}


def _is_channels_last(tensor: torch.Tensor) -> bool:
    """By strides: the layout picks the kernels and with them the last bits, even where it orders nothing (1×1)."""
    if tensor.dim() != 4:
        return False
    formats = (torch.channels_last, torch.contiguous_format)
    last, first = (torch.empty(tensor.shape, device="meta", memory_format=f).stride() for f in formats)
    return tensor.stride() == last != first


def _laid_out(tensor: torch.Tensor, channels_last: bool) -> torch.Tensor:
    if not channels_last or tensor.dim() != 4:
        return tensor
    return torch.empty_like(tensor, memory_format=torch.channels_last).copy_(tensor)
