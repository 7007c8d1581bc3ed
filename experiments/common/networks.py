"""The networks that studies look into: CIFAR-10 networks with imported weights, plans of given MACs for them, and what
cuts and judges these plans.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np

from amc.core.types import PruningPlan
from amc.data import Splits, load_dataset
from amc.evaluation.evaluator import Evaluation, Evaluator
from amc.models import build
from amc.pruning.bisect import last_real
from amc.pruning.network import Network, trace_network
from amc.pruning.pruner import Pruner
from amc.task.method import Method
from amc.task.problem import Problem, assemble, make_pruner
from amc.task.settings import Settings
from amc.task.task import Task


def inputs(description: str | None, weights_of: str, required: bool = True) -> argparse.ArgumentParser:
    """A parser for ``--data`` and ``--checkpoint``, what :func:`load` needs."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", required=required, help="CIFAR-10: a folder with train/ and test/")
    parser.add_argument("--checkpoint", required=required, help=f"{weights_of}'s weights")
    return parser


def load(name: str, data: str, checkpoint: str) -> tuple[Network, Splits]:
    """One half of the test images is for validation, the other for the report: the weights saw all training images."""
    splits = load_dataset("cifar10", root=data, val_images=5000, imported_weights=True)
    model = build(f"amc.models.cifar_resnet.{name}", splits.num_classes, splits.train.shape, checkpoint=checkpoint)
    return trace_network(model, splits.train.take(1).normalised()), splits


def free_groups(network: Network) -> list[str]:
    """The names of the groups that can be pruned, in the order of the walk."""
    return [group.name for group in network.groups if group.frozen is None]


def macs_ratio(network: Network, plan: PruningPlan) -> float:
    """MACs of the plan's network / MACs of the dense one."""
    return network.cost_model.cost(plan).macs / network.cost_model.cost().macs


def plan_of(network: Network, ratios: Mapping[str, float]) -> PruningPlan:
    """The plan with these keep ratios of all groups that can be pruned, rounded to whole channels."""
    free = [g for g in network.groups if g.frozen is None]
    return PruningPlan.make(network.groups, {g.name: g.round_channels(ratios[g.name]) for g in free})


def project(network: Network, logits: Mapping[str, float], ratio: float) -> PruningPlan:
    """The plan with keep ratios sigmoid(logit + shift), the one shift chosen so that the MACs come just below."""
    limit = ratio * network.cost_model.cost().macs

    def shifted(shift: float) -> PruningPlan:
        return plan_of(network, {n: float(np.clip(1 / (1 + np.exp(-x - shift)), 0.1, 1)) for n, x in logits.items()})

    return shifted(last_real(lambda shift: network.cost_model.cost(shifted(shift)).macs <= limit, -12.0, 12.0))


def uniform(network: Network, ratio: float) -> PruningPlan:
    """The plan just below so much of the MACs that keeps of every group alike."""
    return project(network, dict.fromkeys(free_groups(network), 0.0), ratio)


def scattered(network: Network, spread: float, ratio: float, rng: np.random.Generator) -> PruningPlan:
    """A plan just below so much of the MACs whose keep ratios' logits are normal, with ``spread`` as deviation."""
    names = free_groups(network)
    return project(network, dict(zip(names, rng.normal(0, spread, len(names)), strict=True)), ratio)


def pruner_of(
    network: Network,
    splits: Splits,
    importance: str = "l1",
    recovery: str = "least_squares",
    calibration_images: int = 512,
    seed: int = 0,
) -> Pruner:
    """Cuts the network by plans, each time from the dense one."""
    task = Task(splits.name, network.model, splits.train, splits.val, splits.test)
    return make_pruner(network, task, Method(importance, recovery, seed, calibration_images))


def judges(network: Network, splits: Splits, seed: int = 0) -> tuple[Evaluator, Evaluator]:
    """Plan → metrics on all validation images, and on the test images, in float32."""
    pruner = pruner_of(network, splits, seed=seed)
    val, test = (Evaluator(pruner, part, Evaluation(250, "fp32")) for part in (splits.val, splits.test))
    return val, test


def problem_of(task: Task, keep: float, settings: Settings) -> Problem:
    """Everything about pruning a task's network to a budget that no plan changes."""
    return assemble(task, Method(), settings, keep)
