"""A pruned network on disk: its weights, its plan, and what it takes to build it again without the original.

``model.json`` describes the uncut architecture and holds the digests of the other files; it is written last, so a
folder is valid only as a whole. Nothing in it is unpickled, and of what it names only this project's and torchvision's
own networks are called.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from amc.errors import AmcError
from amc.files import plain, read_json, read_safetensors, write_json, write_safetensors
from amc.layers import is_cuttable
from amc.models import build
from amc.models.build import TORCHVISION
from amc.surgery import Surgeon, resized
from amc.types import PruningPlan

FORMAT = 1
WEIGHTS, PLAN, MODEL = "weights.safetensors", "plan.json", "model.json"
OWN_NETWORKS = (TORCHVISION, "amc.models.")
# What a description may not give as an argument: build() has its own, and weights come from the folder.
RESERVED = ("target", "num_classes", "image_shape", "stem", "pretrained", "checkpoint", "seed")
SAME = 1e-4  # of the largest output: what a rebuilt network may differ by


@dataclass(frozen=True)
class PrunedInfo:
    """The content of ``model.json``.

    Attributes:
        network: what :func:`amc.models.build` takes to make the uncut architecture: ``target``, ``stem`` and
            ``arguments``; ``None`` for a network that was made in Python.
        image_shape: (channels, height, width) of an image.
        num_classes: length of the output.
        mean, std: of the images scaled to [0, 1], per channel; the network wants ``(image - mean) / std``.
        layers: layer → its channels (out, in), of all layers that can be cut.
        channels_last: names of the tensors that lay in memory that way.
        facts: whatever was found out about the network, such as its accuracy.
        files: name → SHA-256 of the other files in the folder.
    """

    network: Mapping[str, Any] | None
    image_shape: tuple[int, int, int]
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layers: Mapping[str, tuple[int, int]]
    channels_last: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.image_shape) != 3 or min(*self.image_shape, self.num_classes) < 1:
            raise ValueError(f"image_shape {self.image_shape}, num_classes {self.num_classes}")
        if not {len(self.mean), len(self.std)} <= {1, self.image_shape[0]}:
            raise ValueError(f"mean {self.mean}, std {self.std}")

    @property
    def is_own(self) -> bool:
        """Whether the network is torchvision's or this project's, so that building it runs nobody else's code."""
        return self.network is not None and self.network["target"].startswith(OWN_NETWORKS)

    def to_json(self) -> dict[str, Any]:
        """Plain data; read back with :meth:`from_json`."""
        content: dict[str, Any] = plain({"format": FORMAT, **asdict(self)})
        return content

    @classmethod
    def from_json(cls, data: Any) -> PrunedInfo:
        """Raises ``KeyError``, ``TypeError``, ``ValueError`` or ``AttributeError`` if ``data`` is something else."""
        channels, height, width = data["image_shape"]
        return cls(
            network=None if data["network"] is None else _network(**data["network"]),
            image_shape=(int(channels), int(height), int(width)),
            num_classes=int(data["num_classes"]),
            mean=tuple(float(value) for value in data["mean"]),
            std=tuple(float(value) for value in data["std"]),
            layers={str(name): (int(out), int(inp)) for name, (out, inp) in data["layers"].items()},
            channels_last=tuple(data["channels_last"]),
            facts=dict(data["facts"]),
            files=dict(data["files"]),
        )


def _network(target: str, stem: str = "auto", arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    if not isinstance(target, str) or not isinstance(stem, str):
        raise TypeError(f"network {target!r} with stem {stem!r}")
    return {"target": target, "stem": stem, "arguments": dict(arguments or {})}


def save_pruned(
    folder: str | Path,
    model: nn.Module,
    *,
    plan: PruningPlan,
    description: Mapping[str, Any] | None,
    image_shape: Sequence[int],
    num_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    facts: Mapping[str, Any],
) -> None:
    """Writes ``weights.safetensors``, ``plan.json`` and ``model.json``; each replaced atomically, the last one last.

    Args:
        folder: made if need be; what an earlier save left there is replaced.
        model: the pruned network, on any device; left as it is.
        plan: what it was cut to.
        description: how to build the uncut architecture, as :func:`amc.models.build` takes it: ``target`` (dotted
            path), ``stem`` (default ``auto``; ``imagenet`` where torchvision's weights were taken) and ``arguments``
            (plain data); ``None`` for a network that no callable makes.
        image_shape: (channels, height, width) of an image.
        num_classes: length of the output.
        mean, std: of the images scaled to [0, 1], per channel.
        facts: plain data to keep with the network, such as accuracies as fractions.

    Raises:
        AmcError: the files can't be written; or the description doesn't lead back to this network, in which case
            nothing is written.
    """
    folder = Path(folder)
    tensors = {**model.state_dict(), **_unsaved_buffers(model)}
    extra = [name for name, value in tensors.items() if not isinstance(value, torch.Tensor)]
    if extra:
        raise AmcError(f"{folder}: the network's state {extra[0]!r} is no tensor and can't be saved; make it one")
    info = PrunedInfo(
        network=None if description is None else _described(description, model),
        image_shape=(image_shape[0], image_shape[1], image_shape[2]),
        num_classes=num_classes,
        mean=tuple(mean),
        std=tuple(std),
        layers=_layers(model),
        channels_last=tuple(name for name, tensor in tensors.items() if _is_channels_last(tensor)),
        facts=facts,
    )
    # As it will be read: a tuple among the arguments, say, comes back from a file as a list.
    _check_rebuilt(folder, PrunedInfo.from_json(json.loads(json.dumps(info.to_json()))), model, tensors)
    write_safetensors(folder / WEIGHTS, tensors)
    write_json(folder / PLAN, plan.to_json())
    digests = {name: _digest(folder / name) for name in (WEIGHTS, PLAN)}
    write_json(folder / MODEL, {**info.to_json(), "files": digests})


def load(folder: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The pruned network in ``folder``, on the CPU, in evaluation mode; nothing else is needed to have it.

    It gives, bit for bit, the outputs of the network that was saved. Its inputs are images normalised with the ``mean``
    and ``std`` that :func:`read_info` tells.

    Args:
        folder: what :func:`save_pruned` wrote, such as ``RUN_DIR/pruned``.
        model: the uncut architecture with any weights, left as it is; for networks that are neither torchvision's nor
            this project's. A folder may come from anywhere, so no other code that it names is ever run.

    Raises:
        AmcError: the folder is damaged or incomplete, ``model`` is needed, or ``model`` is another architecture.
    """
    folder = Path(folder)
    info = read_info(folder)
    skeleton = build_uncut(folder, info) if model is None else model
    for name, digest in info.files.items():
        if _digest(folder / name) != digest:
            raise AmcError(
                f"{folder / name}: is not the file that {MODEL} was written with; it is damaged, or a save was "
                "interrupted: save or copy the folder again"
            )
    return _assemble(folder, skeleton, read_safetensors(folder / WEIGHTS), info)


def read_info(folder: str | Path) -> PrunedInfo:
    """What ``model.json`` says about a pruned network. Raises ``AmcError`` if it is missing or damaged."""
    path = Path(folder) / MODEL
    if not path.is_file():
        raise AmcError(f"{folder}: holds no pruned network (no {MODEL}); give RUN_DIR/pruned of an amc.finetune run")
    data = read_json(path)
    if isinstance(data, dict) and isinstance(data.get("format"), int) and data["format"] > FORMAT:
        raise AmcError(f"{path}: has format {data['format']}, this amc reads {FORMAT}; install a newer amc-pruning")
    try:
        info = PrunedInfo.from_json(data)
        if set(info.files) != {WEIGHTS, PLAN}:
            raise ValueError(f"files {sorted(info.files)}")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise AmcError(f"{path}: describes no pruned network ({error}); the file is damaged") from error
    return info


def build_uncut(folder: str | Path, info: PrunedInfo, trusted: str | None = None) -> nn.Module:
    """The uncut architecture with random weights.

    Args:
        folder: for errors.
        info: its :func:`read_info`.
        trusted: dotted path of a callable of the user's own that may be called.

    Raises:
        AmcError: the network was made in Python, or it is neither torchvision's nor this project's nor ``trusted``.
    """
    if info.network is None:
        raise AmcError(f"{folder}: the network was made in Python; give its uncut architecture there, model=my_net()")
    target, stem, arguments = info.network["target"], info.network["stem"], info.network["arguments"]
    if trusted not in (None, target):
        raise AmcError(f"network={trusted}: the network in {folder} is {target}; give this, if you trust it")
    if not info.is_own and trusted is None:
        more = "".join(f", {key}={value!r}" for key, value in {"stem": stem, **arguments}.items())
        raise AmcError(
            f"{folder}: the network {target} is code that is not run by itself; if you trust it, give network={target} "
            f"or, in Python, model=amc.models.build({target!r}, {info.num_classes}, {info.image_shape}{more})"
        )
    refused = [key for key in arguments if key in RESERVED or (key == "weights" and info.is_own)]
    if refused:
        raise AmcError(f"{folder}: {MODEL} has the argument {refused[0]!r}, which no pruned network has; it is damaged")
    return build(target, info.num_classes, info.image_shape, stem=stem, **arguments)


def _described(description: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """The description without what only concerns the original's weights."""
    network = _network(**description)
    if network["target"].startswith(TORCHVISION):
        network["arguments"].pop("weights", None)
        if hasattr(model, "transform_input"):  # GoogLeNet and Inception: on only where torchvision's weights were taken
            network["arguments"]["transform_input"] = bool(model.transform_input)
    return network


def _assemble(folder: Path, uncut: nn.Module, tensors: Mapping[str, torch.Tensor], info: PrunedInfo) -> nn.Module:
    """The small network from the uncut architecture and the stored tensors."""
    try:
        return _shrunk(uncut, {n: _laid_out(t, n in info.channels_last) for n, t in tensors.items()}, info)
    except ValueError as error:
        name = type(uncut).__name__
        raise AmcError(
            f"{folder}: was not cut from this {name}: {error}; give the architecture it was cut from"
        ) from error


def _shrunk(uncut: nn.Module, tensors: Mapping[str, torch.Tensor], info: PrunedInfo) -> nn.Module:
    """Raises ``ValueError`` if the tensors are no cut of ``uncut``."""
    buffers = _unsaved_buffers(uncut)
    missing = buffers.keys() - tensors.keys()
    if missing:
        raise ValueError(f"tensor {min(missing)!r} is in only one of the two networks")
    state = {name: tensor for name, tensor in tensors.items() if name not in buffers}
    small = resized(uncut, state).cpu()
    _check_kernels(uncut, state)
    for name in buffers:
        layer, _, own_name = name.rpartition(".")
        small.get_submodule(layer).register_buffer(own_name, tensors[name], persistent=False)
    for name, module in small.named_modules():
        if isinstance(module, _NormBase) and not module.state_dict() and name in info.layers:
            module.num_features = info.layers[name][0]  # no tensor tells its size
    if _layers(small) != info.layers:
        raise ValueError("its layers have other sizes")
    return small.eval()


def _check_kernels(uncut: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Channels may be fewer than in the uncut network; nothing else may differ."""
    for name, tensor in uncut.state_dict().items():
        free = 2 if is_cuttable(uncut.get_submodule(name.rpartition(".")[0])) else 0
        large, small = tensor.shape, state[name].shape
        if small[free:] != large[free:] or any(s > n for s, n in zip(small, large, strict=True)):
            raise ValueError(f"tensor {name!r} is {tuple(small)}, no cut of {tuple(large)}")


def _check_rebuilt(folder: Path, info: PrunedInfo, model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuses a description that doesn't lead back to the network. The user's own code was run before: it may here."""
    if info.network is None:
        return
    on_cpu = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    rebuilt = _assemble(folder, build_uncut(folder, info, trusted=info.network["target"]), on_cpu, info)
    original = copy.deepcopy(model).cpu().eval()
    images = torch.randn(2, *info.image_shape, generator=torch.Generator().manual_seed(0))
    dtype = next((tensor.dtype for tensor in on_cpu.values() if tensor.is_floating_point()), torch.float32)
    with torch.inference_mode():
        expected, actual = original(images.to(dtype)), rebuilt(images.to(dtype))
    if not torch.allclose(actual, expected, rtol=0, atol=SAME * float(expected.abs().max()), equal_nan=True):
        raise AmcError(
            f"{folder}: {info.network['target']} as described does not compute what the network to be saved computes; "
            "describe the stem and the arguments it was built with"
        )


def _unsaved_buffers(model: nn.Module) -> dict[str, torch.Tensor]:
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


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise AmcError(f"{path}: can't be read ({error.strerror}); the folder is incomplete, copy it again") from error
