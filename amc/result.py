"""What a search found, measured on images and a device, and how it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import nn

from amc.data import ImageSet
from amc.evaluate import Evaluator
from amc.latency import measure_ms
from amc.loop import best_episode
from amc.problem import Network
from amc.report import Scored
from amc.surgery import Surgeon
from amc.types import Episode, LayerGroup, PruningPlan

PACKAGES = ("amc-pruning", "torch", "torchvision", "torch-pruning", "gymnasium", "stable-baselines3", "numpy")


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        plan: the best plan.
        model: the network cut by it and recovered, in float32; not fine-tuned.
        baseline, best: scores and costs of the uncut network and of ``model``.
        episodes: every episode, in order.
        groups: the network's layer groups.
        seconds: where the time went, by part.
        wall_seconds: of the whole search; of a resumed one, its earlier episodes included.
    """

    plan: PruningPlan
    model: nn.Module
    baseline: Scored
    best: Scored
    episodes: tuple[Episode, ...]
    groups: tuple[LayerGroup, ...]
    seconds: Mapping[str, float]
    wall_seconds: float = 0.0


def score_both(
    network: Network, small: nn.Module, best: Episode, evaluator: Evaluator, test: ImageSet | None
) -> tuple[Scored, Scored]:
    """Uncut network and best plan: validation as the search saw it, test in float32, costs, latency of one image."""
    copies = [_copy(model) for model in (network.model, small)]
    latencies_ms = measure_ms(copies, network.example)
    tests = [None if test is None else evaluator.score(copy, test, torch.float32) for copy in copies]
    costs = (network.cost_model.cost(), best.cost)
    before, after = (replace(cost, latency_ms=ms) for cost, ms in zip(costs, latencies_ms, strict=True))
    return Scored(evaluator.dense, tests[0], before), Scored(best.metrics, tests[1], after)


def _copy(model: nn.Module) -> nn.Module:
    """A network of its own for scoring, which folds it, in the layout that suits convolutions best."""
    return Surgeon(model, ()).cut({}).to(memory_format=torch.channels_last)


def summary_of(result: SearchResult, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``summary.json``; accuracies are fractions."""
    return {
        **facts,
        "versions": {name: _version(name) for name in PACKAGES},
        "baseline": result.baseline.to_json(),
        "best": {**result.best.to_json(), "reward": best_episode(result.episodes).reward},
        "episodes": len(result.episodes),
        "wall_seconds": result.wall_seconds,
        **{f"{part}_seconds": seconds for part, seconds in result.seconds.items()},
    }


def hparams_of(result: SearchResult, facts: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float | None]]:
    """The run's line in TensorBoard's HParams table: settings and results, always the same keys."""
    keys = ("model", "dataset", "agent", "reward", "importance", "recovery", "seed")
    settings = {key: facts.get(key) for key in keys}
    settings |= {f"budget.{key}": value for key, value in facts["budget"].items()}
    best, baseline = result.best, result.baseline
    return {**settings, "episodes": len(result.episodes)}, {
        "best/reward": best_episode(result.episodes).reward,
        "best/val_accuracy": best.val.accuracy,
        "best/test_accuracy": None if best.test is None else best.test.accuracy,
        "best/macs_ratio": best.cost.macs / baseline.cost.macs,
        "best/params_ratio": best.cost.params / baseline.cost.params,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout on the path, not installed
        return None
