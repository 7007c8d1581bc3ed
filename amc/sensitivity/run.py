"""What each layer group alone can lose, and plans made of that. ``python -m amc.sensitivity model=resnet50``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from amc.analysis.curve_cache import curve_task, curves_for
from amc.analysis.curves import Curves
from amc.analysis.heuristics.choose import Chosen, Questions, check_budget, choose
from amc.analysis.heuristics.counts import uniform_plan
from amc.analysis.interactions import Interaction, independence, measure_interactions
from amc.core.device import resolve_device
from amc.core.progress import Progress
from amc.core.types import PruningPlan
from amc.data import ImageSet
from amc.evaluation.comparison import compare
from amc.evaluation.evaluator import Evaluator
from amc.pruning.budget import Budget
from amc.pruning.network import Network, trace_network
from amc.sensitivity.log import SensitivityLog
from amc.sensitivity.result import SensitivityResult, print_result, summary_of
from amc.task.problem import make_evaluator
from amc.task.settings import Settings, check_cutting
from amc.task.task import as_images
from amc.tracking import RunDir, opened

if TYPE_CHECKING:
    from torch.utils.data import DataLoader


def sensitivity(
    model: nn.Module,
    *,
    train: ImageSet | DataLoader[Any],
    val: ImageSet | DataLoader[Any],
    test: ImageSet | DataLoader[Any] | None = None,
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
    """Cuts each layer group alone to several keep ratios, and makes a plan of the curves if a rule is asked for.

    Args:
        model: any trained network that maps images ``[n, c, h, w]`` to logits ``[n, classes]``. It is moved to the
            device and put into evaluation mode; its weights are left as they are.
        train: calibration images for importance and recovery.
        val: images that everything is scored on.
        test: images for the final report only.
        questions: what to measure, and the rule.
        budget: largest cost of the rule's plan as a fraction of the uncut network's.
        importance: one of :data:`amc.importance.NAMES`.
        recovery: one of :data:`amc.recovery.NAMES`.
        seed: of everything that is random.
        device: ``auto``: CUDA if there is any.
        settings: images, precision, smallest keep ratio …; what belongs to agents has no effect.
        cache_dir: where curves are kept for the next command that needs them, see :func:`amc.core.files.cache_folder`.
        run_dir: folder to record the run in; without one only the cache is written.
        resume: go on with the run in ``run_dir`` instead of refusing to write there.
        facts: further entries for ``summary.json``.
        verbose: show the progress and the result.

    Raises:
        AmcError: wrong input; nothing on disk is lost.
    """
    started = time.perf_counter()
    settings, questions = settings or Settings(), questions or Questions()
    check_cutting(importance, recovery, seed)
    check_budget(questions, settings.cost, budget)
    place = resolve_device(device)
    train, val = as_images(train, place), as_images(val, place)
    test = None if test is None else as_images(test, place)
    asked = {"importance": importance, "recovery": recovery, "budget": {"cost": settings.cost, "keep": budget}}
    facts = {"command": "sensitivity", **(facts or {}), **asked, "seed": seed}
    described = {"settings": asdict(settings), "questions": asdict(questions)}
    with opened(run_dir, resume, {**facts, **described}) as folder, SensitivityLog(folder) as log:
        example = train.take(1).normalised()
        network = trace_network(
            model.to(place), example, prune_residual=settings.prune_residual, freeze=settings.freeze
        )
        keep = budget if questions.needs_budget else None
        limit = Budget(network.cost_model, settings.cost, keep, settings.min_keep, settings.channel_round)
        settings = log.settled(settings)
        evaluator = make_evaluator(network, train, val, importance, recovery, settings, seed)
        task = curve_task(network, train, val, importance, recovery, settings, seed, evaluator)
        log.begin(task)
        prepared = time.perf_counter()
        curves = curves_for(
            network, evaluator, questions.keep_ratios, task,
            cache_dir=cache_dir, known=log.points, on_point=log.point, verbose=verbose,
        )  # fmt: skip
        pairs = _pairs(network, evaluator, curves, questions, seed, log, verbose)
        measured = time.perf_counter()
        chosen = choose(curves, questions, limit, network.cost_model)
        scored = compare(network, evaluator, _plans(network, chosen, limit), test).scored
        ended = time.perf_counter()
        seconds = {"preparation": prepared - started, "curves": measured - prepared, "plan": ended - measured}
        result = SensitivityResult(
            curves, pairs, independence(pairs), chosen, scored, seconds, wall_seconds=ended - started
        )
        summary = summary_of(result, {**facts, "precision": task["precision"], **described})
        log.conclude(curves, pairs, questions.pairs_keep_ratio, chosen, network.cost_model, summary)
        if verbose:
            print_result(
                result, network.cost_model, "nothing was recorded" if folder is None else f"run folder: {folder.path}"
            )
    return result


def _pairs(
    network: Network,
    evaluator: Evaluator,
    curves: Curves,
    questions: Questions,
    seed: int,
    log: SensitivityLog,
    verbose: bool,
) -> tuple[Interaction, ...]:
    with Progress("pairs:", verbose, start=len(log.pairs)) as progress:

        def measured(pair: Interaction, done: int, total: int) -> None:
            log.pair(pair)
            progress.update(done, total, f"{pair.first} with {pair.second}: accuracy {pair.accuracy:.2%}")

        return measure_interactions(
            curves, network.groups, evaluator, questions.pairs, questions.pairs_keep_ratio, seed,
            known=log.pairs, on_pair=measured,
        )  # fmt: skip


def _plans(network: Network, chosen: Chosen | None, budget: Budget) -> dict[str, PruningPlan]:
    """With a rule, its plan beside a uniform one of no more cost."""
    if chosen is None:
        return {}
    cost_model = network.cost_model
    limit = cost_model.cost(chosen.plan).get(budget.cost)
    uniform = uniform_plan(network.groups, cost_model, budget.cost, limit, budget)
    return {"uniform": uniform, "plan": chosen.plan}
