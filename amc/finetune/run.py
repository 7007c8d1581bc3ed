"""Fine-tuning of a pruned network (AMC §4)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from amc.core.device import resolve_device
from amc.core.errors import AmcError
from amc.core.types import Loss, PruningPlan, Scored
from amc.evaluation.comparison import score_networks
from amc.evaluation.metrics import Metric
from amc.evaluation.outputs import check_trainable
from amc.finetune.log import TuningLog
from amc.finetune.phases import Phases
from amc.finetune.result import FineTuneResult, print_result, summary_of
from amc.finetune.settings import FineTuneSettings
from amc.finetune.stages import stage_plans
from amc.finetune.tuner import Trained
from amc.pruning.network import Network
from amc.pruning.plain_folder import keep_plain_folder
from amc.task.kinds import AUTO, Wanted, wanted_of
from amc.task.problem import Problem, assemble
from amc.task.settings import Settings, scope_of
from amc.task.task import Images, Task
from amc.tracking import RunDir
from amc.tracking.plans import best_plans
from amc.tracking.run import Run
from amc.training.recipe import Recipe

Plans = PruningPlan | Sequence[PruningPlan] | str | Path


@torch.inference_mode(mode=False)
def finetune(
    model: nn.Module,
    plans: Plans,
    *,
    train: Images,
    val: Images,
    test: Images | None = None,
    task: str | Wanted = AUTO,
    metric: str | Metric | Callable[..., Any] | None = None,
    loss: str | Loss | None = None,
    output: str | int | None = None,
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
        model: the trained, dense network; left as it is.
        plans: a plan, several to choose from (each is tried for ``settings.refine_epochs``), or a search's
            ``plan.json``; with ``settings.refine_plans`` above 1 also the best other plans of that search.
        train: training images.
        val: images to choose the best epoch, and the best of several plans, by.
        test: images for the final report only.
        task: what the network does: one of :data:`amc.task.kinds.NAMES`, or ``auto``: found from targets and outputs.
        metric, loss, output: how its predictions are judged, see :class:`amc.task.kinds.Wanted`; ``None``: as is usual
            for the task.
        recipe: the training that made ``model``.
        settings: how to fine-tune.
        seed: of everything that is random.
        device: ``auto``: CUDA if there is any.
        run_dir: folder to record the run in; nothing is written without one.
        resume: continue the run in ``run_dir``.
        description: how the network is built, see :func:`amc.pruning.saved.save_pruned`.
        facts: further entries for ``summary.json``.
        verbose: show progress and result.

    Raises:
        AmcError: wrong input, or a training that diverges; the checkpoint and the best network so far are kept.
    """
    began = time.perf_counter()
    settings, recipe = settings or FineTuneSettings(), recipe or Recipe()
    judged = wanted_of(task, metric=metric, loss=loss, output=output)
    own = Task.make(type(model).__name__, model, train, val, test, task=judged, description=description)
    own = own.on(resolve_device(device))
    check_trainable(own.model, own.train, own.criterion)
    facts = {**(facts or {}), "seed": seed, "settings": asdict(settings), "recipe": asdict(recipe)}
    whole = Settings(**scope_of(vars(settings)))
    with Run(run_dir, resume=resume, verbose=verbose).opened({"command": "finetune", **facts}) as run:
        problem = assemble(own, settings.method(seed), whole, None, run)
        with TuningLog(run.folder, problem.fingerprint, verbose, own.metric) as log:
            found = _begun_with(log, run, plans, problem.network, settings.refine_plans)
            phases = Phases(problem, recipe, settings, log, run)
            plan, trained = _all_phases(phases, found, run)
            baseline, cut, tuned = _scored(problem, plan, trained, phases)
            result = FineTuneResult(
                trained.model, plan, baseline, cut, tuned, tuple(log.history), tuple(log.done),
                wall_seconds=time.perf_counter() - began + log.seconds,
            )  # fmt: skip
            if run.folder is not None and settings.uniform_per_axis:
                keep_plain_folder(run.folder.path, result.model, problem.network.example)
            log.conclude(plan, summary_of(result, facts), baseline.val)
        if verbose:
            print_result(result, run.line())
    return result


def _all_phases(phases: Phases, plans: Sequence[PruningPlan], run: Run) -> tuple[PruningPlan, Trained]:
    """The chosen plan and its result; an error says where the best network so far is."""
    try:
        return phases.all(plans)
    except AmcError as error:
        if run.folder is not None and (run.folder.path / "pruned").is_dir():
            raise AmcError(f"{error}; the best network so far is in {run.folder.path / 'pruned'}") from error
        raise


def _scored(problem: Problem, plan: PruningPlan, trained: Trained, phases: Phases) -> tuple[Scored, ...]:
    """The dense network, the one cut and recovered, and the trained one."""
    network, cost = problem.network, problem.network.cost_model.cost
    return score_networks(
        (network.model, trained.cut_model, trained.model),
        (cost(), cost(plan), cost(plan)),
        (phases.tuner.score(network.model), trained.cut_metrics, trained.metrics),
        problem.task.test,
        network.example,
        problem.task.criterion,
    )


def _begun_with(log: TuningLog, run: Run, plans: Plans, network: Network, most: int) -> list[PruningPlan]:
    """The plans to choose from: a resumed run's own, or the given ones."""
    begun = log.plans(network.groups)
    if not begun:
        return _candidates(plans, network, most)
    if run.folder is not None and run.folder.continued and begun != _candidates(plans, network, most):
        raise AmcError(
            f"{run.folder.path}: holds a run that was stopped, of other plans than these; go on with it by "
            f"resume={run.folder.path}, or give another folder by hydra.run.dir="
        )
    return begun


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


def check_plan(path: str | Path, network: Network, settings: FineTuneSettings) -> None:
    """Raises ``AmcError`` if there is no plan of ``network`` in ``path``, or the stages don't lead to it."""
    stage_plans(PruningPlan.load(plan_file(path), network.groups), network.cost_model, settings.stages)


def plan_file(path: str | Path) -> Path:
    """The ``plan.json`` at ``path``, or in the run folder at ``path``."""
    path = Path(path)
    return path / "plan.json" if path.is_dir() else path
