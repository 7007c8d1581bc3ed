"""Divergence from the dense network as a metric."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from amc.data import ExampleSet
from amc.evaluation import from_dense
from amc.evaluation.from_dense import divergence
from amc.evaluation.losses import token_cross_entropy
from amc.evaluation.metrics import Criterion
from amc.evaluation.scoring import measure, score

X = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randint(7, (4, 9), generator=torch.Generator().manual_seed(0))


def pair(outputs: int = 3) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return nn.Linear(6, outputs), nn.Linear(6, outputs)


def test_of_classes_it_is_the_kullback_leibler_divergence() -> None:
    dense, other = pair()
    metric = divergence(dense, Criterion())
    examples = ExampleSet(X, torch.zeros(10).long())
    expected = F.kl_div(other(X).log_softmax(1), dense(X).log_softmax(1), log_target=True, reduction="batchmean")
    for size in (3, 10, 3):
        found = measure(other, examples, size, criterion=Criterion(metric))
        assert (found.value, found.loss) == (pytest.approx(expected.item(), rel=1e-5),) * 2
    assert score(dense, examples, 4, criterion=Criterion(metric)).worth == pytest.approx(0, abs=1e-6)


def test_of_numbers_it_is_the_error_over_the_variance() -> None:
    dense, other = pair(2)
    metric = divergence(dense, Criterion(loss=F.mse_loss, kind="regression"))
    error = (other(X) - dense(X)).square().mean() / dense(X).var(0, correction=0).mean()
    found = score(other, ExampleSet(X), 3, criterion=Criterion(metric, F.mse_loss, "regression"))
    assert found.worth == pytest.approx(error.item(), rel=1e-5)


def test_of_tokens_some_are_compared_where_all_would_take_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, other = nn.Embedding(7, 7), nn.Embedding(7, 7)
    own = Criterion(loss=token_cross_entropy, kind="language_modelling")
    examples = ExampleSet(TOKENS, TOKENS)
    pairs = [model(TOKENS[:, :-1]).flatten(0, 1).log_softmax(1) for model in (other, dense)]
    expected = F.kl_div(*pairs, log_target=True, reduction="batchmean").item()
    assert score(other, examples, 2, criterion=Criterion(divergence(dense, own), kind=own.kind)).worth == pytest.approx(
        expected, rel=1e-5
    )
    monkeypatch.setattr(from_dense, "MOST_NUMBERS", 4 * 3 * 7)  # three tokens of each window
    some = [x.view(4, 8, 7)[:, [0, 3, 7]].flatten(0, 1) for x in pairs]
    expected = F.kl_div(*some, log_target=True, reduction="batchmean").item()
    assert score(other, examples, 1, criterion=Criterion(divergence(dense, own), kind=own.kind)).worth == pytest.approx(
        expected, rel=1e-5
    )


def test_outputs_that_are_no_numbers_score_nothing() -> None:
    dense, other = pair()
    nn.init.constant_(other.weight, math.nan)
    found = measure(
        other, ExampleSet(X, torch.zeros(10).long()), 5, criterion=Criterion(divergence(dense, Criterion()))
    )
    assert found.score == 0
