"""From a model and its images to what a walk needs: groups, budget, evaluator, environment."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn

from agents.base import play
from amc.core.files import read_json, write_json
from amc.core.types import Metrics, PruningPlan
from amc.data import ImageSet
from amc.evaluation.evaluator import Evaluator
from amc.importance import rank_groups
from amc.pruning.budget import Budget
from amc.pruning.latency import LatencyCostModel
from amc.pruning.network import Network, trace_network
from amc.pruning.pruner import Cutter
from amc.pruning.surgery import Surgeon
from amc.recovery import make_recovery
from amc.rewards import Reward, accuracy
from amc.task.settings import Settings
from amc.tracking import RunDir
from envs.channel_pruning import ChannelPruningEnv

LATENCY_TABLE = "latency_table.json"
NOT_SCORED = Metrics(0.0, 0.0, 1)


@dataclass(frozen=True)
class Problem:
    """One network with its budget, the evaluator of its plans, and what was measured of its groups.

    ``measured``: ``response``, ``price`` → group name → amount, of those that something needs.
    """

    network: Network
    budget: Budget
    evaluator: Evaluator
    measured: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def env(
        self,
        settings: Settings,
        reward: Reward,
        evaluate: Callable[[PruningPlan], Metrics] | None = None,
        rule: Literal["clip", "project", "free"] | None = None,
        **more: Any,
    ) -> ChannelPruningEnv:
        """The walk over the network's groups.

        Args:
            settings: its observation and its rule.
            reward: of a finished plan.
            evaluate: scores plans instead of the evaluator.
            rule: instead of the settings'.
            more: what else the environment takes.
        """
        return ChannelPruningEnv(
            self.network.cost_model,
            self.budget,
            evaluate or self.evaluator,
            reward,
            observation=settings.observation,
            rule=rule or settings.rule,
            measured=self.measured,
            **more,
        )

    def plan_of(self, act: Callable[..., float], settings: Settings) -> PruningPlan:
        """The plan that ``act`` (observation, info of the reset → action) walks to; nothing is evaluated."""
        info, _ = play(self.env(settings, accuracy, lambda plan: NOT_SCORED), act)
        plan: PruningPlan = info["plan"]
        return plan

    def uniform_plan(self, settings: Settings) -> PruningPlan:
        """The plan that gives every group the same keep ratio, the largest within the budget."""
        return self.plan_of(lambda observation, start: float(start["uniform_action"]), settings)


def prepare(
    model: nn.Module,
    train: ImageSet,
    val: ImageSet,
    *,
    budget: float | None,
    importance: str,
    recovery: str,
    settings: Settings,
    seed: int,
    folder: RunDir | None = None,
) -> Problem:
    """Everything that no plan changes, computed.

    Args:
        model: on the device of the images.
        train: calibration images are its first ones.
        val: what plans are scored on.
        budget: largest cost as a fraction of the uncut network's; ``None``: no limit.
        importance, recovery: names.
        settings: everything else.
        seed: of what is sampled.
        folder: of the run; keeps its latency table and its precision over a resume.

    Raises:
        AmcError: wrong input, or a budget that can't be reached.
    """
    network = trace_once(model, train, settings, settings.cost == "latency_ms", folder)
    limit = Budget(network.cost_model, settings.cost, budget, settings.min_keep, settings.channel_round)
    evaluator = make_evaluator(network, train, val, importance, recovery, settled(settings, folder), seed)
    return Problem(network, limit, evaluator)


def trace_once(
    model: nn.Module, train: ImageSet, settings: Settings, needs_latency: bool, folder: RunDir | None
) -> Network:
    """Groups and costs. A latency table is measured once in a run's life, or its budget would change at a resume."""
    table = None if folder is None else folder.kept_file(LATENCY_TABLE)
    known = needs_latency and table is not None and table.exists()
    network = trace_network(
        model,
        train.take(1).normalised(),
        prune_residual=settings.prune_residual,
        freeze=settings.freeze,
        latency=read_json(table) if known and table is not None else needs_latency,
    )
    if table is not None and isinstance(network.cost_model, LatencyCostModel):
        write_json(table, network.cost_model.to_json())
    return network


def settled(settings: Settings, folder: RunDir | None) -> Settings:
    """With the precision that the run began with: where bf16 is a close call, ``auto`` could decide otherwise now."""
    checkpoint = folder.load_checkpoint() if folder is not None else None
    if checkpoint is None:
        return settings
    return replace(settings, precision="bf16" if checkpoint["task"]["precision"] == str(torch.bfloat16) else "fp32")


PROBE_IMAGES = 5000  # of the validation split, on which bf16 is compared with fp32
ENOUGH_IMAGES = 1001  # with fewer, one image alone would be 0.1 point: training images then help out


def make_cutter(
    network: Network,
    train: ImageSet,
    importance: str,
    recovery: str,
    *,
    calibration_images: int = 512,
    seed: int = 0,
    **settings: Any,
) -> Cutter:
    """Scores the channels and gathers what recovery needs.

    Args:
        network: from :func:`trace_network`.
        train: calibration images are its first ones.
        importance: one of :data:`amc.importance.NAMES`.
        recovery: one of :data:`amc.recovery.NAMES`.
        calibration_images: how many.
        seed: of what is sampled: calibration positions, ``importance=random``.
        **settings: of the recovery, such as ``positions``.

    Raises:
        AmcError: an unknown name, or damaged data.
    """
    surgeon = Surgeon(network.model, network.groups)
    images = train.take(calibration_images)
    ranking = rank_groups(network, images, importance, seed)
    recover = make_recovery(recovery, surgeon, network.groups, ranking, images.normalised(), seed=seed, **settings)
    return Cutter(network.groups, surgeon, ranking, recover)


def make_evaluator(
    network: Network,
    train: ImageSet,
    val: ImageSet,
    importance: str,
    recovery: str,
    settings: Settings,
    seed: int,
) -> Evaluator:
    """The evaluator of plans, with everything that no plan changes computed.

    Args:
        network: from :func:`trace_network`.
        train: calibration images are its first ones.
        val: what plans are scored on; never test images.
        importance: one of :data:`amc.importance.NAMES`.
        recovery: one of :data:`amc.recovery.NAMES`.
        settings: how many images, in which precision, when to stop early, and what recovery wants to know.
        seed: see :func:`make_cutter`.

    Raises:
        AmcError: an unknown name, or damaged data.
    """
    wanted = {"calibration_images": settings.calibration_images, "seed": seed, **settings.recovery}
    cutter = make_cutter(network, train, importance, recovery, **wanted)
    unseen = val.take(PROBE_IMAGES)
    probes = [unseen, train.take(ENOUGH_IMAGES - len(unseen))] if len(unseen) < ENOUGH_IMAGES else [unseen]
    return Evaluator(
        cutter,
        val.take(settings.images),
        batch_size=settings.batch_size,
        precision=settings.precision,
        probes=probes,
        early_stop=settings.stop_rule,
    )


def identity(network: Network, train: ImageSet, val: ImageSet) -> dict[str, str]:
    """What must not change between a run and its resumption, as hashes: weights and images."""
    digest = hashlib.sha256()
    for name, tensor in network.model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return {
        "weights": digest.hexdigest(),
        "training images": train.fingerprint(),
        "validation images": val.fingerprint(),
    }
