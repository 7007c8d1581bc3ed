"""How far outputs have moved, for every task."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from amc.core.errors import AmcError
from amc.data import ExampleSet
from amc.evaluation.metrics import Criterion
from amc.evaluation.readout import Readout
from amc.task.checks import judging
from amc.task.kinds import Wanted
from tests.support.tasks import MADE, made


@pytest.mark.parametrize("task", MADE)
def test_nothing_is_moved_by_nothing(task: str) -> None:
    model, train, _ = made(task)
    sets, criterion = judging(model.eval(), {"train": train, "val": train}, Wanted())
    readout = Readout(criterion)
    dense = readout(model, sets["train"])
    assert readout.distance(dense, dense) == readout.change(dense, dense) == 0
    for parameter in model.parameters():
        parameter.data.mul_(1.1)
    moved = readout(model, sets["train"])
    assert readout.distance(dense, moved) > 0 < readout.change(dense, moved)
    assert readout.unit == ("of the outputs' variance" if task == "regression" else "nats")


def test_numbers_by_arithmetic() -> None:
    readout = Readout(Criterion(kind="regression", loss=F.mse_loss))
    dense, now = torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [4.0]])
    assert readout.distance(dense, now) == 0.5 / 4  # mean squared change 1/2, variance 4
    assert readout.change(dense, now) == pytest.approx((0.5 / 4) ** 0.5)


def test_a_label_is_a_distribution_of_two() -> None:
    readout = Readout(Criterion(kind="multilabel", loss=F.binary_cross_entropy_with_logits))
    rows = readout(nn.Identity(), ExampleSet(torch.zeros(2, 3), torch.zeros(2, 3)))
    assert rows.shape == (6, 2)
    assert rows.exp() == pytest.approx(torch.full((6, 2), 0.5))


def test_padding_is_not_compared() -> None:
    model, train, _ = made("language_modelling")
    sets, criterion = judging(model.eval(), {"train": train, "val": train}, Wanted())
    judged = int((torch.as_tensor(sets["train"].answers)[:, 1:] != -100).sum())
    assert Readout(criterion)(model, sets["train"]).shape == (judged, 40)


def test_an_output_that_is_no_tensor_is_one_line() -> None:
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[int, int]:
            return 1, 2

    with pytest.raises(AmcError, match="the judged output is no tensor"):
        Readout(Criterion(kind="custom", loss=F.mse_loss))(Pair(), ExampleSet(torch.zeros(2, 3)))
