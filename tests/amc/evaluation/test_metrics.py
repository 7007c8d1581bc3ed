"""A task's metric: its value, and what racing needs to know about it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from amc.core.types import PruningPlan
from amc.data import ImageSet
from amc.evaluation.evaluator import Evaluation, Evaluator
from amc.evaluation.metrics import TOP1, Criterion, Metric
from amc.evaluation.racing import StopRule
from amc.evaluation.scoring import measure
from amc.importance import rank_groups
from amc.pruning.network import trace_network
from amc.pruning.pruner import Pruner
from amc.pruning.surgery import Recover, Surgeon
from tests.support import nets

IMAGES = torch.randn(30, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SET = ImageSet(IMAGES, torch.arange(30) % 4, num_classes=4)
# The share of the classes that are answered at all, which no single example can tell.
VARIETY = Metric(
    "variety", lambda outputs, targets: torch.tensor(outputs.argmax(1).unique().numel() / 4), per_example=False
)


def test_top_1_counts_right_answers_and_no_nan() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [float("nan"), 0.0], [0.0, 3.0]])
    assert TOP1.of is not None
    worth = TOP1.of(logits, torch.tensor([0, 0, 0, 1]))
    assert worth.tolist() == [True, False, False, True]
    found = TOP1.metrics(worth, 0.5, 4)
    assert (found.score, found.loss, found.images) == (0.5, 0.5, 4)


def test_another_range_and_direction_become_a_fraction() -> None:
    error = Metric(
        "error", lambda outputs, targets: torch.tensor(0.0), larger_is_better=False, high=20.0, per_example=False
    )
    assert [error.value(torch.tensor(raw)) for raw in (0.0, 5.0, 20.0, 99.0)] == [1.0, 0.75, 0.0, 0.0]
    with pytest.raises(ValueError, match="no range from 1 to 1"):
        Metric("none", error.of, low=1, high=1)


def test_a_metric_of_all_examples_at_once_is_the_same_whatever_the_batches() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    with torch.no_grad():
        wanted = model.eval()(SET.normalised()).argmax(1).unique().numel() / 4
    found = [measure(model, SET, size, criterion=Criterion(VARIETY)) for size in (7, 30)]
    assert [m.score for m in found] == [wanted, wanted]
    assert found[0].loss == pytest.approx(measure(model, SET, 30).loss)


def answers(*classes: int) -> Recover:
    """A recovery after which each plan in turn answers one class, whatever the image."""
    coming = iter(classes)

    def recover(small: nn.Module, kept: object) -> None:
        small.fc.weight.data.zero_()
        small.fc.bias.data.zero_()
        small.fc.bias.data[next(coming)] = 1

    return recover


@pytest.mark.parametrize(("metric", "images"), [(TOP1, 8), (VARIETY, 30)])
def test_without_values_per_example_no_plan_is_given_up_early(metric: Metric, images: int) -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    network = trace_network(model, IMAGES[:1])
    ranking = rank_groups(network, SET, "l1")
    first, second = (PruningPlan.make(network.groups, {g.name: 3}) for g in network.groups[:2])
    mostly_0 = ImageSet(IMAGES, torch.tensor([0] * 24 + [3] * 6), num_classes=4)
    pruner = Pruner(network.groups, Surgeon(model, network.groups), ranking, answers(0, 3))
    rule = StopRule(min_images=8)
    evaluate = Evaluator(pruner, mostly_0, Evaluation(8, "fp32", early_stop=rule, criterion=Criterion(metric)))
    assert evaluate(first).images == 30
    assert evaluate(second).images == images  # class 3 is wrong on all of the first batch
