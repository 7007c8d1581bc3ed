"""Metrics by name, of torchmetrics, and of the user's own."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from amc.core.errors import AmcError
from amc.evaluation.catalogue import OWN, SHORT, Facts, check_metric, metric_of
from amc.evaluation.metrics import Metric

LOGITS = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
CLASSES = torch.randint(0, 3, (40,), generator=torch.Generator().manual_seed(1))
FACTS = Facts("classification", LOGITS[:2], CLASSES)


def value(metric: Metric, outputs: Any, targets: Any) -> float:
    tally = metric.tally()
    for start in range(0, len(outputs), 16):
        tally.update(outputs[start : start + 16], targets[start : start + 16])
    found = tally.compute()
    return float(found.float().mean()) if isinstance(found, Tensor) and found.ndim else float(found)


@pytest.mark.parametrize("name", OWN)
def test_every_name_has_a_scale_and_needs_nothing_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    metric = metric_of(name, Facts("regression", torch.zeros(2, 1), torch.tensor([[0.0], [4.0]])))
    assert 0 <= metric.value(0.5) <= 1


def test_errors_are_measured_by_the_targets_spread() -> None:
    facts = Facts("regression", torch.zeros(2, 1), torch.tensor([[0.0], [4.0]]))  # standard deviation 2
    assert metric_of("mae", facts).value(2.0) == 0.5
    assert metric_of("mse", facts).value(4.0) == 0.5


def test_perplexity_is_of_the_loss() -> None:
    metric = metric_of("perplexity", FACTS)
    assert metric.of_loss is not None
    assert metric.of_loss(math.log(20)) == pytest.approx(20)
    assert metric.metrics(20.0, math.log(20), 3).value == pytest.approx(20)
    assert metric.endless


@pytest.mark.parametrize("name", ["f1", "auroc", "CohenKappa", "precision"])
def test_torchmetrics_are_given_what_they_want(name: str) -> None:
    theirs = pytest.importorskip("torchmetrics", reason="the extra [metrics] is not installed")
    metric = metric_of(name, FACTS)
    made = getattr(theirs, SHORT[name][0] if name in SHORT else name)(task="multiclass", num_classes=3)
    assert value(metric, LOGITS, CLASSES) == pytest.approx(float(made(LOGITS.softmax(1), CLASSES)), rel=1e-5)
    assert not metric.per_example


def test_several_labels_are_probabilities_to_torchmetrics() -> None:
    theirs = pytest.importorskip("torchmetrics", reason="the extra [metrics] is not installed")
    logits, labels = LOGITS / 9, (LOGITS > 0.5).float()
    metric = metric_of("f1", Facts("multilabel", logits[:2], labels))
    wanted = theirs.F1Score(task="multilabel", num_labels=3, average="macro")(logits.sigmoid(), labels.long())
    assert value(metric, logits, labels) == pytest.approx(float(wanted))


def test_an_error_of_torchmetrics_has_its_direction() -> None:
    pytest.importorskip("torchmetrics", reason="the extra [metrics] is not installed")
    metric = metric_of("MeanAbsoluteError", Facts("regression", torch.zeros(2, 1), torch.tensor([[0.0], [2.0]])))
    assert metric.value(0.0) == 1 > metric.value(1.0) == 0.5


def test_boxes_are_found() -> None:
    pytest.importorskip("torchmetrics", reason="the extra [metrics] is not installed")
    pytest.importorskip("pycocotools", reason="the extra [metrics] is not installed")
    boxes = {"boxes": torch.tensor([[0.0, 0.0, 8.0, 8.0]]), "labels": torch.tensor([1])}
    found = [
        {**boxes, "scores": torch.tensor([0.9])},
        {k: v[:0] for k, v in boxes.items()} | {"scores": torch.zeros(0)},
    ]
    metric = metric_of("map50", Facts("detection", found, [boxes] * 2))
    assert value(metric, found, [boxes] * 2) == pytest.approx(0.5, abs=0.01)  # one of two is found


def mine(outputs: Tensor, targets: Tensor, power: int = 1) -> Tensor:
    return (outputs.argmax(1) == targets).float().mean() ** power


class Counting:
    higher_is_better, plot_lower_bound, plot_upper_bound = False, 0.0, None

    def __init__(self) -> None:
        self.wrong = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self.wrong += int((outputs.argmax(1) != targets).sum())

    def compute(self) -> int:
        return self.wrong


def test_of_one_s_own() -> None:
    right = float((LOGITS.argmax(1) == CLASSES).float().mean())
    squared = Facts("classification", LOGITS[:2], CLASSES, {"power": 2})
    assert value(metric_of(mine, squared), LOGITS, CLASSES) == pytest.approx(right**2)
    assert metric_of(f"{__name__}.mine" if __name__ in sys.modules else mine, FACTS).name == "mine"
    for given in (Counting, Counting()):
        metric = metric_of(given, FACTS)
        assert [value(metric, LOGITS, CLASSES) for _ in range(2)] == [round(40 * (1 - right))] * 2
        assert metric.value(0) == 1 > metric.value(1)
    exact = Metric("exact", mine, per_example=False)
    assert metric_of(exact, FACTS) is exact


WRONG = {
    "topp": "task.metric=topp: unknown; give one of top1",
    "NoSuchMetric": "torchmetrics has no NoSuchMetric",
    "math.nope": "math has no callable 'nope'",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_there_is_not_is_one_line(name: str) -> None:
    if "." not in name:
        pytest.importorskip("torchmetrics", reason="the extra [metrics] is not installed")
    with pytest.raises(AmcError, match=WRONG[name]) as caught:
        metric_of(name, FACTS)
    assert "\n" not in str(caught.value)


def test_a_metric_without_a_best_value_is_refused() -> None:
    pytest.importorskip("torchmetrics", reason="the extra [metrics] is not installed")
    facts = Facts("regression", torch.zeros(2, 1), torch.zeros(2, 1), {"data_range": 1.0})
    with pytest.raises(AmcError, match="has no best value"):
        metric_of("image.PeakSignalNoiseRatio", facts)


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(AmcError, match="top1: takes no arguments"):
        metric_of("top1", Facts("classification", LOGITS[:2], CLASSES, {"k": 3}))
    with pytest.raises(AmcError, match="give a function of"):
        metric_of(3, FACTS)  # type: ignore[arg-type]


def test_without_torchmetrics_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(AmcError, match=r"pip install 'amc-pruning\[metrics\]'"):
        metric_of("f1", FACTS)
    check_metric("f1")
    with pytest.raises(AmcError, match=r"task\.metric=nope: unknown"):
        check_metric("nope")
