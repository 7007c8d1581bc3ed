"""What a network returns, against what is needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amc.core.errors import AmcError
from amc.data import ImageSet
from amc.evaluation.metrics import Criterion, Metric
from amc.evaluation.outputs import check_labels, check_outputs, check_trainable, looks_like_probabilities

LABELS = torch.arange(4)
IMAGES = ImageSet(torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0)), LABELS, 4)


class Net(nn.Module):
    """Four logits, handed out as ``give`` says."""

    def __init__(self, give: Callable[[Tensor], Any] = lambda logits: logits, *, when_training: bool = False) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 4)
        self._give, self._when_training = give, when_training

    def forward(self, x: Tensor) -> Any:
        logits = self.fc(x.flatten(1))
        return self._give(logits) if self.training or not self._when_training else logits


WRONG: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "tuple, logits last": (lambda o: (o[:, :, None], o), r"\[2, 4, 1\] in a tuple \(.*\), of which output= chooses"),
    "numbers alone": (lambda o: (1, 2), r"a tuple \(int, int\); .*: choose one of its parts by output="),
    "nothing": (lambda o: None, "a NoneType; "),
    "array": (lambda o: o.numpy(), "an? ndarray"),
    "maps": (lambda o: o[:, :, None, None], r"the shape \[2, 4, 1, 1\] for 2 examples; .*: add \.flatten\(1\)"),
    "segmentation": (lambda o: o[:, :, None].expand(-1, -1, 9), r"\[2, 4, 9\] .*; for an output of"),
    "one logit": (lambda o: o[:, :1], r"a single number for each example; .*torch\.cat\(\[torch\.zeros_like\(z\), z\]"),
    "a number each": (lambda o: o[:, 0], r"the shape \[2\] .*, a row for each example"),
    "mean": (lambda o: o.mean(0, keepdim=True), r"the shape \[1, 4\] for 2 examples"),
    "scalar": (lambda o: o.sum(), r"the shape \[\]"),
    "classes": (lambda o: o.argmax(1), r"the shape \[2\]"),
    "whole numbers": (lambda o: o.long(), "torch.int64; .* of floating-point numbers"),
    "complex": (lambda o: o.to(torch.complex64), "torch.complex64"),
    "NaN": (lambda o: o * torch.nan, "outputs of the network: NaN"),
    "infinite": (lambda o: o / 0, "outputs of the network: NaN or infinite"),
    "its own mistake": (lambda o: o.nope, r"can't run on inputs of 1×4×4 \(AttributeError"),
}  # fmt: skip


FOUND: dict[str, Callable[[Tensor], Any]] = {
    "tuple": lambda o: (o, o[:, :1]),
    "list": lambda o: [o],
    "dict": lambda o: {"f": o[..., None], "out": o},
    "model output": lambda o: OrderedDict(loss=None, logits=o),
    "object": lambda o: SimpleNamespace(logits=o),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", FOUND)
def test_logits_are_found_by_themselves(kind: str, training: bool) -> None:
    assert check_outputs(Net(FOUND[kind]), IMAGES, training=training).shape == (2, 4)


def test_another_part_is_chosen_by_key_or_place() -> None:
    pair = Net(lambda logits: (logits[:, :, None], logits))
    assert check_outputs(pair, IMAGES, Criterion(output=1)).shape == (2, 4)
    with pytest.raises(AmcError, match=r"task.output=head: the network returns a tuple .*; give one of its parts"):
        check_outputs(pair, IMAGES, Criterion(output="head"))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", WRONG)
def test_wrong_outputs_are_one_line(kind: str, training: bool) -> None:
    give, message = WRONG[kind]
    with pytest.raises(AmcError, match=message) as caught:
        check_outputs(Net(give), IMAGES, training=training)
    assert "\n" not in str(caught.value)


def test_the_classes_are_counted_and_the_network_is_left_alone() -> None:
    model, state = Net().train(), torch.get_rng_state()
    model.fc = nn.Sequential(nn.Dropout(), model.fc)  # type: ignore[assignment]
    for training in (False, True):
        assert check_outputs(model, IMAGES, training=training).shape == (2, 4)
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_batch_norm_keeps_its_statistics_when_training_is_tried() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(16, 4))
    before = model.get_buffer("0.running_mean").clone()
    check_trainable(model, IMAGES)
    assert torch.equal(model.get_buffer("0.running_mean"), before)


def test_what_only_training_would_show() -> None:
    auxiliary = Net(lambda logits: (logits.argmax(1), 1), when_training=True)
    check_outputs(auxiliary, IMAGES)
    with pytest.raises(AmcError, match="in training mode it returns a tuple"):
        check_trainable(auxiliary, IMAGES)
    with pytest.raises(AmcError, match="no parameter may change"):
        check_trainable(Net().requires_grad_(False), IMAGES)
    with pytest.raises(AmcError, match="labels go up to 3, the network has 2 outputs"):
        check_trainable(Net(lambda logits: logits[:, :2]), IMAGES)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS + 1, r"val: labels go up to 4, the network has 4 outputs, for 0 … 3; they start at 1: give labels - 1"),
        (LABELS * 3, r"val: labels go up to 9, .*; give a network with an output for each class"),
    ],
)
def test_labels_beyond_the_outputs(labels: Tensor, message: str) -> None:
    check_labels(4, {"train": IMAGES})
    with pytest.raises(AmcError, match=message):
        check_labels(4, {"train": IMAGES, "val": ImageSet(IMAGES.images, labels, 10)})


def test_a_softmax_is_seen() -> None:
    logits = torch.randn(3, 4)
    assert looks_like_probabilities(logits.softmax(1))
    assert not looks_like_probabilities(logits.log_softmax(1))
    assert not looks_like_probabilities(logits)


def squared_error(outputs: Tensor, targets: Tensor, reduction: str) -> Tensor:
    return F.mse_loss(outputs, targets[:, None].float(), reduction=reduction)


def mean_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs[:, 0] - targets).abs().mean()


def test_other_tasks_have_other_outputs() -> None:
    close = Metric("mae", mean_error, larger_is_better=False, high=10.0, per_example=False)
    one = Net(lambda logits: logits[:, :1])
    assert check_outputs(one, IMAGES, Criterion(close, squared_error)).shape == (2, 1)
    with pytest.raises(AmcError, match=r"task: loss or metric 'mae' fails for outputs \[2, 1\] and targets \[2\]"):
        check_outputs(one, IMAGES, Criterion(close, lambda outputs, targets, reduction: outputs @ outputs))
    with pytest.raises(AmcError, match=r"returns a tuple .*; needed is one tensor \[n, …\]"):
        check_outputs(Net(lambda logits: (1, 2)), IMAGES, Criterion(close, squared_error))
