"""Which task examples and outputs are of, and their targets as it takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from amc.core.errors import AmcError
from amc.data import ExampleSet, ImageSet
from amc.evaluation.losses import IGNORED, token_cross_entropy
from amc.task.kinds import Wanted, kind_of, wanted_from, wanted_of
from amc.task.targets import prepared
from amc.task.task import as_examples

X, TOKENS = torch.zeros(6, 3, 4, 4), torch.arange(30).view(6, 5)
BOXES = tuple({"boxes": torch.ones(1, 4), "labels": torch.ones(1).long()} for _ in range(6))
DENSE = torch.nn.Identity()
MANY = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).repeat(3, 1)

KINDS: dict[str, tuple[ExampleSet, Any]] = {
    "classification": (ExampleSet(X, torch.arange(6)), torch.zeros(2, 6)),
    "multilabel": (ExampleSet(X, MANY), torch.zeros(2, 3)),
    "regression": (ExampleSet(X, torch.randn(6)), torch.zeros(2, 1)),
    "segmentation": (ExampleSet(X, torch.ones(6, 4, 4).long()), torch.zeros(2, 3, 4, 4)),
    "detection": (ExampleSet(X, BOXES), [{}, {}]),
    "language_modelling": (ExampleSet({"input_ids": TOKENS}), torch.zeros(2, 5, 30)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_task_is_found(kind: str) -> None:
    examples, outputs = KINDS[kind]
    assert kind_of(examples, outputs) == kind
    ready = prepared(examples, kind, outputs, "train")
    again = prepared(ready, kind, outputs, "train")
    assert ready.fingerprint() == again.fingerprint()


def test_an_autoencoder_gives_its_inputs_back() -> None:
    assert kind_of(ExampleSet(X), X[:2]) == "regression"


WRONG: dict[str, tuple[Callable[[], ExampleSet], Any, str]] = {
    "one-hot": (lambda: ExampleSet(X, F.one_hot(torch.arange(6))), torch.zeros(2, 6), "one-hot, .*or task=multilabel"),
    "floats for classes": (lambda: ExampleSet(X, torch.arange(6).float()), torch.zeros(2, 6), "give labels.long"),
    "no targets": (lambda: ExampleSet(X), torch.zeros(2, 6), "there are no targets; give task="),
    "a dict": (lambda: ExampleSet(X, {"a": torch.zeros(6)}), torch.zeros(2, 6), "targets are a dict"),
    "no tensor": (lambda: ExampleSet(X, torch.zeros(6)), ({}, {}), "the network returns a tuple"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_fits_no_task_is_one_line(kind: str) -> None:
    make, outputs, message = WRONG[kind]
    with pytest.raises(AmcError, match=message) as caught:
        kind_of(make(), outputs)
    assert "\n" not in str(caught.value)


def test_numbers_take_the_outputs_shape() -> None:
    ready = prepared(ExampleSet(X, torch.arange(6)), "regression", torch.zeros(2, 1), "val")
    assert torch.equal(ready.answers, torch.arange(6.0)[:, None])  # type: ignore[arg-type]
    with pytest.raises(AmcError, match=r"val: targets are \[6, 2\], .*give as many numbers"):
        prepared(ExampleSet(X, torch.zeros(6, 2)), "regression", torch.zeros(2, 1), "val")


def test_masks_lose_what_belongs_to_no_class() -> None:
    masks = torch.ones(6, 1, 4, 4).to(torch.uint8)
    masks[:, :, 0] = 255
    ready = prepared(ExampleSet(X, masks), "segmentation", torch.zeros(2, 3, 4, 4), "val").answers
    assert isinstance(ready, torch.Tensor)
    assert ready.shape == (6, 4, 4)
    assert (ready[:, 0] == IGNORED).all()
    for wrong, message in ((masks + 2, "masks hold 1 … 3, the network has 3"), (masks[..., :2], "resize them")):
        with pytest.raises(AmcError, match=message):
            prepared(ExampleSet(X, wrong), "segmentation", torch.zeros(2, 3, 4, 4), "val")


def test_padding_is_not_judged() -> None:
    mask = torch.ones(6, 5)
    mask[0, 3:] = 0
    examples = ExampleSet({"input_ids": TOKENS, "attention_mask": mask.long()})
    ready = prepared(examples, "language_modelling", torch.zeros(2, 5, 30), "train").answers
    assert isinstance(ready, torch.Tensor)
    assert ready[0].tolist() == [0, 1, 2, IGNORED, IGNORED]
    assert torch.equal(ready[1:], TOKENS[1:])
    nothing = ExampleSet({"input_ids": TOKENS}, torch.full((6, 5), IGNORED))
    with pytest.raises(AmcError, match="no token is left"):
        prepared(nothing, "language_modelling", torch.zeros(2, 5, 30), "train")


def test_boxes_need_their_labels() -> None:
    wrong = ({"boxes": torch.ones(2, 4), "labels": torch.ones(1).long()}, *BOXES[1:])
    with pytest.raises(AmcError, match="target 0 is a dict"):
        prepared(ExampleSet(X, wrong), "detection", [{}, {}], "val")


def test_loaders_become_the_set_that_fits() -> None:
    labelled = DataLoader(TensorDataset(X, torch.arange(6)), 4)
    assert isinstance(as_examples(labelled), ImageSet)
    assert isinstance(as_examples(labelled, kind="regression"), ExampleSet)
    assert isinstance(as_examples(DataLoader(TensorDataset(TOKENS, torch.arange(6)), 4)), ExampleSet)
    with pytest.raises(AmcError, match="val: labels: -1 … 4 for 5 classes"):
        as_examples(DataLoader(TensorDataset(X, torch.arange(6) - 1), 4), "val")


def test_loss_and_metric_by_name() -> None:
    outputs, val = torch.zeros(2, 1), ExampleSet(X, torch.randn(6, 1))
    usual = Wanted("regression").criterion("regression", outputs, val, DENSE)
    assert (usual.loss, usual.metric.name, usual.kind) == (F.mse_loss, "R2", "regression")
    named = wanted_of("regression", metric="mae", loss="l1_loss", output="y").criterion(
        "regression", outputs, val, DENSE
    )
    assert (named.loss, named.metric.name, named.output) == (F.l1_loss, "MAE", "y")
    tokens = Wanted().criterion("language_modelling", torch.zeros(2, 5, 30), ExampleSet(TOKENS, TOKENS), DENSE)
    assert (tokens.loss, tokens.metric.name) == (token_cross_entropy, "perplexity")
    own = Wanted("custom", loss="math.dist").criterion("custom", outputs, val, DENSE)
    assert (own.loss.__name__, own.metric.endless) == ("dist", True)


def test_wrong_tasks_are_one_line() -> None:
    with pytest.raises(AmcError, match=r"task=\W?sorting\W?: unknown"):
        Wanted("sorting")
    with pytest.raises(AmcError, match="task=custom: needs a loss"):
        Wanted("custom")
    section = {"name": "auto", "metric": None, "metric_arguments": {}, "loss": None, "output": None}
    assert wanted_from(section).is_usual
    with pytest.raises(AmcError, match=r"task.output=1.5: give a key"):
        wanted_from({**section, "output": 1.5})
    with pytest.raises(AmcError, match=r"task\.loss=nope: unknown"):
        Wanted("regression", loss="nope").criterion("regression", torch.zeros(2, 1), ExampleSet(X, X), DENSE)
