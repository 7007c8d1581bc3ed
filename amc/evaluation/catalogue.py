"""Metrics by name: the usual ones of every task, and any of torchmetrics."""

from __future__ import annotations

import copy
import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from amc.core.callables import find_callable
from amc.core.errors import AmcError, first_line
from amc.evaluation.losses import IGNORED
from amc.evaluation.metrics import LANGUAGE, TOP1, Metric, Stream
from amc.evaluation.streams import (
    MicroF1,
    Moments,
    Overlap,
    among_first,
    explained,
    mean_absolute,
    mean_squared,
    root_mean_squared,
)

CLASSES, SEVERAL, NUMBERS, MAPS, BOXES = "classification", "multilabel", "regression", "segmentation", "detection"
CUSTOM = "custom"
DIVERGENCE = "divergence"  # from the dense network, see :mod:`amc.evaluation.from_dense`
TORCHMETRICS = ("audio", "classification", "detection", "image", "multimodal", "regression", "segmentation", "text")


@dataclass(frozen=True)
class Facts:
    """What a metric may need to know of its task.

    Attributes:
        kind: of the task.
        outputs: the judged outputs of a few examples.
        targets: of the validation examples.
        arguments: of the metric, as the user gave them.
    """

    kind: str
    outputs: Any
    targets: Any
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """How many classes or labels there are."""
        return self.outputs.shape[1] if isinstance(self.outputs, Tensor) and self.outputs.ndim > 1 else 1

    @property
    def spread(self) -> float:
        """Standard deviation of the targets, 1 if they have none."""
        if not isinstance(self.targets, Tensor) or not self.targets.is_floating_point():
            return 1.0
        return float(self.targets.double().std(0, correction=0).mean()) or 1.0


def _numbers(name: str, of: Callable[[Moments], float], power: int, facts: Facts) -> Metric:
    """An error of numbers, in units of the targets' spread."""
    unit = facts.spread**power
    return Metric(name, larger_is_better=False, high=math.inf, stream=partial(Moments, of), unit=unit)


# Name → its metric, given what the task is.
OWN: Mapping[str, Callable[[Facts], Metric]] = {
    "top1": lambda facts: TOP1,
    "accuracy": lambda facts: TOP1,
    "top5": lambda facts: Metric("top-5 accuracy", among_first(5)),
    "micro_f1": lambda facts: Metric("micro F1", stream=MicroF1),
    "miou": lambda facts: Metric("mIoU", stream=Overlap),
    "mae": partial(_numbers, "MAE", mean_absolute, 1),
    "mse": partial(_numbers, "MSE", mean_squared, 2),
    "rmse": partial(_numbers, "RMSE", root_mean_squared, 1),
    "r2": lambda facts: Metric("R2", low=-math.inf, stream=partial(Moments, explained)),
    "perplexity": lambda facts: Metric(
        "perplexity", larger_is_better=False, low=1.0, high=math.inf, of_loss=lambda loss: math.exp(min(loss, 700.0))
    ),
    "loss": lambda facts: Metric("loss value", larger_is_better=False, high=math.inf, of_loss=float),
}
# Short names of torchmetrics' classes, with the arguments that they mean.
SHORT: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "f1": ("F1Score", {}),
    "auroc": ("AUROC", {}),
    "precision": ("Precision", {}),
    "recall": ("Recall", {}),
    "map": ("detection.MeanAveragePrecision", {}),
    "map50": ("detection.MeanAveragePrecision", {"iou_thresholds": [0.5]}),
}
ADVICE = f"give one of {', '.join((*OWN, *SHORT, DIVERGENCE))}, a class of torchmetrics (CohenKappa), or a dotted path"
# Task → its metric where none is given.
USUAL = {CLASSES: "top1", SEVERAL: "micro_f1", NUMBERS: "r2", MAPS: "miou", BOXES: "map50", LANGUAGE: "perplexity"}


def metric_of(wanted: str | Metric | Callable[[Any, Any], Any], facts: Facts) -> Metric:
    """The metric that a name, a dotted path or a callable stands for.

    Args:
        wanted: a name of :data:`OWN` or :data:`SHORT`; a class of torchmetrics, such as ``CohenKappa`` or
            ``image.StructuralSimilarityIndexMeasure``; a dotted path to a callable or to a :class:`Metric`; or such
            an object. A callable takes all outputs and targets and gives a number in [0, 1], 1 the best.
        facts: of the task.

    Raises:
        AmcError: there is no such metric, or it can't be made like that.
    """
    if isinstance(wanted, Metric):
        return wanted
    if not isinstance(wanted, str):
        return _of_object(wanted, facts)
    if wanted in OWN:
        if facts.arguments:
            raise AmcError(f"task.metric={wanted}: takes no arguments; give the metric of torchmetrics by its class")
        return OWN[wanted](facts)
    if wanted in SHORT:
        name, arguments = SHORT[wanted]
        return _torchmetric(wanted, name, replace(facts, arguments={**arguments, **facts.arguments}))
    if _of_torchmetrics(wanted):
        return _torchmetric(wanted, wanted, facts)
    return _of_object(find_callable("task.metric", wanted, ADVICE), facts)


def check_metric(wanted: Any) -> None:
    """Raises ``AmcError`` if a name or dotted path can't be a metric, as far as that is known without a network."""
    if not isinstance(wanted, str) or wanted in (*OWN, *SHORT, DIVERGENCE) or _of_torchmetrics(wanted):
        return
    find_callable("task.metric", wanted, ADVICE)


def _of_torchmetrics(name: str) -> bool:
    *parts, last = name.split(".")
    return last[:1].isupper() and (not parts or parts[0] in TORCHMETRICS)


def _of_object(found: Any, facts: Facts) -> Metric:
    """A function of all outputs and targets; or what adds up batches, as an object or a class."""
    name = str(getattr(found, "__name__", type(found).__name__)).strip("<>")
    if hasattr(found, "update") and hasattr(found, "compute"):

        def make() -> Any:
            return found(**facts.arguments) if inspect.isclass(found) else copy.deepcopy(found)

        larger, low, high = _range(found)
        return Metric(name, None, larger, low, high, stream=make, unit=facts.spread)
    if inspect.isclass(found) or not callable(found):
        raise AmcError(
            f"task.metric={found!r}: give a function of (outputs, targets) that returns a number, or an object with "
            "update and compute"
        )
    return Metric(name, partial(found, **facts.arguments), per_example=False)


def _range(found: Any) -> tuple[bool, float, float]:
    """Direction and ends of a metric that says them as torchmetrics' do; else a fraction, 1 the best."""
    larger = getattr(found, "higher_is_better", None)
    if larger is None:
        return True, 0.0, 1.0
    low, high = (getattr(found, f"plot_{end}_bound", None) for end in ("lower", "upper"))
    return bool(larger), -math.inf if low is None else float(low), math.inf if high is None else float(high)


def _torchmetric(shown: str, name: str, facts: Facts) -> Metric:
    """A metric of torchmetrics, with its own range and direction."""
    try:
        importlib.import_module("torchmetrics")
    except ImportError as error:
        raise AmcError(
            f"task.metric={shown}: needs torchmetrics, which is not installed; pip install 'amc-pruning[metrics]'"
        ) from error
    module_name, _, last = name.rpartition(".")
    try:
        module = getattr(importlib.import_module(".".join(["torchmetrics", *filter(None, [module_name])])), last)
    except (ImportError, AttributeError) as error:
        raise AmcError(f"task.metric={shown}: torchmetrics has no {name}; see its list of metrics") from error
    arguments = {**_usual_arguments(module, facts), **facts.arguments}
    try:
        made = module(**arguments)
    except Exception as error:  # of torchmetrics, or of a library that it needs
        raise AmcError(f"task.metric={shown}: can't be made with {arguments} ({first_line(error)})") from error
    larger, low, high = (True, 0.0, 1.0) if facts.kind == BOXES else _range(made)
    if not math.isfinite(high if larger else low):
        raise AmcError(f"task.metric={shown}: has no best value; give a function of your own that returns a fraction")
    device = _device_of(facts)
    label = {"map": "mAP", "map50": "mAP50", "f1": "F1", "auroc": "AUROC"}.get(shown, shown.rpartition(".")[2])
    return Metric(
        label, None, larger, low, high, unit=facts.spread,
        stream=lambda: _Adapter(module(**arguments).to(device), facts.kind),
    )  # fmt: skip


def _device_of(facts: Facts) -> torch.device:
    return facts.outputs.device if isinstance(facts.outputs, Tensor) else torch.device("cpu")


def _usual_arguments(maker: Any, facts: Facts) -> dict[str, Any]:
    """What torchmetrics' classes want to be told: which task it is, and of how many classes."""
    known = inspect.signature(maker.__new__ if "__new__" in vars(maker) else maker.__init__).parameters
    given: dict[str, Any] = {}
    several = facts.kind == SEVERAL
    if "task" in known:
        given["task"] = "multilabel" if several else "multiclass"
    if "num_labels" in known and several:
        given["num_labels"] = facts.classes
    elif "num_classes" in known and facts.kind in (CLASSES, MAPS):
        given["num_classes"] = facts.classes
    if "ignore_index" in known and facts.kind == MAPS:
        given["ignore_index"] = IGNORED
    if "average" in known and several and "task" in known:
        given["average"] = "macro"
    return given


class _Adapter:
    """torchmetrics' classes take probabilities rather than logits, which they would have to guess by each batch."""

    def __init__(self, metric: Stream, kind: str) -> None:
        self._metric, self._kind = metric, kind

    def update(self, outputs: Any, targets: Any) -> None:
        if self._kind in (CLASSES, MAPS):
            outputs = outputs.softmax(1)
        elif self._kind == SEVERAL:
            outputs, targets = outputs.sigmoid(), targets.long()
        elif self._kind == NUMBERS and outputs.ndim > 1 and outputs.shape[-1] == 1:
            outputs, targets = outputs.squeeze(-1), targets.squeeze(-1)
        elif self._kind == BOXES:
            outputs, targets = _on_cpu(outputs), _on_cpu(targets)
        self._metric.update(outputs, targets)

    def compute(self) -> float:
        found = self._metric.compute()
        if isinstance(found, dict):  # of detection: the mean over classes and thresholds
            found = found["map"]
        return max(0.0, float(found)) if self._kind == BOXES else float(found)  # −1: nothing to find


def _on_cpu(boxes: Any) -> list[dict[str, Tensor]]:
    return [{key: value.cpu() for key, value in entry.items() if isinstance(value, Tensor)} for entry in boxes]
