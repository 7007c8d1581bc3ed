from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from amc.core.errors import AmcError
from amc.core.types import Metrics, PruningPlan
from amc.data import ImageSet
from amc.evaluation.evaluator import Evaluation, Evaluator
from amc.evaluation.racing import StopRule
from amc.pruning.groups import trace
from amc.pruning.pruner import Pruner
from amc.pruning.surgery import Ranking, Recover, Surgeon
from amc.task.method import Method
from amc.task.problem import assemble
from amc.task.settings import Settings
from amc.task.task import Task
from tests.support import nets

IMAGES = torch.randn(30, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SET = ImageSet(IMAGES, torch.arange(30) % 4, num_classes=4)


def identity_ranking(surgeon: Surgeon, model: nn.Module) -> Ranking:
    return {g.name: np.arange(g.channels) for g in trace(model, IMAGES) if g.frozen is None}


def evaluator(model: nn.Module, recover: Recover = lambda small, kept: None, **kwargs: object) -> Evaluator:
    surgeon = Surgeon(model, trace(model, IMAGES))
    settings = {"batch_size": 8, "precision": "fp32", **kwargs}
    pruner = Pruner(surgeon.groups, surgeon, identity_ranking(surgeon, model), recover)
    return Evaluator(pruner, SET, Evaluation(**settings))  # type: ignore[arg-type]


def plan_for(model: nn.Module, **kept: int) -> PruningPlan:
    names = {"stem": "features.0.0", "first": "features.1.conv1", "last": "features.2.conv1"}
    return PruningPlan.make(trace(model, IMAGES), {names[k]: n for k, n in kept.items()})


@torch.no_grad()
def by_hand(model: nn.Module) -> Metrics:
    logits = model.eval()(IMAGES)
    accuracy = float((logits.argmax(1) == SET.labels).double().mean())
    return Metrics(accuracy, float(F.cross_entropy(logits, SET.labels)), len(SET))


def test_dense_metrics_are_the_models_own() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    dense, expected = evaluator(model).dense, by_hand(model)
    assert (dense.score, dense.images) == (expected.score, 30)
    assert dense.loss == pytest.approx(expected.loss, rel=1e-4)


def test_a_plan_is_cut_recovered_and_scored() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    seen = []

    def recover(small: nn.Module, kept: object) -> None:
        seen.append((small.features[0][0].out_channels, small.features[1].conv1.out_channels))
        small.fc.weight.data.mul_(-1)

    plan = plan_for(model, stem=5, first=2)
    metrics = evaluator(model, recover)(plan)
    small = Surgeon(model, trace(model, IMAGES)).cut({"features.0.0": np.arange(5), "features.1.conv1": np.arange(2)})
    small.fc.weight.data.mul_(-1)
    expected = by_hand(small)
    assert seen == [(5, 2)]
    assert metrics.score == expected.score
    assert metrics.loss == pytest.approx(expected.loss, rel=1e-4)
    assert metrics.seconds.keys() == {"cut", "recovery", "forward"}


def test_a_plan_seen_before_is_not_evaluated_again() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    calls = []
    evaluate = evaluator(model, lambda small, kept: calls.append(1))
    first = evaluate(plan_for(model, stem=5))
    again = evaluate(plan_for(model, stem=5))
    assert again == first
    assert len(calls) == 1
    assert dict(again.seconds) == {}
    evaluate(plan_for(model, stem=4))
    assert len(calls) == 2
    known = Metrics(0.5, 1.0, 30)
    evaluate.remember({plan_for(model, stem=3): known})
    assert evaluate(plan_for(model, stem=3)) == known
    assert len(calls) == 2


def test_the_original_is_untouched() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    before = copy.deepcopy(model.state_dict())
    evaluate = evaluator(model, precision="bf16")
    evaluate(plan_for(model, stem=3))
    pruned = evaluate.pruner.cut(plan_for(model, stem=3))
    assert all(torch.equal(value, before[n]) for n, value in model.state_dict().items())
    assert {p.dtype for p in pruned.parameters()} == {torch.float32}
    assert isinstance(pruned.features[0][1], nn.BatchNorm2d)  # what is fine-tuned later keeps its norms
    assert pruned.features[0][0].out_channels == 3


def test_a_plan_seen_in_full_computes_only_what_others_did_not() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    evaluate = evaluator(model)
    changed = 2 * 30 * (64 * 9 * (8 * 2 + 2 * 8) + 8 * 4)  # the last block with 2 inner channels, and the classifier

    def flops(last: int) -> int:
        plan = plan_for(model, last=last)
        with FlopCounterMode(display=False) as counted:
            evaluate.in_full(plan)
        return int(counted.get_total_flops())

    flops(last=3)
    assert flops(last=2) == changed
    evaluate.free_memory()
    assert flops(last=1) > 2 * changed


def test_precision_follows_hardware_and_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    assert evaluator(model, precision="fp32").dtype == torch.float32
    assert evaluator(model, precision="bf16").dtype == torch.bfloat16
    monkeypatch.setattr("amc.evaluation.evaluator.has_fast_bf16", lambda device: False)
    assert evaluator(model, precision="auto").dtype == torch.float32
    monkeypatch.setattr("amc.evaluation.evaluator.has_fast_bf16", lambda device: True)
    monkeypatch.setattr("amc.evaluation.evaluator.BF16_TOLERANCE", 1.1)  # any difference is small
    assert evaluator(model, precision="auto").dtype == torch.bfloat16
    monkeypatch.setattr("amc.evaluation.evaluator.BF16_TOLERANCE", 0.0)  # no difference is
    chosen = evaluator(model, precision="auto")
    assert chosen.dtype == torch.float32
    assert chosen.dense.score == by_hand(model).score


def test_outputs_that_are_not_finite_are_wrong_answers() -> None:
    model = nets.enliven(nets.residual(), IMAGES)

    def break_first_class(small: nn.Module, kept: object) -> None:
        small.fc.bias.data[0] = float("nan")

    assert evaluator(model, break_first_class)(plan_for(model, stem=7)).score == 0.0


def test_norms_that_cannot_be_folded_stay() -> None:
    """A convolution whose output is read twice must not absorb the norm behind it."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn, self.fc = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            made = self.conv(x)
            return self.fc((self.bn(made) + made).mean((2, 3)))

    model = nets.enliven(Twice(), IMAGES)
    dense, expected = evaluator(model).dense, by_hand(model)
    assert dense.loss == pytest.approx(expected.loss, rel=1e-4)


def test_assemble_puts_the_parts_together() -> None:
    task = Task("residual", nets.enliven(nets.residual(), IMAGES), SET, SET)
    losses = {}
    for recovery in ("none", "bn", "least_squares", "sequential"):
        problem = assemble(task, Method("l1", recovery, 1, calibration_images=20), Settings(images=10), None)
        plan = PruningPlan.make(problem.network.groups, {"features.1.conv1": 2, "features.2.conv1": 2})
        assert problem.evaluator.dense.images == 10
        losses[recovery] = problem.evaluator(plan).loss
    assert len(set(losses.values())) == 4
    with pytest.raises(AmcError, match="recovery=magic: unknown; give one of none, bn, least_squares, sequential"):
        Method("l1", "magic")


def spoiled(kept_to_spoil: int) -> Recover:
    """A recovery that makes every answer of a plan wrong: the answer is the class after the label's."""

    def recover(small: nn.Module, kept: object) -> None:
        small.fc.weight.data.zero_()
        small.fc.bias.data.zero_()
        small.fc.bias.data[3 if small.features[0][0].out_channels == kept_to_spoil else 0] = 1

    return recover


def test_a_plan_surely_worse_is_stopped_and_not_seen_again() -> None:
    """Constant answers on labels 0 … 3: 'class 0' is right on the first images, 'class 3' on the last."""
    model = nets.enliven(nets.residual(), IMAGES)
    images = ImageSet(IMAGES, torch.tensor([0] * 24 + [3] * 6), num_classes=4)
    surgeon = Surgeon(model, trace(model, IMAGES))
    calls: list[int] = []

    def recover(small: nn.Module, kept: object) -> None:
        calls.append(1)
        spoiled(5)(small, kept)

    pruner = Pruner(surgeon.groups, surgeon, identity_ranking(surgeon, model), recover)
    rule = StopRule(min_images=8)

    def fresh() -> Evaluator:
        return Evaluator(pruner, images, Evaluation(8, "fp32", early_stop=rule))

    evaluate = fresh()
    assert evaluate.state() == {}
    first = evaluate(plan_for(model, stem=6))
    assert (first.score, first.images) == (0.8, 30)
    worse = evaluate(plan_for(model, stem=5))
    assert (worse.score, worse.images) == (0.0, 8)  # 0.8 − 1 is no fraction
    assert evaluate(plan_for(model, stem=5)) == worse
    assert len(calls) == 2
    resumed = fresh()
    resumed.load_state(evaluate.state())
    assert resumed(plan_for(model, stem=5)) == worse
    alone = fresh()(plan_for(model, stem=5))
    assert (alone.score, alone.images) == (0.2, 30)
    in_full = evaluate.in_full(plan_for(model, stem=5))
    assert (in_full.score, in_full.images) == (0.2, 30)
    assert len(calls) == 5
    assert evaluate.in_full(plan_for(model, stem=6)) == first
    assert len(calls) == 5
    unhurried = Evaluator(pruner, images, Evaluation(8, "fp32"))
    unhurried.load_state(evaluate.state())
    unhurried(plan_for(model, stem=6))
    assert unhurried(plan_for(model, stem=5)) == Metrics(alone.score, pytest.approx(alone.loss), 30)
