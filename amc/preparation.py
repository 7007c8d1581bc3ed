"""From a model and its images to what a walk needs: groups, budget, evaluator, environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.data import DataLoader

import agents
from agents.base import play
from amc.budget import Budget
from amc.data import ImageSet
from amc.errors import AmcError
from amc.evaluate import Evaluator
from amc.files import read_json, write_json
from amc.latency import LatencyCostModel
from amc.measured import measured_once
from amc.prices import measure_prices
from amc.problem import Network, make_evaluator, trace_network
from amc.responses import measure_responses
from amc.rewards import Reward, accuracy
from amc.settings import Settings
from amc.tracking import RunDir
from amc.types import Metrics, PruningPlan
from envs.channel_pruning import ChannelPruningEnv

LATENCY_TABLE = "latency_table.json"
NOT_SCORED = Metrics(0.0, 0.0, 1)

Images = ImageSet | DataLoader[Any]


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
    verbose: bool = False,
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
        folder: of the run; keeps its latency table, its precision and what was measured over a resume.
        verbose: show the progress of what takes long.

    Raises:
        AmcError: wrong input, or a budget that can't be reached.
    """
    network = trace_once(model, train, settings, settings.cost == "latency_ms", folder)
    limit = Budget(network.cost_model, settings.cost, budget, settings.min_keep, settings.channel_round)
    evaluator = make_evaluator(network, train, val, importance, recovery, settled(settings, folder), seed)
    return with_measured(Problem(network, limit, evaluator), train, settings, folder, verbose=verbose)


def with_measured(
    problem: Problem,
    train: ImageSet,
    settings: Settings,
    folder: RunDir | None,
    agent: str | None = None,
    verbose: bool = False,
) -> Problem:
    """``problem`` with its groups' responses and prices measured, where ``settings`` or the ``agent`` need them."""
    network, evaluator, found = problem.network, problem.evaluator, {}
    ways = {
        "response": lambda: measure_responses(network, evaluator, train, verbose=verbose),
        "price": lambda: measure_prices(network, evaluator, problem.budget, train, verbose=verbose),
    }
    for what, measure in ways.items():
        if settings.needs(what, agent):
            file = None if folder is None else folder.kept_file(f"{what}s.json")
            found[what] = measured_once(network, file, what, measure)
    return replace(problem, measured=found)


def as_images(images: Images, device: torch.device) -> ImageSet:
    """The images on ``device``; a ``DataLoader`` is read once."""
    found = images if isinstance(images, ImageSet) else ImageSet.from_loader(images)
    return found.to(device)


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


def make_agent(name: str, env: agents.Env, seed: int, episodes: int, settings: Mapping[str, Any]) -> agents.Agent:
    """The untrained agent. Raises ``AmcError`` for a setting that does not exist or makes no sense."""
    try:
        return agents.make(name, env, seed, episodes, **settings)
    except ValueError as error:
        raise AmcError(str(error)) from error
