"""From a plan to a small, accurate, loadable network. ``python -m amc.finetune plan=RUN_DIR/plan.json``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from amc.core.device import resolve_device
from amc.core.errors import AmcError
from amc.core.types import PruningPlan
from amc.data import ImageSet
from amc.evaluation.comparison import score_networks
from amc.finetune.log import TuningLog
from amc.finetune.phases import _Run
from amc.finetune.result import FineTuneResult, _print, _summary
from amc.finetune.settings import FineTuneSettings
from amc.pruning.network import Network, trace_network
from amc.task.problem import identity
from amc.tracking import RunDir, opened
from amc.tracking.plans import best_plans
from amc.training.recipe import Recipe

Plans = PruningPlan | Sequence[PruningPlan] | str | Path


def finetune(
    model: nn.Module,
    plans: Plans,
    *,
    train: ImageSet,
    val: ImageSet,
    test: ImageSet | None = None,
    recipe: Recipe | None = None,
    settings: FineTuneSettings | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    run_dir: str | Path | RunDir | None = None,
    resume: bool = False,
    description: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    verbose: bool = True,
) -> FineTuneResult:
    """Cuts a network to a plan, recovers it and trains it (AMC, He et al. 2018, §4: fine-tuning after the search).

    Args:
        model: the trained, uncut network; its weights are left as they are.
        plans: a plan, several to choose from (each is tried for ``settings.refine_epochs``), or a search's
            ``plan.json``; with ``settings.refine_plans`` above 1 also the best other plans of that search.
        train: training images.
        val: images to choose the best epoch, and the best of several plans, by.
        test: images for the final report only.
        recipe: the training that made ``model``.
        settings: how to fine-tune.
        seed: of everything that is random.
        device: ``auto``: CUDA if there is any.
        run_dir: folder to record the run in; nothing is written without one.
        resume: go on with the run in ``run_dir``.
        description: how the network is built, see :func:`amc.pruning.saved.save_pruned`.
        facts: further entries for ``summary.json``.
        verbose: show progress and result.

    Raises:
        AmcError: wrong input, or a training that diverges; the checkpoint and the best network so far are kept.
    """
    started = time.perf_counter()
    settings, recipe = settings or FineTuneSettings(), recipe or Recipe()
    place = resolve_device(device)
    train, val = train.to(place), val.to(place)
    facts = {**(facts or {}), "seed": seed, "settings": asdict(settings), "recipe": asdict(recipe)}
    with opened(run_dir, resume, {"command": "finetune", **facts}) as folder:
        example = train.take(1).normalised()
        network = trace_network(
            model.to(place), example, prune_residual=settings.prune_residual, freeze=settings.freeze
        )
        with TuningLog(folder, identity(network, train, val), verbose) as log:
            found = log.plans(network.groups) or _candidates(plans, network, settings.refine_plans)
            run = _Run(network, train, val, recipe, settings, seed, log, folder, description)
            try:
                plan, trained = run.all_phases(found)
            except AmcError as error:
                if folder is not None and (folder.path / "pruned").is_dir():
                    raise AmcError(f"{error}; the best network so far is in {folder.path / 'pruned'}") from error
                raise
            cost = network.cost_model.cost
            baseline, cut, tuned = score_networks(
                (network.model, trained.cut_model, trained.model),
                (cost(), cost(plan), cost(plan)),
                (run.tuner.score(network.model), trained.cut_metrics, trained.metrics),
                None if test is None else test.to(place),
                example,
            )
            result = FineTuneResult(
                trained.model, plan, baseline, cut, tuned, tuple(log.history), tuple(log.done),
                wall_seconds=time.perf_counter() - started + log.seconds,
            )  # fmt: skip
            log.conclude(plan, _summary(result, facts), baseline.val.accuracy)
        if verbose:
            _print(result, folder)
    return result


def _candidates(plans: Plans, network: Network, most: int) -> list[PruningPlan]:
    """The plans to choose from; of a ``plan.json``, that plan and the best others of its search."""
    if isinstance(plans, PruningPlan):
        return [plans]
    if not isinstance(plans, (str, Path)):
        return list(plans)
    path = plan_file(plans)
    plan = PruningPlan.load(path, network.groups)
    if most == 1:
        return [plan]
    return list(dict.fromkeys([plan, *best_plans(path.parent / "episodes.csv", network.groups, most)]))[:most]


def plan_file(path: str | Path) -> Path:
    """The ``plan.json`` that is meant by ``path``: itself, or the one in a run folder."""
    path = Path(path)
    return path / "plan.json" if path.is_dir() else path
