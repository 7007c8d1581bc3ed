from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from amc.core.errors import AmcError
from amc.training.distillation import Teacher

X, Y = torch.zeros(2, 1, 1, 1), torch.zeros(2).long()


class Constant(nn.Module):
    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([logits]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(x), -1)


def test_by_arithmetic() -> None:
    # T = 2: the teacher's log-odds 2·ln 3 become ln 3, its answer (¾, ¼); the student's is (½, ½).
    # KL = ¾ ln(¾/½) + ¼ ln(¼/½), times T² = 4; the labels' loss is 1, both count half.
    teacher = Teacher(Constant(2 * math.log(3), 0.0), X[:1], weight=0.5, temperature=2.0, bf16=False)
    loss = teacher.loss(X, Y, torch.zeros(2, 2), torch.tensor(1.0))
    expected = 0.5 * 1 + 0.5 * 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_nothing_to_learn_from_an_equal() -> None:
    teacher = Teacher(Constant(1.0, 0.0), X[:1], weight=1.0, bf16=False)
    logits = torch.tensor([[1.0, 0.0]]).expand(2, 2).clone().requires_grad_()
    loss = teacher.loss(X, Y, logits, torch.tensor(5.0))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-6


def test_it_is_a_copy_in_evaluation_mode_that_does_not_learn() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
    model[1].running_mean.fill_(0.3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    teacher = Teacher(model.eval(), X[:1], weight=1.0, temperature=1.0, bf16=False)
    logits = model(X).detach()
    assert float(teacher.loss(X, Y, logits, torch.tensor(1.0))) == pytest.approx(
        0, abs=1e-6
    )  # folded, the same network
    model[3].weight.data.zero_()
    assert float(teacher.loss(X, Y, logits, torch.tensor(1.0))) == pytest.approx(0, abs=1e-6)
    assert all(torch.equal(model.state_dict()[n], t) for n, t in before.items() if n != "3.weight")


@pytest.mark.parametrize("wrong", [{"weight": 1.5}, {"weight": -0.1}, {"temperature": 0.5}])
def test_refuses(wrong: dict[str, float]) -> None:
    with pytest.raises(AmcError, match="distill"):
        Teacher(Constant(1.0), X[:1], **wrong)  # type: ignore[arg-type]
