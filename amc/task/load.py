"""From a configuration to data, a network and its weights: what all entry points begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from amc.core.device import resolve_device
from amc.core.errors import AmcError
from amc.core.progress import Progress
from amc.data import Splits, load_dataset
from amc.models import build
from amc.models.build import TORCHVISION
from amc.models.checkpoint import read_notes
from amc.task.task import Task
from amc.training.baseline import baseline
from amc.training.recipe import Recipe
from amc.training.trainer import Epoch

RECIPES = ("digits", "cifar10", "imagenet", "imagefolder")


def load_task(config: DictConfig) -> Task:
    """The network with trained weights: imported ones, or a baseline that is trained here if it isn't cached.

    Raises:
        AmcError: anything wrong in ``config`` or in the files that it names.
    """
    task = load_untrained(config)
    if task.imported_weights or task.source != "untrained":
        return task
    plain = _plain(config)
    network = plain["model"]["net"]
    with Progress("training the baseline: epoch", plain["verbose"]) as progress:
        found = baseline(
            task.model,
            task.splits,
            load_recipe(config),
            name=plain["model"]["name"],
            arguments={**network, "stem": plain["model"]["stem"]},
            seed=plain["seed"],
            cache_dir=plain.get("cache_dir"),
            on_epoch=lambda epoch: progress.update(epoch.number, epoch.epochs, describe(epoch)),
        )
    source = f"{'cached' if found.cached else 'trained'} baseline {found.path.name}"
    return replace(task, imported_weights=False, source=source)


def load_untrained(config: DictConfig) -> Task:
    """Like :func:`load_task`, but a network without imported weights stays untrained."""
    plain = _plain(config)
    wanted = plain["model"]
    device = resolve_device(plain["device"])
    target = wanted["net"]["_target_"]
    kwargs = {key: value for key, value in wanted["net"].items() if key != "_target_"}
    pretrained = _pretrained(wanted, target, plain["dataset"]["name"])
    splits, imported = _splits(plain, pretrained)
    model = build(
        target,
        splits.num_classes,
        splits.train.shape,
        stem=wanted["stem"],
        pretrained=pretrained,
        checkpoint=wanted["checkpoint"],
        seed=plain["seed"],
        **kwargs,
    )
    source = "pretrained" if pretrained else "untrained"
    if wanted["checkpoint"] is not None:
        source = f"checkpoint {Path(wanted['checkpoint']).name}"
    # torchvision's weights come with their own stem
    stem = "imagenet" if pretrained and target.startswith(TORCHVISION) else wanted["stem"]
    description = {"target": target, "stem": stem, "arguments": kwargs}
    return Task(model.to(device), splits.to(device), imported, source, description)


def load_recipe(config: DictConfig) -> Recipe:
    """The training recipe; what ``training`` leaves open is the data set's own recipe in ``conf/training``.

    Raises:
        AmcError: a setting that doesn't exist or is out of range.
    """
    from amc.core.conf import config_folder

    plain = _plain(config)
    given = {key: value for key, value in plain["training"].items() if key != "name" and value is not None}
    name = plain["dataset"]["name"]
    file = config_folder() / "training" / f"{name if name in RECIPES else 'imagefolder'}.yaml"
    own: Any = OmegaConf.to_container(OmegaConf.load(file))
    settings = {key: value for key, value in {**own, **given}.items() if key != "name"}
    unknown = set(settings) - {field.name for field in fields(Recipe)}
    if unknown:
        raise AmcError(f"training.{min(unknown)}: unknown; see conf/training for what can be set")
    return Recipe(**settings)


def describe(epoch: Epoch) -> str:
    """One line about an epoch, for a progress bar."""
    text = f"loss {epoch.train_loss:.3f}"
    return text if epoch.val_accuracy is None else f"{text}  validation accuracy {epoch.val_accuracy:.4f}"


def _pretrained(wanted: Mapping[str, Any], target: str, dataset: str) -> bool:
    setting = wanted["pretrained"]
    if setting == "auto":
        return dataset == "imagenet" and target.startswith(TORCHVISION) and wanted["checkpoint"] is None
    if not isinstance(setting, bool):
        raise AmcError(f"model.pretrained={setting}: give auto, true or false")
    return setting


def _splits(plain: Mapping[str, Any], pretrained: bool) -> tuple[Splits, bool]:
    """The images, and whether the weights may have seen all training images.

    A checkpoint of ``amc.train`` notes which images it saw. If these are the training images of its own split, the
    validation images are still new to it, so that split is kept.
    """
    dataset, checkpoint = dict(plain["dataset"]), plain["model"]["checkpoint"]
    imported = pretrained or checkpoint is not None
    notes = {} if checkpoint is None else read_notes(checkpoint)
    with Progress("decoding images", plain["verbose"]) as progress:
        common: dict[str, Any] = {"cache_dir": plain.get("cache_dir"), "progress": progress.update}
        if dataset["val_from"] == "auto" and notes.get("dataset") == dataset["name"]:
            splits = load_dataset(**{**dataset, "val_from": notes.get("val_from", "auto")}, **common)
            if splits.train.fingerprint() == notes.get("train_images"):
                return splits, False
        return load_dataset(**dataset, imported_weights=imported, **common), imported


def _plain(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
