"""What a search found, measured on images and a device, and how it is written down."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from amc.data import ImageSet
from amc.errors import AmcError
from amc.latency import measure_ms
from amc.pruned import save_pruned
from amc.report import Scored
from amc.scoring import score
from amc.surgery import Surgeon
from amc.types import Cost, Episode, LayerGroup, Metrics, PruningPlan

PACKAGES = ("amc-pruning", "torch", "torchvision", "torch-pruning", "gymnasium", "stable-baselines3", "numpy")
BATCH = 250  # images in one forward pass
log = logging.getLogger(__name__)


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


def score_networks(
    models: Sequence[nn.Module],
    costs: Sequence[Cost],
    vals: Sequence[Metrics],
    test: ImageSet | None,
    example: torch.Tensor,
) -> tuple[Scored, ...]:
    """Networks side by side: validation scores as given, test scores in float32, costs, latency of one image.

    Args:
        models: left as they are.
        costs, vals: of each of them.
        test: images that nothing was chosen by; ``None``: there are none.
        example: one normalised input ``[1, c, h, w]``.
    """
    copies = [_copy(model) for model in models]
    latencies_ms = measure_ms(copies, example)
    tests = [None if test is None else _score(copy, test) for copy in copies]
    return tuple(
        Scored(val, tested, replace(cost, latency_ms=ms))
        for val, tested, cost, ms in zip(vals, tests, costs, latencies_ms, strict=True)
    )


def _score(model: nn.Module, images: ImageSet) -> Metrics:
    right, loss = score(model, images, BATCH)
    return Metrics(int(right.sum()) / len(images), loss, len(images))


def _copy(model: nn.Module) -> nn.Module:
    """A network of its own for scoring, which folds it, in the layout that suits convolutions best."""
    return Surgeon(model, ()).cut({}).to(memory_format=torch.channels_last)


def summary_of(result: SearchResult, best: Episode, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``summary.json``; accuracies are fractions."""
    return {
        **facts,
        "versions": versions(),
        "baseline": result.baseline.to_json(),
        "best": {**result.best.to_json(), "reward": best.reward},
        "episodes": len(result.episodes),
        "wall_seconds": result.wall_seconds,
        **{f"{part}_seconds": seconds for part, seconds in result.seconds.items()},
    }


def hparams_of(
    result: SearchResult, best: Episode, facts: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, float | None]]:
    """The run's line in TensorBoard's HParams table: settings and results, always the same keys."""
    keys = ("model", "dataset", "agent", "reward", "importance", "recovery", "seed")
    settings = {key: facts.get(key) for key in keys}
    settings |= {f"budget.{key}": value for key, value in facts["budget"].items()}
    scored, baseline = result.best, result.baseline
    return {**settings, "episodes": len(result.episodes)}, {
        "best/reward": best.reward,
        "best/val_accuracy": scored.val.accuracy,
        "best/test_accuracy": None if scored.test is None else scored.test.accuracy,
        "best/macs_ratio": scored.cost.macs / baseline.cost.macs,
        "best/params_ratio": scored.cost.params / baseline.cost.params,
    }


def trained_on(
    facts: Mapping[str, Any], models: Sequence[str], rule: str, accuracy: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """What a policy's file says of its training.

    Args:
        facts: of the run; of these what is listed here, ``None`` where it is not known.
        models: names of the networks.
        rule: how the budget was enforced.
        accuracy: network → ``uncut`` and ``best``, as fractions, on validation images.
    """
    keys = ("dataset", "recovery", "importance", "reward", "seed", "started_from")
    return {
        "models": list(models),
        **{key: facts.get(key) for key in keys},
        "budget": {**facts["budget"], "rule": rule},
        "accuracy": {name: dict(found) for name, found in accuracy.items()},
        "versions": versions(),
    }


def keep_network(
    folder: Path,
    model: nn.Module,
    plan: PruningPlan,
    scored: Scored,
    images: ImageSet,
    description: Mapping[str, Any] | None,
) -> None:
    """Writes a plan's network as it is, not fine-tuned. One that can't be saved takes nothing from the run.

    Args:
        folder: of the pruned network.
        model, plan, scored: the network, its plan and its results.
        images: like those that it is for.
        description: see :func:`amc.pruned.save_pruned`.
    """
    try:
        save_pruned(
            folder,
            model,
            plan=plan,
            description=description,
            image_shape=images.shape,
            num_classes=images.num_classes,
            mean=images.mean,
            std=images.std,
            facts={"val_accuracy": scored.val.accuracy, "macs": scored.cost.macs},
        )
    except AmcError as error:
        log.warning("the pruned network is not saved: %s", error)


def versions() -> dict[str, str | None]:
    """Version of this project and of every library that results depend on."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout on the path, not installed
        return None
