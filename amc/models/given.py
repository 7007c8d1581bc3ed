"""Networks as users hand them over: checked, looked through, and copied, so that theirs stay as they are."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.optim.swa_utils import AveragedModel

from amc.core.errors import AmcError, first_line
from amc.models.weights import all_zero, check_weights

# Wrappers that compute what the network in them does.
AROUND = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.ao.nn.sparse.quantized")
# Class of a hook that remakes a weight before each pass → what takes it off.
HOOKS: dict[str, Any] = {"WeightNorm": nn.utils.remove_weight_norm, "SpectralNorm": nn.utils.remove_spectral_norm}


def check_model(model: object) -> nn.Module:
    """Refuses what can't be pruned, whatever the images are.

    Raises:
        AmcError: see :func:`check_layers` and :func:`amc.models.weights.check_weights`; it names layer or tensor.
    """
    network = check_layers(model)
    check_weights(network)
    return network


def check_layers(model: object) -> nn.Module:
    """The same without a look at the weights.

    Raises:
        AmcError: no network, TorchScript, an exported or quantized one, or pruning masks left on.
    """
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise AmcError("model: {}; {}".format(*_not_a_network(model)))
    for name, module in model.named_modules():
        where = f"layer {name!r}"
        if isinstance(module, torch.jit.ScriptModule):
            raise AmcError(f"model: {where} is TorchScript, which can't be cut; give the nn.Module it was made from")
        if type(module).__module__.startswith(QUANTIZED):
            raise AmcError(
                f"model: {where} is quantized ({type(module).__name__}); give the floating-point network it was made "
                "from, and quantize the result"
            )
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, prune.BasePruningMethod):
                tensor = hook._tensor_name
                raise AmcError(
                    f"model: {where} has a pruning mask ({type(hook).__name__}) on its {tensor}; call "
                    f"torch.nn.utils.prune.remove(layer, {tensor!r})"
                )
    return model


def own_copy(model: nn.Module, device: torch.device | str = "cpu") -> nn.Module:
    """A copy in float32, on ``device``, in evaluation mode; ``model`` stays as it is.

    ``torch.compile``, ``DataParallel``, ``DistributedDataParallel`` and ``AveragedModel`` are looked through, at the
    top and inside.

    Raises:
        AmcError: see :func:`check_model`; or the network can't be copied.
    """
    return copied(check_model(model), device)


def copied(model: nn.Module, device: torch.device | str = "cpu") -> nn.Module:
    """The same of a network that was checked."""
    memo: dict[int, Any] = {}
    try:
        with torch.inference_mode(mode=False):
            # Tensors that an earlier pass left in the module, such as features that a hook stored, are no leaves.
            for tensor in _remembered(model):
                memo[id(tensor)] = tensor.detach().clone()
            for wrapper in reversed([module for module in model.modules() if _inner(module) is not None]):
                memo[id(wrapper)] = copy.deepcopy(_inner(wrapper), memo)
            twin: nn.Module = copy.deepcopy(model, memo)
            return materialise(twin.eval()).float().to(device)
    except Exception as error:  # the network's own code may raise anything
        raise AmcError(
            f"model: can't be copied, converted to float32 and put into evaluation mode ({type(error).__name__}: "
            f"{first_line(error)}); take off hooks and attributes that hold files, locks, "
            "generators or results of earlier passes"
        ) from error


def remarks(model: nn.Module) -> list[str]:
    """What users should know about a network that is accepted."""
    found = []
    types = {tensor.dtype for tensor in model.parameters()} - {torch.float32}
    if types:
        names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in types))
        found.append(f"model: has weights in {names}; all work and the resulting network are in float32")
    remade = [name for name, module in model.named_modules() if _is_remade(module)]
    if remade:
        found.append(
            f"model: weight norm, spectral norm or another parametrization of {', '.join(remade[:3])}"
            f"{' …' if len(remade) > 3 else ''}: their weights are taken as they are now"
        )
    zero = all_zero(model)
    if zero is not None:
        found.append(f"model: all weights are zero in {zero}; check that the right checkpoint was loaded")
    return found


def _inner(module: nn.Module) -> nn.Module | None:
    """The network in a wrapper; ``None`` if it is none."""
    if isinstance(module, AROUND):
        return module.module
    return module._modules.get("_orig_mod")  # of torch.compile


def _remembered(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        yield from (v for v in vars(module).values() if isinstance(v, Tensor) and not v.is_leaf)


def _not_a_network(model: object) -> tuple[str, str]:
    """What was given instead of a network, and what to do."""
    if isinstance(model, (torch.jit.ScriptModule, torch.jit.ScriptFunction)):
        return "is TorchScript, which can't be cut", "give the nn.Module it was made from"
    if type(model).__name__ == "ExportedProgram":
        return "is an exported program, which can't be cut", "give the nn.Module it was exported from"
    if inspect.isclass(model):
        return f"is the class {model.__name__}", "give a network made of it"
    if isinstance(model, Mapping):
        return (
            f"is of type {type(model).__name__}",
            "make the network and load it with load_state_dict, then give the network",
        )
    if isinstance(model, (str, Path)):
        return f"is the text {str(model)!r}", "make the network, load its weights, and give the network"
    return f"is of type {type(model).__name__}", "give an nn.Module from images [n, c, h, w] to logits [n, classes]"


def materialise(model: nn.Module) -> nn.Module:
    """Makes weights that are remade before each pass (weight norm, spectral norm, parametrizations) plain, in place.

    A cut would change what they are remade from. In evaluation mode the outputs stay the same.
    """
    for module in list(model.modules()):
        for hook in list(module._forward_pre_hooks.values()):
            remove = HOOKS.get(type(hook).__name__)
            if remove is not None and type(hook).__module__.startswith("torch.nn.utils"):
                remove(module, vars(hook)["name"])
        if parametrize.is_parametrized(module):
            own = type(module)  # a copy shares it with its original, from which the tensor would be taken as well
            module.__class__ = type(own.__name__, own.__bases__, dict(own.__dict__))
            for tensor in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, tensor, leave_parametrized=True)
    return model


def _is_remade(module: nn.Module) -> bool:
    hooks = {type(hook).__name__ for hook in module._forward_pre_hooks.values()}
    return bool(hooks & HOOKS.keys()) or parametrize.is_parametrized(module)
