"""Hugging Face's networks, from a folder, the local cache or a configuration alone.

transformers is imported when one is asked for. A hub is contacted only where the caller says so; no code from a folder
or a hub is ever run, and weights are read from safetensors alone.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from amc.core.errors import AmcError, damaged, first_line
from amc.core.files import read_json
from amc.core.reading import parse_json
from amc.models.libraries import HUB, TRANSFORMERS, import_library

FROM_CONFIG = "amc.models.from_transformers.from_config"
IMAGES = "image-classification"
# Task → the class that picks the network's class by its configuration.
TASKS: Mapping[str, str] = {
    IMAGES: "AutoModelForImageClassification",
    "semantic-segmentation": "AutoModelForSemanticSegmentation",
    "audio-classification": "AutoModelForAudioClassification",
    "text-classification": "AutoModelForSequenceClassification",
    "causal-lm": "AutoModelForCausalLM",
    "masked-lm": "AutoModelForMaskedLM",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
}
OF_IMAGES = (IMAGES, "semantic-segmentation")
CONFIG = "config.json"
# What would bring code or weights from elsewhere, or doesn't belong to the architecture.
DROPPED = {
    "auto_map", "_name_or_path", "attn_implementation", "_attn_implementation", "_attn_implementation_internal",
    "experts_implementation", "_experts_implementation", "_experts_implementation_internal", "use_kernels",
    "use_pretrained_backbone", "dtype", "torch_dtype", "transformers_version", "id2label", "label2id",
}  # fmt: skip


class _Logits:
    """Mixed into a network's class: it returns its logits alone, and keeps the names of its layers."""

    def forward(self, *inputs: Any, **named: Any) -> torch.Tensor:
        return super().forward(*inputs, **named).logits  # type: ignore[misc, no-any-return]


class _LogitsOfImages(_Logits):
    """With one input, as an export needs it said."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images)


def network(
    source: str,
    num_classes: int,
    image_shape: tuple[int, int, int] | None = None,
    *,
    task: str = IMAGES,
    pretrained: bool | str = False,
) -> nn.Module:
    """The network that ``source`` holds, whose output is its logits.

    Args:
        source: folder with ``config.json``, or a name on Hugging Face's hub.
        num_classes: length of a classifier's output; no matter to a language model.
        image_shape: (channels, height, width) of the images of an image classifier.
        task: one of :data:`TASKS`.
        pretrained: ``False``: random weights, for images of this shape; ``True``: those beside the configuration, in
            the folder or in the local cache; ``"hub"``: they may be fetched.

    Raises:
        AmcError: transformers is not installed, nothing is there, its weights know other classes, or the task is not
            one for images though ``image_shape`` is given.
    """
    content = read_config(source, hub=pretrained == HUB)
    if image_shape is not None and task != IMAGES:
        raise AmcError(f"model.net.task={task}: these data sets are labelled images; give model.net.task={IMAGES}")
    if not pretrained:
        fitted = content if image_shape is None else _for_images(content, image_shape)
        return from_config(json.dumps(fitted), num_classes, task=task)
    transformers, config = _config(content)
    if task == IMAGES:
        _check_classes(source, config.num_labels, num_classes)
    return _plain(_trained(_auto(transformers, task), source, config, hub=pretrained == HUB), task)


def from_config(config: str, num_classes: int, *, task: str = IMAGES) -> nn.Module:
    """The same from a configuration alone, with random weights: how a pruned network is built again.

    Args:
        config: JSON, from :func:`config_of`.
        num_classes: length of a classifier's output.
        task: one of :data:`TASKS`.

    Raises:
        AmcError: transformers is not installed, or the configuration is none.
    """
    with damaged("model.net.config", "no configuration of a network"):
        content = safe(parse_json(config.encode()))
        transformers, made = _config({**content, "num_labels": num_classes})
        with offline():
            return _plain(_auto(transformers, task).from_config(made, trust_remote_code=False), task)


def config_of(model: nn.Module) -> str:
    """The configuration of a network that :func:`network` made, as JSON for :func:`from_config`."""
    return json.dumps(safe(model.config.to_dict()), sort_keys=True)  # type: ignore[operator, union-attr]


def read_config(source: str, *, hub: bool = False) -> dict[str, Any]:
    """The configuration in a folder, in the local cache or, if ``hub``, on the hub.

    Raises:
        AmcError: transformers is not installed, or there is none.
    """
    transformers = import_library(TRANSFORMERS)
    path = Path(source) / CONFIG
    if not path.is_file() and not Path(source).is_dir():
        try:
            with offline(hub):
                found = transformers.utils.cached_file(source, CONFIG, local_files_only=not hub)
        except Exception as error:  # of a hub's client, of another library, or of the network
            raise AmcError(f"model={TRANSFORMERS.prefix}/{source}: {_nowhere(source, hub, error)}") from error
        path = Path(found)
    if not path.is_file():
        raise AmcError(f"model={TRANSFORMERS.prefix}/{source}: a folder without {CONFIG}; give one that has it")
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("model_type"), str):
        raise AmcError(f"{path}: names no model_type; give the folder that save_pretrained wrote")
    labels = content.get("id2label")
    counted = {"num_labels": len(labels)} if isinstance(labels, dict) else {}
    return {**safe(content), **counted}


def check_source(source: str, pretrained: bool | str, num_classes: int | None) -> None:
    """Looks at the configuration that ``source`` names, before anything is loaded.

    Args:
        source, pretrained: as for :func:`network`.
        num_classes: of the data set, if it is known already.

    Raises:
        AmcError: there is none, or the trained weights know another number of classes.
    """
    content = read_config(source, hub=pretrained == HUB)
    if pretrained and num_classes is not None and "num_labels" in content:
        _check_classes(source, content["num_labels"], num_classes)


def _check_classes(source: str, known: int, num_classes: int) -> None:
    if known != num_classes:
        raise AmcError(
            f"model={TRANSFORMERS.prefix}/{source}: knows {known} classes, the dataset has {num_classes}; give a data "
            "set of these classes, or model.pretrained=false for random weights"
        )


def _nowhere(source: str, hub: bool, error: Exception) -> str:
    if hub:
        return f"can't be fetched ({first_line(error)})"
    names: list[str] = []
    with suppress(Exception):  # there may be no cache
        from huggingface_hub import scan_cache_dir

        names = [repo.repo_id for repo in scan_cache_dir().repos]
    near = difflib.get_close_matches(source, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"no such folder, and nothing of that name in the local cache; {hint}model.pretrained=hub would fetch it"


def _config(content: Mapping[str, Any]) -> tuple[ModuleType, Any]:
    """The package, and the configuration as an object of its own class there."""
    transformers = import_library(TRANSFORMERS)
    kind = str(content["model_type"])
    if kind not in transformers.CONFIG_MAPPING:
        near = difflib.get_close_matches(kind, list(transformers.CONFIG_MAPPING), n=1)
        hint = f"did you mean {near[0]}?" if near else "a newer version may have it"
        raise AmcError(f"model_type {kind!r}: transformers {transformers.__version__} has no such networks; {hint}")
    own = {key: value for key, value in content.items() if key != "model_type"}
    return transformers, transformers.CONFIG_MAPPING[kind].from_dict(own)


def _auto(transformers: ModuleType, task: str) -> Any:
    if task not in TASKS:
        raise AmcError(f"model.net.task={task}: unknown; give one of {', '.join(TASKS)}")
    return getattr(transformers, TASKS[task])


def _trained(auto: Any, source: str, config: Any, *, hub: bool) -> nn.Module:
    where = f"model={TRANSFORMERS.prefix}/{source}"
    try:
        with offline(hub), without_bars():
            model, found = auto.from_pretrained(
                source, config=config, local_files_only=not hub, use_safetensors=True, trust_remote_code=False,
                dtype=torch.float32, output_loading_info=True,
            )  # fmt: skip
    except Exception as error:  # of a hub's client, of another library, or of the network
        raise AmcError(
            f"{where}: its weights can't be loaded ({first_line(error)}); safetensors alone are read, and "
            "model.pretrained=false takes random weights"
        ) from error
    lacking = sorted([*found["missing_keys"], *(str(entry[0]) for entry in found["mismatched_keys"])])
    if lacking:
        raise AmcError(
            f"{where}: tensor {lacking[0]!r} is missing there, or of another shape ({len(lacking)} are); give a folder "
            "that was saved for this task"
        )
    trained: nn.Module = model
    return trained


def _plain(model: nn.Module, task: str) -> nn.Module:
    """``model`` of a class of its own. A module around it would give every layer another name than its weights have."""
    made, logits = type(model), _LogitsOfImages if task in OF_IMAGES else _Logits
    model.__class__ = type(made.__name__, (logits, made), {"__module__": made.__module__})
    return model.eval()


def _for_images(content: Mapping[str, Any], image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """The configuration for images of this shape, where it says anything about them."""
    _, config = _config(content)
    channels, height, width = image_shape
    size = height if height == width else [height, width]
    return {**content, **{k: v for k, v in (("num_channels", channels), ("image_size", size)) if hasattr(config, k)}}


def safe(content: Any, dropped: Collection[str] = DROPPED) -> Any:
    """What describes an architecture, at every depth.

    Raises:
        AmcError: it is of a quantized network.
    """
    if isinstance(content, dict):
        if content.get("quantization_config"):
            raise AmcError("model: its configuration is of a quantized network; give the floating-point one")
        return {key: safe(value, dropped) for key, value in content.items() if key not in dropped}
    return [safe(entry, dropped) for entry in content] if isinstance(content, list) else content


@contextmanager
def without_bars() -> Iterator[None]:
    """Keeps the library from showing how far it is with loading and saving."""
    logging = import_library(TRANSFORMERS).utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def offline(hub: bool = False) -> Iterator[None]:
    """Keeps a hub's client from the network, whatever a configuration names, unless ``hub``."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    try:
        constants.HF_HUB_OFFLINE = before or not hub
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
