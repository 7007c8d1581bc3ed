"""What a task is: its loss, its metric, and the form its targets take. Found from the examples if it isn't given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from amc.core.callables import find_callable
from amc.core.checks import one_of
from amc.core.errors import AmcError
from amc.core.types import Loss
from amc.core.values import Kind, Text, Whole
from amc.data import Examples, ExampleSet
from amc.data.loader import class_indices, is_one_hot
from amc.evaluation.catalogue import BOXES, CLASSES, CUSTOM, DIVERGENCE, MAPS, NUMBERS, SEVERAL, USUAL, Facts, metric_of
from amc.evaluation.from_dense import divergence
from amc.evaluation.judged import Output, structure
from amc.evaluation.losses import Share, examples_in, no_loss, pixels_in, token_cross_entropy, tokens_in
from amc.evaluation.metrics import LANGUAGE, Criterion, Metric
from amc.task.targets import tokens_of

AUTO = "auto"
MOST_OUTPUTS = 1000  # of a network, that a place counts
NAMES = (CLASSES, SEVERAL, NUMBERS, MAPS, BOXES, LANGUAGE, CUSTOM)
# Task → its loss, and over what that is a mean.
LOSSES: Mapping[str, tuple[Loss, Share]] = {
    CLASSES: (F.cross_entropy, examples_in),
    SEVERAL: (F.binary_cross_entropy_with_logits, examples_in),
    NUMBERS: (F.mse_loss, examples_in),
    MAPS: (F.cross_entropy, pixels_in),
    BOXES: (no_loss, examples_in),
    LANGUAGE: (token_cross_entropy, tokens_in),
}
GIVE = f"give task=, one of {', '.join(NAMES)}"


@dataclass(frozen=True)
class Wanted:
    """A task as the user asks for it; validated on construction.

    Attributes:
        kind: one of :data:`NAMES`, or ``auto``: found from targets and outputs.
        metric: a name, dotted path, callable or :class:`~amc.evaluation.metrics.Metric`, see
            :func:`amc.evaluation.catalogue.metric_of`; ``None``: the task's usual one.
        loss: name of a function in ``torch.nn.functional``, dotted path, or callable of (outputs, targets) that gives
            the mean loss; ``None``: the task's usual one.
        output: which of the network's outputs is judged: a key, a place, or ``None``: found by itself, see
            :func:`amc.evaluation.judged.picked`.
        metric_arguments: of the metric.

    Raises:
        AmcError: an unknown task, or a custom one without a loss.
    """

    kind: str = AUTO
    metric: str | Metric | Callable[..., Any] | None = None
    loss: str | Loss | None = None
    output: Output = None
    metric_arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("task", self.kind, (AUTO, *NAMES))
        if self.kind == CUSTOM and self.loss is None:
            raise AmcError("task=custom: needs a loss; give loss=, a function of (outputs, targets)")

    @property
    def is_usual(self) -> bool:
        """Whether labelled images are sorted into classes by logits, with top-1 and cross-entropy."""
        nothing = self.metric is None and self.loss is None and self.output is None
        return self.kind in (AUTO, CLASSES) and nothing

    def updated(self, **given: Any) -> Wanted:
        """The same with those of its attributes that are not ``None``."""
        return replace(self, **{key: value for key, value in given.items() if value is not None})

    def criterion(self, kind: str, outputs: Any, val: Examples, dense: nn.Module) -> Criterion:
        """What predictions of a task of this kind are judged by.

        Args:
            kind: one of :data:`NAMES`.
            outputs: the judged ones of a few examples.
            dense: the network, from which ``divergence`` is measured.
            val: validation examples, prepared.

        Raises:
            AmcError: there is no such metric or loss.
        """
        loss, share = LOSSES.get(kind, (None, examples_in))
        if self.loss is not None:
            loss = _loss_of(self.loss)
        if loss is None:
            raise AmcError(f"task={kind}: needs a loss; give loss=, a function of (outputs, targets)")
        if self.metric == DIVERGENCE:
            judged = Criterion(loss=loss, kind=kind, output=self.output, share=share)
            return replace(judged, metric=divergence(dense, judged))
        wanted = USUAL.get(kind, "loss") if self.metric is None else self.metric
        metric = metric_of(wanted, Facts(kind, outputs, val.answers, self.metric_arguments))
        return Criterion(metric, loss, kind, self.output, share)


def wanted_of(task: str | Wanted, **given: Any) -> Wanted:
    """A task from its name and what else was given."""
    return (task if isinstance(task, Wanted) else Wanted(AUTO)).updated(
        kind=None if isinstance(task, Wanted) else task, **given
    )


def wanted_from(config: Mapping[str, Any]) -> Wanted:
    """A task from its section of the configuration. Raises ``AmcError`` for one that can't be."""
    output = config["output"]
    kind: Kind = (
        Whole(low=0, high=MOST_OUTPUTS) if isinstance(output, int) else Text(also=(None,), what="a key or a place")
    )
    kind.check("task.output", output)
    return Wanted(config["name"], config["metric"], config["loss"], output, dict(config["metric_arguments"]))


def check_loss(loss: str | Loss | None) -> None:
    """Raises ``AmcError`` if there is no such loss."""
    if loss is not None:
        _loss_of(loss)


def _loss_of(given: str | Loss) -> Loss:
    if not isinstance(given, str):
        return given
    known = getattr(F, given, None) if given.isidentifier() and not given.startswith("_") else None
    if known is not None and callable(known):
        found: Loss = known
        return found
    return find_callable(
        "task.loss", given, "give a function of torch.nn.functional, such as l1_loss, or a dotted path"
    )


def kind_of(examples: Examples, outputs: Any, name: str = "train") -> str:
    """The kind of task that targets and judged outputs are of.

    Raises:
        AmcError: targets that fit no task, or several; says what to do.
    """
    targets = examples.targets if isinstance(examples, ExampleSet) else examples.answers
    if isinstance(targets, tuple) and targets and isinstance(targets[0], Mapping) and "boxes" in targets[0]:
        return BOXES
    if not isinstance(outputs, Tensor):
        raise AmcError(f"task: the network returns {structure(outputs)}; {GIVE}, and output=, one of its parts")
    if targets is None:
        return _without_targets(examples, outputs)
    if not isinstance(targets, Tensor):
        raise AmcError(f"{name}: targets are {structure(targets)}; {GIVE}")
    return _whole(targets, outputs, name) if not targets.is_floating_point() else _real(targets, outputs, name)


def _without_targets(examples: Examples, outputs: Tensor) -> str:
    raw = examples.raw
    if isinstance(raw, Tensor) and raw.is_floating_point() and raw.shape[1:] == outputs.shape[1:]:
        return NUMBERS  # the inputs are to be given back
    if outputs.ndim == 3 and tokens_of(examples) is not None:
        return LANGUAGE
    raise AmcError(f"task: there are no targets; {GIVE}, or examples with targets")


def _whole(targets: Tensor, outputs: Tensor, name: str) -> str:
    if targets.ndim == 1:
        return CLASSES
    if outputs.ndim == 3 and targets.shape[1:] == outputs.shape[1:2]:
        return LANGUAGE
    if outputs.ndim == 4 and targets.shape[-2:] == outputs.shape[-2:]:
        return MAPS
    return _marks(targets, outputs, name)


def _real(targets: Tensor, outputs: Tensor, name: str) -> str:
    binary = bool(((targets == 0) | (targets == 1)).all())
    if binary and targets.ndim == 2 and targets.shape[1] > 1:
        return _marks(targets, outputs, name)
    if targets[0].numel() == outputs[0].numel():
        return NUMBERS
    class_indices(targets, len(targets), name)  # refuses them, and says what to do
    raise AmcError(f"{name}: targets {list(targets.shape)} and outputs {list(outputs.shape)} fit no task; {GIVE}")


def _marks(targets: Tensor, outputs: Tensor, name: str) -> str:
    """Several labels of an example, 0 or 1."""
    if targets.ndim == 2 and targets.shape[1:] == outputs.shape[1:] and not is_one_hot(targets):
        return SEVERAL
    class_indices(targets, len(targets), name)
    raise AmcError(f"{name}: targets {list(targets.shape)} and outputs {list(outputs.shape)} fit no task; {GIVE}")
