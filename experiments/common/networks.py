"""What both studies start from: a CIFAR-10 network with imported weights, and plans of given MACs for it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from amc.core.types import PruningPlan
from amc.data import Splits, load_dataset
from amc.models import build
from amc.pruning.network import Network, trace_network

HERE = Path(__file__).parent


def load(name: str, data: str, checkpoint: str) -> tuple[Network, Splits]:
    """One half of the test images is for validation, the other for the report: the weights saw all training images."""
    splits = load_dataset("cifar10", root=data, val_images=5000, imported_weights=True)
    model = build(f"amc.models.cifar_resnet.{name}", splits.num_classes, splits.train.shape, checkpoint=checkpoint)
    return trace_network(model, splits.train.take(1).normalised()), splits


def plan_of(network: Network, ratios: Mapping[str, float]) -> PruningPlan:
    free = [g for g in network.groups if g.frozen is None]
    return PruningPlan.make(network.groups, {g.name: g.round_channels(ratios[g.name]) for g in free})


def project(network: Network, logits: Mapping[str, float], macs_ratio: float) -> PruningPlan:
    """The plan with keep ratios sigmoid(logit + shift), the one shift chosen so that the MACs come just below."""
    total = network.cost_model.cost().macs

    def shifted(shift: float) -> PruningPlan:
        return plan_of(network, {n: float(np.clip(1 / (1 + np.exp(-x - shift)), 0.1, 1)) for n, x in logits.items()})

    low, high = -12.0, 12.0
    for _ in range(40):
        middle = (low + high) / 2
        if network.cost_model.cost(shifted(middle)).macs <= macs_ratio * total:
            low = middle
        else:
            high = middle
    return shifted(low)


def uniform(network: Network, macs_ratio: float) -> PruningPlan:
    return project(network, {g.name: 0.0 for g in network.groups if g.frozen is None}, macs_ratio)


def read_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open())) if path.exists() else []


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
