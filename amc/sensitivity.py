"""What each layer group alone can lose, and plans made of that. ``python -m amc.sensitivity model=resnet50``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.text import Text
from torch import nn

from amc.analysis.cached import curve_task, curves_for
from amc.analysis.choices import uniform_plan
from amc.analysis.curves import Curves
from amc.analysis.interactions import Interaction, independence, measure_interactions
from amc.analysis.rules import Chosen, Questions, check_budget, choose
from amc.budget import Budget
from amc.checks import refuse_unknown
from amc.compared import compare
from amc.configured import settings_of
from amc.data import ImageSet
from amc.evaluate import Evaluator
from amc.precision import resolve_device
from amc.preparation import Problem, as_images
from amc.problem import Network, make_evaluator, trace_network
from amc.progress import Progress
from amc.report import show
from amc.sensitivity_log import SensitivityLog
from amc.sensitivity_result import SensitivityResult, print_result, summary_of
from amc.settings import Settings, check_cutting
from amc.tracking import RunDir, opened, run_folder
from amc.types import PruningPlan

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch.utils.data import DataLoader

__all__ = ["Questions", "SensitivityResult", "Settings", "main", "main_from_config", "sensitivity"]


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
        cache_dir: where curves are kept for the next command that needs them, see :func:`amc.files.cache_folder`.
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
        scored = compare(Problem(network, limit, evaluator), _plans(network, chosen, limit), test).scored
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


def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads data and network as configured, then analyses."""
    from omegaconf import OmegaConf

    from amc.setup import load_task

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    resume, verbose = plain.pop("resume"), plain.pop("verbose")
    settings, questions, keep = settings_of(plain), _questions(plain), plain["budget"]["keep"]
    choices = {"importance": plain["importance"]["name"], "recovery": plain["recovery"]["name"], "seed": plain["seed"]}
    check_cutting(**choices)
    check_budget(questions, settings.cost, keep)
    with run_folder(run_dir, resume is not None, {"command": "sensitivity", **plain}) as folder:
        task = load_task(config)
        splits = task.splits
        facts = {"model": plain["model"]["name"], **task.facts}
        if verbose:
            counts = ", ".join(f"{count} {name}" for name, count in facts["images"].items())
            show(Text(f"{facts['model']}: {task.source}; {splits.name}: {counts}, validation from {splits.val_from}"))
        sensitivity(
            task.model,
            train=splits.train,
            val=splits.val,
            test=splits.test,
            questions=questions,
            budget=keep,
            **choices,
            device=plain["device"],
            settings=settings,
            cache_dir=plain["cache_dir"],
            run_dir=folder,
            facts=facts,
            verbose=verbose,
        )


def _questions(plain: Mapping[str, Any]) -> Questions:
    for section, known in (
        ("size_aware", ("choices", "time_limit_seconds")),
        ("interactions", ("pairs", "keep_ratio")),
    ):
        refuse_unknown(section, plain[section], known)
    return Questions(
        keep_ratios=plain["keep_ratios"],
        rule=plain["rule"],
        accuracy_drop=plain["accuracy_drop"],
        **plain["size_aware"],
        pairs=plain["interactions"]["pairs"],
        pairs_keep_ratio=plain["interactions"]["keep_ratio"],
    )


def main() -> None:
    """``python -m amc.sensitivity`` and the console script."""
    from amc.cli import run

    run("sensitivity", main_from_config)


if __name__ == "__main__":
    main()
