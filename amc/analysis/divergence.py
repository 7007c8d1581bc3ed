"""Output divergence of a plan from the dense network, and of a plan with one layer group pruned further."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from amc.core.errors import AmcError
from amc.core.progress import Progress
from amc.core.types import PruningPlan
from amc.data import ImageSet
from amc.evaluation.evaluator import Evaluator
from amc.evaluation.prefix_cache import PrefixCache
from amc.task.problem import Problem

IMAGES = 256  # of the training split; labels are not used
BATCH_SIZE = 64
SMALLEST = 1e-6  # nats: less is rounding; keeps logarithms finite


@torch.inference_mode()
def log_probabilities(model: nn.Module, images: ImageSet) -> Tensor:
    """``[n, classes]``, in double precision from float32 logits."""
    return torch.cat([model(x).double().log_softmax(dim=1) for x, _ in images.batches(BATCH_SIZE)])


def divergence(dense: Tensor, now: Tensor) -> float:
    """Mean Kullback-Leibler divergence of the outputs ``now`` from the dense network's, in nats.

    Both are log probabilities, ``[n, classes]``.
    """
    return float((dense.exp() * (dense - now)).sum(dim=1).mean())


def divergences(evaluator: Evaluator, images: ImageSet, plans: Mapping[float, PruningPlan]) -> dict[float, float]:
    """Strength → output divergence of its plan from the dense network, in nats; labels are not used.

    Args:
        evaluator: of the network; it cuts and recovers.
        images: inputs.
        plans: strength → plan.

    Raises:
        AmcError: NaN or infinite outputs.
    """
    dense, found = log_probabilities(_pruned(evaluator, None), images), {}
    for strength, plan in plans.items():
        found[strength] = divergence(dense, log_probabilities(_pruned(evaluator, plan), images))
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
        self._images = problem.task.train.take(IMAGES)
        self.dense = log_probabilities(_pruned(self._evaluator, None), self._images)
        whole = self._by(self._kept)
        self.outputs = log_probabilities(whole, self._images) if kept else self.dense
        for outputs, what in ((self.dense, "network"), (self.outputs, "uniform plan")):
            if not bool(outputs.isfinite().all()):
                raise AmcError(f"outputs of the {what}: NaN or infinite; check the weights, or try another recovery")
        self._prefix_cache = PrefixCache(whole, self._images, BATCH_SIZE, torch.float32)

    def measure(
        self, fewer: Mapping[str, int], of: Callable[[Tensor], Tensor | float], what: str, *, verbose: bool = False
    ) -> dict[str, float]:
        """``of`` the outputs, with each group of ``fewer`` cut to so many channels, one at a time.

        Args:
            fewer: group name → kept channels.
            of: log probabilities, ``[n, classes]`` → one number, in nats.
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
                found[name] = float(of(log_probabilities(small, self._images)))
                if not math.isfinite(found[name]):
                    raise AmcError(
                        f"group {name}: cut to {channels} channels, the outputs are no numbers; try another recovery"
                    )
                progress.update(number, len(fewer), f"{name}: {found[name]:.2f} nats")
        return found

    def _by(self, kept: Mapping[str, int]) -> nn.Module:
        return _pruned(self._evaluator, PruningPlan.make(self._groups, kept) if kept else None)
