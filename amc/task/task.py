"""A network and its images: the input of every command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from amc.core.errors import AmcError
from amc.data import Examples, ExampleSet, ImageSet
from amc.data.examples import SPACE
from amc.data.loader import class_indices, pixels
from amc.evaluation.catalogue import CLASSES
from amc.evaluation.metrics import CLASSIFICATION, Criterion, Metric
from amc.models.given import check_model
from amc.task.checks import checked
from amc.task.kinds import AUTO, Wanted, wanted_of

Images = Examples | DataLoader[Any]


@dataclass(frozen=True, eq=False)
class Task:
    """A trained network with its examples.

    Attributes:
        name: of the network; in a joint search, also of its folder.
        model: left as it is; :meth:`on` makes the copy that is worked with.
        train: calibration examples for importance and recovery; training examples of fine-tuning.
        val: examples that plans are scored on.
        test: examples for the final report only.
        description: how the network is built, see :func:`amc.pruning.saved.save_pruned`.
        config: of this network alone, for commands that continue from its folder.
        facts: further entries for its ``summary.json``.
        criterion: metric and loss of its predictions.
        wanted: what they are made of by :meth:`on`; ``None``: they are as given.
    """

    name: str
    model: nn.Module
    train: Examples
    val: Examples
    test: Examples | None = None
    description: Mapping[str, Any] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    criterion: Criterion = CLASSIFICATION
    wanted: Wanted | None = None

    @property
    def metric(self) -> Metric:
        """Metric of its predictions."""
        return self.criterion.metric

    @classmethod
    def make(
        cls,
        name: str,
        model: nn.Module,
        train: Images,
        val: Images,
        test: Images | None = None,
        *,
        task: str | Wanted = AUTO,
        metric: Any = None,
        loss: Any = None,
        output: str | int | None = None,
        **more: Any,
    ) -> Task:
        """A task from sets of examples or loaders; a loader is read once.

        Args:
            name: of the network.
            model: trained.
            train, val, test: see :class:`Task`.
            task: one of :data:`amc.task.kinds.NAMES`, or ``auto``: found from targets and outputs.
            metric, loss, output: see :class:`amc.task.kinds.Wanted`.
            more: further attributes.

        Raises:
            AmcError: a network that can't be pruned, an unknown task, or a loader that yields something else.
        """
        check_model(model)
        wanted = wanted_of(task, metric=metric, loss=loss, output=output)
        given = {"train": train, "val": val, **({} if test is None else {"test": test})}
        sets = {split: as_examples(examples, split, wanted.kind) for split, examples in given.items()}
        return cls(name, model, sets["train"], sets["val"], sets.get("test"), wanted=wanted, **more)

    def on(self, device: torch.device) -> Task:
        """The same on ``device``, loaders read, with a copy of the network; see :func:`amc.task.checks.checked`.

        Raises:
            AmcError: network, inputs and targets don't fit together; says what came, what is needed and what to do.
        """
        given = {"train": self.train, "val": self.val, **({} if self.test is None else {"test": self.test})}
        sets = {name: as_examples(split, name).to(device) for name, split in given.items()}
        model, fitting, criterion = checked(self.model, sets, self.wanted or self.criterion, device)
        return replace(
            self, model=model, train=fitting["train"], val=fitting["val"], test=fitting.get("test"), criterion=criterion
        )


def as_images(images: Images, name: str = "loader") -> ImageSet:
    """Labelled images in memory; a ``DataLoader`` is read once. ``name`` is its name in errors."""
    return images.own() if isinstance(images, ImageSet) else ImageSet.from_loader(images, name=name)  # type: ignore[arg-type]


def as_examples(examples: Images, name: str = "loader", kind: str = AUTO) -> Examples:
    """Examples in memory: images with one class each as an ``ImageSet``, anything else as an ``ExampleSet``.

    Args:
        examples: a set, or a loader, which is read once.
        name: its name in errors.
        kind: of the task.

    Raises:
        AmcError: anything wrong in what a loader yields.
    """
    if isinstance(examples, Examples):
        return examples.own()
    held = ExampleSet.from_loader(examples, name)
    images, labels = held.inputs, held.targets
    if kind not in (AUTO, CLASSES) or not isinstance(images, Tensor) or not isinstance(labels, Tensor):
        return held
    if images.ndim != SPACE + 1 or (kind == AUTO and (labels.ndim != 1 or labels.is_floating_point())):
        return held
    classes = class_indices(labels, len(held), name)
    try:
        return ImageSet(pixels(images, name, 0), classes, max(int(classes.max()) + 1, 1))
    except AmcError as error:
        raise error if str(error).startswith(name) else AmcError(f"{name}: {error}") from error
