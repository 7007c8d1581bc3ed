"""Configuration → images, network and weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import nn

from amc.core.conf import config_folder
from amc.core.device import resolve_device
from amc.core.errors import AmcError
from amc.core.progress import Progress
from amc.core.trust import BUILDERS
from amc.data import ImageSet, Splits, load_dataset
from amc.data.custom import NAME as OWN_DATA
from amc.data.custom import load_custom
from amc.data.load import NAMES as DATASETS
from amc.data.readers import NAMES as READERS
from amc.data.readers import load_examples
from amc.data.readers.huggingface import IMAGES as IMAGES_OF_CLASSES
from amc.evaluation.catalogue import MAPS
from amc.evaluation.metrics import LANGUAGE, Criterion
from amc.models import build
from amc.models.any_task import build_for_task
from amc.models.arguments import PRETRAINED, TORCHVISION, check_pretrained
from amc.models.build import described
from amc.models.checkpoint import read_notes
from amc.models.from_transformers import IMAGES
from amc.models.libraries import TRANSFORMERS
from amc.pruning.network import Network, trace_network
from amc.task.checks import judging
from amc.task.kinds import Wanted, wanted_from
from amc.task.settings import scope_of
from amc.task.task import Task, as_examples
from amc.training.baseline import baseline
from amc.training.recipe import Recipe

# Task → that of a network of transformers, see :data:`amc.models.from_transformers.TASKS`.
FOR_TASK = {LANGUAGE: "causal-lm", MAPS: "semantic-segmentation"}


@dataclass(frozen=True, eq=False)
class Loaded:
    """Network and images as configured.

    Attributes:
        model: on the device of the images, in evaluation mode.
        splits: training, validation and test examples, as the task takes them.
        criterion: what predictions are judged by.
        wanted: what that was made of.
        imported_weights: whether the weights come from elsewhere and may have seen every training image.
        source: origin of the weights, for display.
        description: arguments of :func:`amc.models.build` for the network without its weights: ``target``, ``stem`` and
            ``arguments``.
    """

    model: nn.Module
    splits: Splits
    criterion: Criterion
    wanted: Wanted
    imported_weights: bool
    source: str
    description: Mapping[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        """Entries of ``summary.json`` about weights and images."""
        splits = self.splits
        return {
            "weights": self.source,
            "dataset": splits.name,
            "val_from": splits.val_from,
            "images": {name: len(getattr(splits, name) or ()) for name in ("train", "val", "test")},
            **({"origins": splits.origins} if splits.origins else {}),
        }

    @property
    def line(self) -> str:
        """One line on the origin of weights and images, for display."""
        splits, images = self.splits, self.facts["images"]
        counts = ", ".join(f"{count} {name}" for name, count in images.items())
        return f"{self.source}; {splits.name}: {counts}, validation from {splits.val_from}"

    def traced(self, settings: Mapping[str, Any]) -> Network:
        """Groups and costs of the network, by a command's settings. Raises ``AmcError`` if it can't be followed."""
        example = self.splits.train.take(1).normalised()
        return trace_network(self.model, example, **scope_of(settings))

    def task(self, config: Mapping[str, Any], **facts: Any) -> Task:
        """The task of a command.

        Args:
            config: of this network alone.
            facts: further entries for its summary.
        """
        splits, name = self.splits, config["model"]["name"]
        return Task(
            name, self.model, splits.train, splits.val, splits.test, self.description, config,
            {"model": name, **self.facts, **facts}, self.criterion, self.wanted,
        )  # fmt: skip


def load_trained(config: Mapping[str, Any], check: Callable[[Network], None] | None = None) -> Loaded:
    """The network with trained weights: imported ones, or a baseline that is trained here if it isn't cached.

    Args:
        config: of a command.
        check: given the untrained network before a baseline is trained, refuses what that would be lost on.

    Raises:
        AmcError: anything wrong in ``config`` or in the files that it names.
    """
    loaded = load_untrained(config)
    if loaded.imported_weights or loaded.source != "untrained":
        return loaded

    def before_training() -> None:
        if check is not None:
            check(loaded.traced(config))

    network = config["model"]["net"]
    with Progress("training the baseline: epoch", config["verbose"]) as progress:
        found = baseline(
            loaded.model,
            loaded.splits,
            load_recipe(config),
            name=config["model"]["name"],
            arguments={**network, "stem": config["model"]["stem"]},
            seed=config["seed"],
            cache_dir=config.get("cache_dir"),
            on_epoch=lambda epoch: progress.update(epoch.number, epoch.epochs, str(epoch)),
            before_training=before_training,
            criterion=loaded.criterion,
        )
    source = f"{'cached' if found.cached else 'trained'} baseline {found.path.name}"
    return replace(loaded, imported_weights=False, source=source)


def load_untrained(config: Mapping[str, Any]) -> Loaded:
    """Like :func:`load_trained`, but a network without imported weights stays untrained."""
    wanted = config["model"]
    device = resolve_device(config["device"])
    target = wanted["net"]["_target_"]
    kwargs = {key: value for key, value in wanted["net"].items() if key != "_target_"}
    kwargs |= _class_for(target, kwargs, _task_of(config))
    pretrained = _pretrained(wanted, target, config["dataset"]["name"])
    splits, imported = _splits(config, pretrained)
    more = {"pretrained": pretrained, "checkpoint": wanted["checkpoint"], "seed": config["seed"], **kwargs}
    if isinstance(splits.train, ImageSet):
        model = build(target, splits.train.num_classes, splits.train.shape, stem=wanted["stem"], **more)
    else:
        model = build_for_task(target, splits.num_classes, **more)
    source = "pretrained" if pretrained else "untrained"
    if wanted["checkpoint"] is not None:
        source = f"checkpoint {Path(wanted['checkpoint']).name}"
    # trained weights come with their own stem
    stem = "imagenet" if pretrained and target.startswith((TORCHVISION, *BUILDERS)) else wanted["stem"]
    description = described(target, stem, kwargs, model)
    splits, task = splits.to(device), _task_of(config)
    sets = {name: split for name in ("train", "val", "test") if (split := getattr(splits, name)) is not None}
    sets, criterion = judging(model.to(device), sets, task)
    splits = replace(splits, train=sets["train"], val=sets["val"], test=sets.get("test"))
    return Loaded(model, splits, criterion, task, imported, source, description)


def load_recipe(config: Mapping[str, Any]) -> Recipe:
    """The training recipe: ``training``, completed by that of :func:`recipe_for` the data set.

    Raises:
        AmcError: a setting that doesn't exist or is out of range.
    """
    given = {key: value for key, value in config["training"].items() if key != "name" and value is not None}
    name = config["dataset"]["name"]
    file = config_folder() / "training" / f"{recipe_for(name)}.yaml"
    own: Any = OmegaConf.to_container(OmegaConf.load(file))
    settings = {key: value for key, value in {**own, **given}.items() if key != "name"}
    unknown = set(settings) - {field.name for field in fields(Recipe)}
    if unknown:
        raise AmcError(f"training.{min(unknown)}: unknown; see conf/training for what can be set")
    return Recipe(**settings)


def recipe_for(dataset: str) -> str:
    """The recipe in ``conf/training`` for a data set: labels to smooth and images to mirror have only those of classes.

    Args:
        dataset: its name.
    """
    if dataset in DATASETS:
        return dataset
    return "imagefolder" if dataset == IMAGES_OF_CLASSES else OWN_DATA


def _pretrained(wanted: Mapping[str, Any], target: str, dataset: str) -> bool | str:
    setting = wanted["pretrained"]
    if setting == "auto":
        ready = target == TRANSFORMERS.target or (dataset == "imagenet" and target.startswith(TORCHVISION))
        return ready and wanted["checkpoint"] is None
    PRETRAINED.check("model.pretrained", setting)
    check_pretrained(wanted, dataset)
    if target in BUILDERS and setting is True and wanted["checkpoint"] is not None:  # it takes their place
        return False
    return setting  # type: ignore[no-any-return]


def _class_for(target: str, given: Mapping[str, Any], task: Wanted) -> dict[str, Any]:
    """The argument by which a network of transformers suits the task, unless the user has chosen another class."""
    suits = FOR_TASK.get(task.kind)
    return {"task": suits} if target == TRANSFORMERS.target and suits and given.get("task") in (None, IMAGES) else {}


def _task_of(config: Mapping[str, Any]) -> Wanted:
    return wanted_from(config["task"]) if "task" in config else Wanted()


def _splits(config: Mapping[str, Any], pretrained: bool | str) -> tuple[Splits, bool]:
    """The images, and whether the weights may have seen all training images.

    A checkpoint of ``amc.train`` notes which images it saw. If these are the training images of its own split, its
    validation images are unseen, so that split is kept.
    """
    dataset, checkpoint = dict(config["dataset"]), config["model"]["checkpoint"]
    if dataset.get("tokenizer", "") is None and config["model"]["net"]["_target_"] == TRANSFORMERS.target:
        dataset["tokenizer"] = config["model"]["net"][TRANSFORMERS.argument]  # a network's folder has its tokeniser
    imported = bool(pretrained) or checkpoint is not None
    if dataset["name"] == OWN_DATA:
        read = partial(as_examples, kind=_task_of(config).kind)
        return load_custom(dataset["_target_"], dataset["arguments"], read, dataset["num_classes"]), imported
    notes = {} if checkpoint is None else read_notes(checkpoint)
    with Progress("decoding images", config["verbose"]) as progress:
        common: dict[str, Any] = {"cache_dir": config.get("cache_dir"), "progress": progress.update}
        if dataset["val_from"] == "auto" and notes.get("dataset") == dataset["name"]:
            noted = notes.get("val_from", "auto")
            splits = _data(**{**dataset, "val_from": "auto" if noted == "all" else noted}, **common)
            if splits.train.fingerprint() == notes.get("train_images"):
                return splits, False
        return _data(**dataset, imported_weights=imported, **common), imported


def _data(name: str, **settings: Any) -> Splits:
    """The examples of a data set, whoever reads it. Raises ``AmcError``."""
    return load_examples(name, **settings).for_commands() if name in READERS else load_dataset(name, **settings)
