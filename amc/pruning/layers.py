"""Cuttable layers, their axes, and the cost of one forward pass of each (counted, not predicted)."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.utils.hooks import RemovableHandle

from amc.pruning.attention import sized_attention
from amc.pruning.inputs import Example, first, run

Mixing = (_ConvNd, nn.Linear)
PerChannel = (_NormBase, nn.PReLU)


@dataclass(frozen=True)
class LayerCall:
    """A layer's use in one forward pass of one input.

    Attributes:
        positions: where it was applied, summed over calls: output positions (input positions if transposed).
        height, width: of its last output.
    """

    positions: int
    height: int
    width: int


def is_transposed(module: nn.Module) -> bool:
    return isinstance(module, _ConvTransposeNd)


def is_depthwise(module: nn.Module) -> bool:
    """A convolution with one input channel per convolution group, and one output channel or several."""
    return isinstance(module, _ConvNd) and 1 < module.groups == module.in_channels


def is_frozen_norm(module: nn.Module) -> bool:
    """A batch norm of buffers alone, as torchvision's, timm's and detectron2's ``FrozenBatchNorm2d``."""
    return not module._parameters and {"weight", "bias", "running_mean", "running_var"} <= module._buffers.keys()


def has_shared_slope(module: nn.Module) -> bool:
    """A PReLU whose one slope belongs to all channels, so that it has none to cut."""
    return isinstance(module, nn.PReLU) and module.num_parameters == 1


def is_per_channel(module: nn.Module) -> bool:
    return isinstance(module, PerChannel) or is_frozen_norm(module)


def is_cuttable(module: nn.Module) -> bool:
    """Whether the surgery knows this layer: (grouped) convolutions, transposed without groups, linear, norms, PReLU."""
    if is_transposed(module):
        return bool(module.groups == 1)
    return isinstance(module, Mixing) or is_per_channel(module)


def is_inside(path: str, modules: Collection[str]) -> bool:
    """Whether a module or tensor is one of these modules, or within one."""
    while path not in modules:
        if not path:
            return False
        path = path.rpartition(".")[0]
    return True


def tensor_of(model: nn.Module, name: str) -> torch.Tensor:
    """A parameter or buffer by its dotted path."""
    path, _, own = name.rpartition(".")
    found = getattr(model.get_submodule(path), own)
    assert isinstance(found, torch.Tensor)
    return found


def per_channel_size(module: nn.Module) -> int:
    """Channels of a layer that :func:`is_per_channel`."""
    if isinstance(module, nn.PReLU):
        return module.num_parameters
    if isinstance(module, _NormBase):
        return module.num_features
    weight = module._buffers["weight"]
    assert weight is not None
    return len(weight)


def kind_of(module: nn.Module) -> str:
    """``conv3x3``, ``depthwise3x3``, ``grouped3x3``, ``linear`` … as shown in tables and figures."""
    if isinstance(module, nn.Linear):
        return "linear"
    if not isinstance(module, _ConvNd):
        return type(module).__name__.lower()
    kernel = "x".join(map(str, module.kernel_size))
    return f"{'depthwise' if is_depthwise(module) else 'grouped' if module.groups > 1 else 'conv'}{kernel}"


@contextmanager
def frozen_eval(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the block; each module's own mode is put back afterwards."""
    modes = {m: m.training for m in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def without_gradients(model: nn.Module) -> Iterator[None]:
    """Parameters that need no gradient for the block: torch's trackers of modules stumble over those that do."""
    learning = [p for p in model.parameters() if p.requires_grad and not p.is_inference()]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


@contextmanager
def without_fast_path() -> Iterator[None]:
    """``nn.MultiheadAttention`` and ``nn.TransformerEncoderLayer`` as the operations that they are made of."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def unfused() -> Iterator[None]:
    """Attention and recurrent layers as the products that they are made of."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # switching oneDNN off warns about settings that aren't touched
        stack.enter_context(without_fast_path())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield


@contextmanager
def watched(model: nn.Module, handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Evaluation mode with these hooks for the block; both are taken back afterwards.

    ``nn.MultiheadAttention`` calls its output projection as the layer that it is.
    """
    try:
        with frozen_eval(model), sized_attention(model):
            yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def record_calls(model: nn.Module, example_input: Example) -> dict[str, LayerCall]:
    """Every mixing or per-channel layer that a forward pass of ``example_input[:1]`` calls, in order of first call."""
    names = {module: name for name, module in model.named_modules()}
    calls: dict[str, LayerCall] = {}

    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        size = output.shape[2:] if not isinstance(module, nn.Linear) else output.shape[1:-1]
        positions = _positions(module, inputs[0] if is_transposed(module) else output)
        before = calls.get(names[module])
        height, width = (1, 1, *size)[-2:]
        calls[names[module]] = LayerCall(positions + (before.positions if before else 0), int(height), int(width))

    handles = [m.register_forward_hook(hook) for m in names if isinstance(m, Mixing) or is_per_channel(m)]
    with watched(model, handles):
        run(model, first(example_input))
    return calls


def _positions(module: nn.Module, x: torch.Tensor) -> int:
    """All but the channels: one input may be many windows or frames, which code puts in the place of a batch."""
    spatial = len(module.kernel_size) if isinstance(module, _ConvNd) else 0
    return x.numel() // max(1, x.shape[x.dim() - spatial - 1])


def layer_shapes(
    model: nn.Module, calls: Mapping[str, LayerCall]
) -> tuple[tuple[LayerShape, ...], dict[str, nn.Parameter]]:
    """For :class:`~amc.pruning.cost.CostModel`: the shape of each layer, and the parameters outside these layers."""
    shapes = []
    counted: set[int] = set()
    for name, module in model.named_modules():
        if isinstance(module, Mixing) or is_per_channel(module):
            call = calls.get(name)
            own = {id(p): p for p in module.parameters(recurse=False)}
            new = [p for key, p in own.items() if key not in counted]  # tied ones belong to the first layer with them
            shape = _shape_of(name, module, call.positions if call else 0, new)
            weight = getattr(module, "weight", None)
            counted |= {id(p) for p in new if p is weight or _has_channels(p, shape)}
            shapes.append(shape)
    return tuple(shapes), {name: p for name, p in model.named_parameters() if id(p) not in counted}


def _shape_of(name: str, module: nn.Module, positions: int, params: Sequence[nn.Parameter]) -> LayerShape:
    """``params``: those of the module that count with it."""
    if is_per_channel(module):
        return _with_params(LayerShape(name, per_channel_size(module), 0), params, None)
    if isinstance(module, nn.Linear):
        shape = LayerShape(name, module.out_features, module.in_features, positions)
        return _with_params(shape, params, module.weight)
    assert isinstance(module, _ConvNd)
    taps = torch.Size(module.kernel_size).numel()
    if is_depthwise(module):
        return _with_params(LayerShape(name, module.out_channels, 0, macs_per_out=positions * taps), params, None)
    shape = LayerShape(name, module.out_channels, module.in_channels, positions * taps / module.groups)
    return _with_params(shape, params, module.weight)


def _with_params(shape: LayerShape, params: Sequence[nn.Parameter], weight: torch.Tensor | None) -> LayerShape:
    """``shape`` with its parameters: ``weight`` by channel pairs, what else has an entry for each output by these."""
    pairs = sum(p.numel() for p in params if p is weight) / max(1, shape.out_size * shape.in_size)
    alone = sum(p.numel() for p in params if p is not weight and _has_channels(p, shape)) / shape.out_size
    return replace(shape, params_per_pair=pairs, params_per_out=alone)


def _has_channels(parameter: nn.Parameter, shape: LayerShape) -> bool:
    """Whether the surgery shortens it with the layer's outputs."""
    return parameter.dim() > 0 and len(parameter) == shape.out_size


@dataclass(frozen=True)
class LayerShape:
    """Shape of one layer, which determines its cost, read off one forward pass of the dense network.

    Attributes:
        name: dotted module path.
        out_size, in_size: channels along the two axes; ``in_size`` is 0 for layers that do not mix channels.
        macs_per_pair: MACs for each (output, input) channel pair: output positions × kernel size ÷ convolution groups.
        params_per_pair: weights for each pair.
        macs_per_out, params_per_out: MACs and weights for each output channel alone (depthwise, norms, bias).
    """

    name: str
    out_size: int
    in_size: int
    macs_per_pair: float = 0.0
    params_per_pair: float = 0.0
    macs_per_out: float = 0.0
    params_per_out: float = 0.0
