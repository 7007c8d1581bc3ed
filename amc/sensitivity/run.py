"""Sensitivity analysis: each layer group cut alone, and a heuristic's plan from the curves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from amc.analysis.curve_cache import curve_fingerprint, curves_for
from amc.analysis.curves import Curves
from amc.analysis.heuristics.choose import Chosen, Questions, check_budget, choose
from amc.analysis.interactions import Interaction, independence, measure_interactions
from amc.core.device import resolve_device
from amc.core.progress import Progress
from amc.core.types import Loss, PruningPlan
from amc.evaluation.comparison import compare
from amc.evaluation.metrics import Metric
from amc.sensitivity.log import SensitivityLog
from amc.sensitivity.result import SensitivityResult, print_result, summary_of
from amc.task.kinds import AUTO, Wanted, wanted_of
from amc.task.method import Method
from amc.task.problem import Problem, assemble
from amc.task.settings import Settings
from amc.task.task import Images, Task
from amc.tracking import RunDir
from amc.tracking.run import Run
from envs.actions import uniform_plan


@torch.inference_mode(mode=False)
def sensitivity(
    model: nn.Module,
    *,
    train: Images,
    val: Images,
    test: Images | None = None,
    task: str | Wanted = AUTO,
    metric: str | Metric | Callable[..., Any] | None = None,
    loss: str | Loss | None = None,
    output: str | int | None = None,
    questions: Questions | None = None,
    budget: float | None = 0.5,
    importance: str = "l1",
    recovery: str = "least_squares",
    seed: int = 0,
    device: str | torch.device = "auto",
    settings: Settings | None = None,
    cache_dir: str | Path | None = None,
    run_dir: str | Path | RunDir | None = None,
    resume: bool = False,
    facts: Mapping[str, Any] | None = None,
    verbose: bool = True,
) -> SensitivityResult:
    """Cuts each layer group alone to several keep ratios, and makes a plan of the curves if a heuristic is given.

    Args:
        model: any trained network that maps images ``[n, c, h, w]`` to logits ``[n, classes]``. It is left as
            it is; a copy in float32 is used.
        train: calibration images for importance and recovery.
        val: images that everything is scored on.
        test: images for the final report only.
        task: what the network does: one of :data:`amc.task.kinds.NAMES`, or ``auto``: found from targets and outputs.
        metric, loss, output: how its predictions are judged, see :class:`amc.task.kinds.Wanted`; ``None``: as is usual
            for the task.
        questions: what to measure, and the heuristic.
        budget: largest cost of the heuristic's plan as a fraction of the dense network's.
        importance: one of :data:`amc.importance.NAMES`.
        recovery: one of :data:`amc.recovery.NAMES`.
        seed: of everything that is random.
        device: ``auto``: CUDA if there is any.
        settings: images, precision, smallest keep ratio …; what belongs to agents has no effect.
        cache_dir: where curves are kept for the next command that needs them, see :func:`amc.core.files.cache_folder`.
        run_dir: folder to record the run in; without one only the cache is written.
        resume: continue the run in ``run_dir`` instead of refusing to write there.
        facts: further entries for ``summary.json``.
        verbose: show the progress and the result.

    Raises:
        AmcError: wrong input; nothing on disk is lost.
    """
    settings, questions = settings or Settings(), questions or Questions()
    method = Method(importance, recovery, seed, settings.calibration_images, settings.recovery)
    check_budget(questions, settings.cost, budget)
    judged = wanted_of(task, metric=metric, loss=loss, output=output)
    own = Task.make(type(model).__name__, model, train, val, test, task=judged).on(resolve_device(device))
    asked = {"importance": importance, "recovery": recovery, **settings.limit_facts(budget)}
    facts = {"command": "sensitivity", **(facts or {}), **asked, "seed": seed}
    described = {"settings": asdict(settings), "questions": asdict(questions)}
    with Run(run_dir, cache_dir, resume, verbose).opened({**facts, **described}) as run:
        problem, log = (
            assemble(own, method, settings, budget if questions.needs_budget else None, run),
            SensitivityLog(run.folder),
        )
        with log:
            result = _analyse(problem, questions, run, log)
            summary = summary_of(result, {**facts, "precision": log.precision, **described})
            log.conclude(result, questions.pairs_keep_ratio, problem.network.cost_model, summary)
        if verbose:
            print_result(result, problem.network.cost_model, run.line())
    return result


def _analyse(problem: Problem, questions: Questions, run: Run, log: SensitivityLog) -> SensitivityResult:
    """Curves, pairs, the heuristic's plan and its scores."""
    began = time.perf_counter()
    log.begin(curve_fingerprint(problem))
    prepared = time.perf_counter()
    curves = curves_for(
        problem, questions.keep_ratios,
        cache_dir=run.cache_dir, known=log.points, on_point=log.point, verbose=run.verbose,
    )  # fmt: skip
    pairs = _pairs(problem, curves, questions, log, run.verbose)
    measured = time.perf_counter()
    chosen = choose(curves, questions, problem.budget, problem.network.cost_model)
    plans = {} if chosen is None else {"uniform": _uniform_plan(problem, chosen), "plan": chosen.plan}
    scored = compare(problem.network, problem.evaluator, plans, problem.task.test).scored
    ended = time.perf_counter()
    seconds = {"preparation": prepared - began, "curves": measured - prepared, "plan": ended - measured}
    return SensitivityResult(curves, pairs, independence(pairs), chosen, scored, seconds, wall_seconds=ended - began)


def _pairs(
    problem: Problem, curves: Curves, questions: Questions, log: SensitivityLog, verbose: bool
) -> tuple[Interaction, ...]:
    with Progress("pairs:", verbose, start=len(log.pairs)) as progress:

        def measured(pair: Interaction, done: int, total: int) -> None:
            log.pair(pair)
            dense = problem.evaluator.dense
            score = dense.scale.text(pair.score)
            progress.update(done, total, f"{pair.first} with {pair.second}: {dense.metric} {score}")

        return measure_interactions(
            curves, problem.network.groups, problem.evaluator, questions.sample(problem.method.seed),
            known=log.pairs, on_pair=measured,
        )  # fmt: skip


def _uniform_plan(problem: Problem, chosen: Chosen) -> PruningPlan:
    """The uniform plan that costs no more than the heuristic's."""
    cost_model, budget = problem.network.cost_model, problem.budget
    kept = uniform_plan(budget, cost_model.cost(chosen.plan).get(budget.cost))
    return PruningPlan.make(cost_model.groups, kept)
