"""Assembly of a task into a problem, here and nowhere else: groups, costs, budget, evaluator, environment."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import torch
from rich.text import Text

from agents.base import play
from amc.core.files import write_json
from amc.core.types import Metrics, PruningPlan
from amc.evaluation.evaluator import Evaluation, Evaluator
from amc.evaluation.losses import loss_name
from amc.evaluation.metrics import CLASSIFICATION
from amc.evaluation.scoring import fitting
from amc.importance import rank_groups
from amc.pruning.budget import Budget
from amc.pruning.constraints import Limits
from amc.pruning.latency import LatencyCostModel, read_table
from amc.pruning.network import Network, trace_network
from amc.pruning.pruner import Pruner
from amc.pruning.surgery import Surgeon
from amc.recovery import make_recovery
from amc.recovery.calibration import Calibration
from amc.reporting.console import show
from amc.reporting.tables import uncounted_note
from amc.rewards import Reward, accuracy
from amc.task.method import Method
from amc.task.settings import Settings, scope_of
from amc.task.task import Task
from amc.tracking.journal import stored_precision
from amc.tracking.run import Run
from envs.channel_pruning import ChannelPruningEnv

LATENCY_MS = "latency_ms"
LATENCY_TABLE = "latency_table.json"
PROBE_IMAGES = 5000  # of the validation split, on which bf16 is compared with fp32
ENOUGH_IMAGES = 1001  # with fewer, one image weighs 0.1 point or more: training images are added
NOT_SCORED = Metrics(0.0, 0.0, 1)


@dataclass(eq=False)
class Problem:
    """A network to be pruned, with all that doesn't depend on the plan, computed once. Made by :func:`assemble`.

    Attributes:
        task: the network with its images, on one device.
        method: how it is cut and recovered.
        settings: everything else, with the precision that the run began with.
        network: traced, with groups and costs.
        budget: the cost that a plan may not exceed.
        measured: ``response``, ``price`` → group name → value; filled by
            :func:`amc.analysis.measured.measure_groups` with those that are needed.
    """

    task: Task
    method: Method
    settings: Settings
    network: Network
    budget: Budget
    measured: dict[str, Mapping[str, float]] = field(default_factory=dict)

    @cached_property
    def pruner(self) -> Pruner:
        """Cuts and recovers networks; channel scores and statistics are gathered on first access."""
        return make_pruner(self.network, self.task, self.method)

    @cached_property
    def evaluator(self) -> Evaluator:
        """Scores plans on the first ``settings.images`` validation images."""
        train, val, settings = self.task.train, self.task.val, self.settings
        unseen = val.take(PROBE_IMAGES)
        probes = [unseen, train.take(ENOUGH_IMAGES - len(unseen))] if len(unseen) < ENOUGH_IMAGES else [unseen]
        return Evaluator(
            self.pruner,
            val.take(settings.images),
            Evaluation(settings.batch_size, settings.precision, probes, settings.stop_rule, self.task.criterion),
        )

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Hashes of weights and images, which a resume compares.

        Metric and loss are in it by name; of classification they are not, as runs of earlier versions have none.
        """
        digest = hashlib.sha256()
        for name, tensor in self.network.model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        criterion = self.task.criterion
        own = (
            {}
            if criterion == CLASSIFICATION
            else {"metric and loss": f"{criterion.metric.name}, {loss_name(criterion.loss)}"}
        )
        return {
            "weights": digest.hexdigest(),
            "training images": self.task.train.fingerprint(),
            "validation images": self.task.val.fingerprint(),
            **own,
        }

    def env(
        self,
        reward: Reward,
        evaluate: Callable[[PruningPlan], Metrics] | None = None,
        enforcement: Literal["clip", "project", "free"] | None = None,
        **more: Any,
    ) -> ChannelPruningEnv:
        """The environment: a walk over the network's groups.

        Args:
            reward: of a finished plan.
            evaluate: plan → metrics, instead of the evaluator.
            enforcement: of the budget, instead of the settings'.
            more: further arguments of the environment.
        """
        return ChannelPruningEnv(
            self.network.cost_model,
            self.budget,
            evaluate or self.evaluator,
            reward,
            observation=self.settings.observation,
            enforcement=enforcement or self.settings.rule,
            measured=self.measured,
            **more,
        )

    def plan_of(self, act: Callable[..., float]) -> PruningPlan:
        """The plan of a walk by ``act`` (observation, reset info → action); nothing is evaluated."""
        info, _ = play(self.env(accuracy, lambda plan: NOT_SCORED), act)
        plan: PruningPlan = info["plan"]
        return plan

    def uniform_plan(self) -> PruningPlan:
        """The plan that gives every group the same keep ratio, the largest within the budget."""
        return self.plan_of(lambda observation, start: float(start["uniform_action"]))


def assemble(
    task: Task,
    method: Method,
    settings: Settings,
    budget: float | None,
    run: Run | None = None,
    needs: Collection[str] = (),
) -> Problem:
    """Traces the network and sets the budget; channel scores and statistics are gathered on first access.

    Args:
        task: on one device; the network is put into evaluation mode.
        method: how to cut and recover.
        settings: everything else.
        budget: largest cost as a fraction of the dense network's; ``None``: no limit.
        run: keeps its latency table and its precision across a resume.
        needs: costs to measure besides MACs and parameters: ``latency_ms``.

    Raises:
        AmcError: wrong input, a graph that can't be traced, or a budget that can't be reached.
    """
    run = run or Run()
    network = _traced(task, settings, settings.cost == LATENCY_MS or LATENCY_MS in needs, run)
    Limits(**settings.limits).check_rounding(network.groups)
    if run.verbose and network.uncounted:
        show(Text(f"{task.name}: {uncounted_note(network.uncounted)}"))
    limit = Budget(network.cost_model, settings.cost, budget, **settings.limits)
    # Where bf16 is a close call, ``auto`` might settle differently on resume.
    precision = stored_precision(run.folder)
    settings = settings if precision is None else replace(settings, precision=precision)
    return Problem(task, method, settings, network, limit)


def _traced(task: Task, settings: Settings, needs_latency: bool, run: Run) -> Network:
    """Groups and costs. A latency table is measured once per run, or the budget would change on resume."""
    table = run.kept_file(LATENCY_TABLE)
    known = needs_latency and table is not None and table.exists()
    network = trace_network(
        task.model,
        task.train.take(1).normalised(),
        **scope_of(vars(settings)),
        latency=read_table(table) if known and table is not None else needs_latency,
    )
    if table is not None and isinstance(network.cost_model, LatencyCostModel):
        write_json(table, network.cost_model.to_json())
    return network


def make_pruner(network: Network, task: Task, method: Method) -> Pruner:
    """Scores the channels of ``network`` and gathers statistics for recovery, on the task's first training examples."""
    surgeon = Surgeon(network.model, network.members)
    images = task.train.take(method.calibration_images)
    size = fitting(Calibration.batch_size, images, task.criterion)
    ranking = rank_groups(
        network, images, method.importance, calibration=method.ranking_calibration(size), total=task.criterion.total
    )
    recover = make_recovery(
        method.recovery, surgeon, network.members, ranking, images.normalised(),
        seed=method.seed, **{"batch_size": size, **method.recovery_settings},
    )  # fmt: skip
    return Pruner(network.groups, surgeon, ranking, recover)
