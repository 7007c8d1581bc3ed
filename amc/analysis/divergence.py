"""Output divergence of a plan from the dense network, and of a plan with one layer group pruned further."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from amc.core.errors import AmcError
from amc.core.progress import Progress
from amc.core.types import PruningPlan
from amc.data import Examples
from amc.evaluation.evaluator import Evaluator
from amc.evaluation.prefix_cache import PrefixCache
from amc.evaluation.readout import Readout
from amc.evaluation.scoring import fitting
from amc.task.problem import Problem

IMAGES = 256  # of the training split; labels are not used
BATCH_SIZE = 64
SMALLEST = 1e-6  # nats: less is rounding; keeps logarithms finite


def divergences(evaluator: Evaluator, images: Examples, plans: Mapping[float, PruningPlan]) -> dict[float, float]:
    """Strength → output divergence of its plan from the dense network; labels are not used.

    Args:
        evaluator: of the network; it cuts and recovers.
        images: inputs.
        plans: strength → plan.

    Raises:
        AmcError: NaN or infinite outputs.
    """
    readout = Readout(evaluator.criterion, BATCH_SIZE)
    images = readout.examples(images)
    dense, found = readout(_pruned(evaluator, None), images), {}
    for strength, plan in plans.items():
        found[strength] = readout.distance(dense, readout(_pruned(evaluator, plan), images))
        if not math.isfinite(found[strength]):
            raise AmcError(f"strength {strength:g}: the outputs are no numbers; try another recovery")
    return found


def _pruned(evaluator: Evaluator, plan: PruningPlan | None) -> nn.Module:
    """The plan's network, recovered and prepared for scoring; without a plan the dense one."""
    model = evaluator.pruner.surgeon.cut({}) if plan is None else evaluator.pruner.cut(plan)
    return evaluator.prepared(model, torch.float32)


class CutOneByOne:
    """Outputs of a plan's network with one group at a time cut further."""

    def __init__(self, problem: Problem, kept: Mapping[str, int]) -> None:
        """Runs the dense network and the plan's.

        Args:
            problem: its first training images are the inputs; its recovery follows every cut.
            kept: the plan, group name → kept channels; groups that are left out keep all.

        Raises:
            AmcError: NaN or infinite outputs.
        """
        self._groups, self._evaluator, self._kept = problem.network.groups, problem.evaluator, dict(kept)
        self.readout = Readout(problem.task.criterion, BATCH_SIZE)
        self._images = self.readout.examples(problem.task.train.take(IMAGES))
        self.dense = self.readout(_pruned(self._evaluator, None), self._images)
        whole = self._by(self._kept)
        self.outputs = self.readout(whole, self._images) if kept else self.dense
        for outputs, what in ((self.dense, "network"), (self.outputs, "uniform plan")):
            if not bool(outputs.isfinite().all()):
                raise AmcError(f"outputs of the {what}: NaN or infinite; check the weights, or try another recovery")
        size, output = fitting(BATCH_SIZE, self._images, problem.task.criterion), problem.task.criterion.output
        self._prefix_cache = PrefixCache(whole, self._images, size, torch.float32, output)

    def measure(
        self, fewer: Mapping[str, int], of: Callable[[Tensor], Tensor | float], what: str, *, verbose: bool = False
    ) -> dict[str, float]:
        """``of`` the outputs, with each group of ``fewer`` cut to so many channels, one at a time.

        Args:
            fewer: group name → kept channels.
            of: what is read off a network, see :class:`amc.evaluation.readout.Readout` → one number.
            what: name of the measurement, for the progress.
            verbose: show the progress.

        Raises:
            AmcError: NaN or infinite outputs.
        """
        found = {}
        with Progress(f"measuring {what}s: group", verbose) as progress:
            for number, (name, channels) in enumerate(fewer.items(), start=1):
                small = self._by({**self._kept, name: channels})
                self._prefix_cache.lend(small)
                found[name] = float(of(self.readout(small, self._images)))
                if not math.isfinite(found[name]):
                    raise AmcError(
                        f"group {name}: cut to {channels} channels, the outputs are no numbers; try another recovery"
                    )
                progress.update(number, len(fewer), f"{name}: {found[name]:.2f} {self.readout.unit}")
        return found

    def _by(self, kept: Mapping[str, int]) -> nn.Module:
        return _pruned(self._evaluator, PruningPlan.make(self._groups, kept) if kept else None)
