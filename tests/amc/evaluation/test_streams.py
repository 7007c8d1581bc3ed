"""Metrics that add up batches, against their definitions and torchmetrics."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from amc.evaluation.losses import IGNORED, each_loss, mean_loss, pixels_in, token_cross_entropy, tokens_in
from amc.evaluation.streams import MicroF1, Moments, Overlap, among_first, explained, mean_absolute, root_mean_squared


def test_overlap_by_arithmetic() -> None:
    # Predicted 0 0 1 1, true 0 1 1 -: class 0: 1 of 2, class 1: 1 of 2; class 2 is nowhere.
    outputs = F.one_hot(torch.tensor([[[0, 0], [1, 1]]]), 3).movedim(-1, 1).float()
    overlap = Overlap()
    overlap.update(outputs, torch.tensor([[[0, 1], [1, IGNORED]]]))
    assert overlap.compute() == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert Overlap().compute() == 0


def test_overlap_is_torchmetrics() -> None:
    theirs = pytest.importorskip("torchmetrics", reason="the extra [metrics] is not installed")
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(6, 4, 5, 5, generator=generator)
    masks = torch.randint(0, 4, (6, 5, 5), generator=generator)
    masks[:, 0] = IGNORED
    ours = Overlap()
    for part in (slice(4), slice(4, 6)):
        ours.update(outputs[part], masks[part])
    wanted = theirs.JaccardIndex(task="multiclass", num_classes=4, ignore_index=IGNORED)(outputs.softmax(1), masks)
    assert ours.compute() == pytest.approx(float(wanted), rel=1e-5)


def test_micro_f1_by_arithmetic() -> None:
    found = MicroF1()
    found.update(torch.tensor([[1.0, -1.0], [1.0, 1.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
    assert found.compute() == pytest.approx(2 * 2 / (3 + 3))
    assert MicroF1().compute() == 1


def test_errors_of_numbers_by_arithmetic_whatever_the_batches() -> None:
    outputs, targets = torch.tensor([[1.0], [2.0], [6.0]]), torch.tensor([[1.0], [4.0], [4.0]])
    for parts in ((slice(3),), (slice(1), slice(1, 3))):
        # errors 0, 2, 2; the targets' mean is 3, their squared deviations 4 + 1 + 1
        for of, wanted in ((mean_absolute, 4 / 3), (root_mean_squared, (8 / 3) ** 0.5), (explained, 1 - 8 / 6)):
            sums = Moments(of)
            for part in parts:
                sums.update(outputs[part], targets[part])
            assert sums.compute() == pytest.approx(wanted)


def test_among_the_first() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [torch.nan, 0.0, 1.0]])
    assert among_first(2)(logits, torch.tensor([1, 2, 2])).tolist() == [True, False, False]
    assert among_first(5)(logits[:2], torch.tensor([1, 2])).all()


def test_the_next_token_is_judged_where_there_is_one() -> None:
    logits = torch.randn(2, 4, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, 2, 3, IGNORED], [1, 5, IGNORED, IGNORED]])
    judged = [(0, 0, 2), (0, 1, 3), (1, 0, 5)]  # sequence, place, next token
    each = [-float(logits[i, t].log_softmax(0)[label]) for i, t, label in judged]
    assert tokens_in(labels) == 3
    assert float(mean_loss(token_cross_entropy, logits, labels)) == pytest.approx(sum(each) / 3)
    assert each_loss(token_cross_entropy, logits, labels).tolist() == pytest.approx([sum(each[:2]) / 2, each[2]])


def test_a_loss_without_reduction_is_the_mean() -> None:
    assert float(mean_loss(lambda outputs, targets: (outputs - targets).mean(), torch.ones(2), torch.zeros(2))) == 1
    assert pixels_in(torch.tensor([[0, IGNORED], [1, 1]])) == 3
