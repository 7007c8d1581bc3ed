"""Comparison of networks, each cut, recovered and scored in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from amc.core.types import Cost, Metrics, PruningPlan, Scored
from amc.data import Examples
from amc.evaluation.evaluator import Evaluator
from amc.evaluation.metrics import CLASSIFICATION, Criterion
from amc.evaluation.scoring import measure
from amc.pruning.inputs import Example
from amc.pruning.latency import measure_ms
from amc.pruning.network import Network
from amc.pruning.surgery import Surgeon

DENSE = "dense"


@dataclass(frozen=True)
class Compared:
    """Scores of the dense network (first, as ``dense``) and of each plan's network, and these networks."""

    scored: Mapping[str, Scored]
    models: Mapping[str, nn.Module]


def compare(
    network: Network, evaluator: Evaluator, plans: Mapping[str, PruningPlan], test: Examples | None
) -> Compared:
    """Scores the networks of ``plans``, not fine-tuned, beside the dense one.

    Args:
        network: the dense one.
        evaluator: of this network; gives validation images and recovery.
        plans: name → plan.
        test: images for the report only.
    """
    vals = {name: evaluator.in_full(plan) for name, plan in plans.items()}
    models = {name: evaluator.pruner.cut(plan) for name, plan in plans.items()}
    costs = [network.cost_model.cost(plan) for plan in plans.values()]
    scored = score_networks(
        [network.model, *models.values()],
        [network.cost_model.cost(), *costs],
        [evaluator.dense, *vals.values()],
        test,
        network.example,
        evaluator.criterion,
    )
    return Compared(dict(zip((DENSE, *plans), scored, strict=True)), models)


BATCH = 250  # images in one forward pass


def score_networks(
    models: Sequence[nn.Module],
    costs: Sequence[Cost],
    vals: Sequence[Metrics],
    test: Examples | None,
    example: Example,
    criterion: Criterion = CLASSIFICATION,
) -> tuple[Scored, ...]:
    """Scores of several networks: validation as given, test in float32, costs, latency of one input.

    Args:
        models: not modified.
        costs, vals: of each of them.
        test: images that nothing was chosen on; ``None``: no test scores.
        example: one input, normalised.
        criterion: of the test images.
    """
    copies = [_copy(model) for model in models]
    latencies_ms = measure_ms(copies, example)
    tests = [None if test is None else measure(copy, test, BATCH, criterion=criterion) for copy in copies]
    return tuple(
        Scored(val, tested, replace(cost, latency_ms=ms))
        for val, tested, cost, ms in zip(vals, tests, costs, latencies_ms, strict=True)
    )


def _copy(model: nn.Module) -> nn.Module:
    """A copy for scoring, which folds it; channels-last, as suits convolutions best."""
    return Surgeon(model, ()).cut({}).to(memory_format=torch.channels_last)
