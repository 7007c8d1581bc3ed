"""The dense and the pruned network of a study side by side, for pictures of what both find."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import amc
from amc.core.files import read_json
from amc.data import Examples
from amc.models.checkpoint import load_checkpoint

TUNED = "finetuned-ddpg-seed0"


def dense_and_tuned(runs: Path, make: Callable[[], nn.Module], metric: str) -> dict[str, nn.Module]:
    """Title → network, in evaluation mode: ``<runs>/dense`` and ``<runs>/finetuned-ddpg-seed0``.

    Args:
        runs: of a study, see :mod:`experiments.common.tasks`.
        make: the untrained network.
        metric: name of the metric, a fraction, on the test images; it is in the titles.
    """
    dense, summary = make().eval(), read_json(runs / TUNED / "summary.json")
    load_checkpoint(dense, runs / "dense" / "model.safetensors")
    networks = {"dense": dense, "pruned": amc.load(runs / TUNED / "pruned", model=make()).eval()}
    scored = {"dense": summary["baseline"], "pruned": summary["tuned"]}
    return {
        f"{name}, {scored[name]['macs'] / 1e6:.0f} M MACs, {metric} {100 * scored[name]['test'][metric]:.1f} %": network
        for name, network in networks.items()
    }


def spaced(examples: Examples, count: int) -> Examples:
    """So many examples, evenly spaced in their list: chosen by no one."""
    return examples.select(torch.tensor([place * len(examples) // count for place in range(count)]))
