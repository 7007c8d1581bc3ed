"""Builds a network from a dotted name, with a stem that suits the images."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from amc.core.callables import find_callable
from amc.core.checks import one_of
from amc.core.errors import WRONG_VALUES, AmcError, first_line
from amc.core.trust import BUILDERS, own_callable
from amc.models import from_transformers
from amc.models.arguments import ADVICE, OURS, TORCHVISION, imagenet_weights
from amc.models.checkpoint import load_checkpoint
from amc.models.given import own_copy
from amc.models.libraries import TRANSFORMERS, name_of
from amc.models.sizes import Counted, WithoutValues
from amc.models.stem import SMALL_IMAGE, fit_pools, run_once, use_grey, use_small_stem

STEMS = ("auto", "imagenet", "small")
IMAGENET_CLASSES = 1000
LONGEST = 100  # characters of an argument in a message
MANY_CLASSES, LARGE_IMAGE = 10_000, 1024  # beyond, the size is estimated first
log = logging.getLogger(__name__)


def build(
    target: str,
    num_classes: int,
    image_shape: tuple[int, int, int],
    *,
    stem: str = "auto",
    pretrained: bool | str = False,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    **kwargs: Any,
) -> nn.Module:
    """The network called ``target``, on the CPU, in evaluation mode.

    Args:
        target: dotted path of a callable that returns an ``nn.Module`` and takes ``num_classes``, for example
            ``torchvision.models.resnet50`` or ``my_pkg.my_net``.
        num_classes: length of the network's output.
        image_shape: (channels, height, width) of the images it will see. A first convolution for three colours takes
            grey ones as if all three were the same.
        stem: ``small``: the first convolution keeps the resolution; ``imagenet``: the network as its authors made
            it; ``auto``: ``small`` for images of at most 64 pixels, except in networks that are neither
            torchvision's nor this project's.
        pretrained: torchvision's ImageNet weights; timm's; those of a folder for transformers (``"hub"``: they may be
            fetched). For any other callable: that it returns trained weights itself.
        checkpoint: weights to load afterwards, see :func:`load_checkpoint`.
        seed: of the initial weights; the global random state is left alone.
        **kwargs: passed to the callable.

    Raises:
        AmcError: no such callable, it doesn't give an ``nn.Module``, weights don't fit, or the network can't run on
            such images.
    """
    one_of("model.stem", stem, STEMS)
    maker = find_callable("model", target, ADVICE)
    if kwargs or num_classes > MANY_CLASSES or max(image_shape) > LARGE_IMAGE:
        check_size(target, num_classes, image_shape, stem=stem, **kwargs)
    arguments = {**_defaults(maker, target, image_shape), "num_classes": num_classes, **kwargs}
    if pretrained and target.startswith((TORCHVISION, *BUILDERS)):
        if stem == "small":
            raise AmcError("model.stem=small: trained weights need their own stem; give model.pretrained=false")
        known = target.startswith(TORCHVISION)
        arguments |= {"weights": imagenet_weights(target, num_classes)} if known else {"pretrained": pretrained}
        stem = "imagenet"
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs as well
        who = name_of({"_target_": target, **kwargs}) or target
        small = _wants_small_stem(stem, target, image_shape)
        model = _fitted(own_copy(made(maker, who, arguments)), who, num_classes, image_shape, small)
    if checkpoint is not None:
        load_checkpoint(model, checkpoint)
    return model.eval()


def described(target: str, stem: str, arguments: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """What a file says of a network that :func:`build` made, so that it makes the same one again elsewhere.

    Args:
        target, stem, arguments: as :func:`build` was given them.
        model: the network. What a folder or a hub said of it is in there.
    """
    if target == TRANSFORMERS.target:
        task = {"task": arguments["task"]} if "task" in arguments else {}
        target, arguments = from_transformers.FROM_CONFIG, {"config": from_transformers.config_of(model), **task}
    return {"target": target, "stem": stem, "arguments": dict(arguments)}


def skeleton(
    target: str, num_classes: int, image_shape: tuple[int, int, int], *, stem: str, **kwargs: Any
) -> nn.Module:
    """What :func:`build` makes, without values (on torch's ``meta`` device): whatever its size, it takes no memory.

    Raises:
        AmcError: as :func:`build`, and for a network of more memory than there is.
    """
    one_of("model.stem", stem, STEMS)
    maker = find_callable("model", target, "give a dotted path, such as my_pkg.my_net or torchvision.models.resnet50")
    arguments = {**_defaults(maker, target, image_shape), "num_classes": num_classes, **kwargs}
    with torch.random.fork_rng(devices=[]), Counted(f"model {target!r} with {_shown(arguments)}") as counted:
        with WithoutValues():
            model = made(maker, target, arguments).to("meta")
        with torch.device("meta"):
            small = _wants_small_stem(stem, target, image_shape)
            model = _fitted(model, target, num_classes, image_shape, small)
            counted.forward(model, image_shape)
    return model.eval()


def check_size(target: str, num_classes: int, image_shape: tuple[int, int, int], *, stem: str, **kwargs: Any) -> None:
    """Refuses a network that takes more memory than there is, before it takes any. Of own networks alone is it known.

    Raises:
        AmcError: with the estimated size and the limit.
    """
    if target in BUILDERS:
        _check_library_size(target, num_classes, image_shape, **kwargs)
    elif own_callable(target) is not None:
        skeleton(target, num_classes, image_shape, stem=stem, **kwargs)


def _check_library_size(target: str, num_classes: int, image_shape: tuple[int, int, int], **kwargs: Any) -> None:
    """The same for another library's network, as far as it can be made, and run, without values."""
    maker = find_callable("model", target, ADVICE)
    what = f"model {target!r} with {_shown(kwargs)}"
    arguments = {**_defaults(maker, target, image_shape), "num_classes": num_classes, **kwargs}
    with torch.random.fork_rng(devices=[]), Counted(what) as counted:
        try:
            with WithoutValues():
                model = maker(**arguments).to("meta")
            with torch.device("meta"):
                counted.forward(model, image_shape)
        except AmcError:
            raise
        except Exception:  # it reads its own numbers; what is wrong with it is seen when it is made for real
            log.debug("%s: its size is not known before it is made", what, exc_info=True)


def _fitted(
    model: nn.Module, who: str, num_classes: int, image_shape: tuple[int, int, int], small_stem: bool
) -> nn.Module:
    """``model`` with the stem that suits the images, proved on one."""
    _drop_auxiliary_heads(model)
    use_grey(model, image_shape)
    if small_stem:
        use_small_stem(model, image_shape)
        _check(model, who, image_shape, fit_pools)
    _check(model, who, image_shape, _check_output, num_classes)
    return model


def _defaults(maker: Callable[..., Any], target: str, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Defaults for torchvision's networks: residual branches start at zero, weights are initialised the quick way.

    Other libraries' networks are told the images' shape.
    """
    if target in BUILDERS:
        return {"image_shape": image_shape} if "image_shape" in inspect.signature(maker).parameters else {}
    network = inspect.signature(maker).return_annotation if target.startswith(TORCHVISION) else None
    if not inspect.isclass(network):
        return {}
    parameters = inspect.signature(network).parameters
    defaults: dict[str, Any] = {}
    if "zero_init_residual" in parameters:
        defaults["zero_init_residual"] = True
    # None means "warn, then draw from a slow truncated normal" (GoogLeNet, Inception).
    if "init_weights" in parameters and parameters["init_weights"].default is None:
        defaults["init_weights"] = False
    return defaults


def made(maker: Callable[..., Any], who: str, arguments: dict[str, Any]) -> nn.Module:
    """What a network's callable returns. Raises ``AmcError`` if that is no network, or anything else goes wrong."""
    try:
        model = maker(**arguments)
    except URLError as error:
        raise AmcError(
            f"model {who!r}: its weights can't be downloaded ({error.reason}); give model.checkpoint=FILE"
        ) from error
    except AmcError:
        raise
    except Exception as error:  # whatever the arguments make of it
        raise AmcError(f"model {who!r}: can't be built with {_shown(arguments)}: {first_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise AmcError(f"model {who!r}: returned a {type(model).__name__}; it must return an nn.Module")
    return model


def _shown(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{key}={str(value)[:LONGEST]}" for key, value in arguments.items())


def _drop_auxiliary_heads(model: nn.Module) -> None:
    """GoogLeNet and Inception return a tuple while they train unless their auxiliary heads go."""
    if getattr(model, "aux_logits", False):
        setattr(model, "aux_logits", False)  # noqa: B010 - a plain flag, which nn.Module's stubs don't know of
        for name in ("aux1", "aux2", "AuxLogits"):
            if hasattr(model, name):
                setattr(model, name, None)


def _wants_small_stem(stem: str, target: str, image_shape: tuple[int, int, int]) -> bool:
    ours = target.startswith((TORCHVISION, OURS)) and target not in BUILDERS
    return stem == "small" or (stem == "auto" and ours and max(image_shape[1:]) <= SMALL_IMAGE)


def _check(
    model: nn.Module, who: str, image_shape: tuple[int, int, int], step: Callable[..., None], *more: Any
) -> None:
    try:
        step(model, image_shape, *more)
    except WRONG_VALUES as error:
        size = "×".join(str(n) for n in image_shape)
        raise AmcError(
            f"model {who!r}: can't run on {size} images: {first_line(error)}; change dataset.image_size, "
            "model.stem or the network"
        ) from error


def _check_output(model: nn.Module, image_shape: tuple[int, int, int], num_classes: int) -> None:
    output = run_once(model, image_shape)
    if not isinstance(output, Tensor) or tuple(output.shape) != (1, num_classes):
        got = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        hint = "" if isinstance(output, Tensor) else ", which a module around it could return"
        raise ValueError(f"its output for one image is {got} instead of a tensor of shape (1, {num_classes}){hint}")
