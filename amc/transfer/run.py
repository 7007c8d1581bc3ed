"""A learned policy on a new network, without a search. ``python -m amc.transfer policy=RUN_DIR model=mobilenet_v2``."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.text import Text
from torch import nn

from agents.policy.policy import Policy
from amc.analysis.divergence import divergences
from amc.analysis.measured import with_measured
from amc.core.checks import one_of
from amc.core.device import resolve_device
from amc.core.types import PruningPlan
from amc.data import ImageSet
from amc.evaluation.comparison import compare
from amc.evaluation.evaluator import Evaluator
from amc.policies.plans import STRENGTHS, walks
from amc.policies.start import origin, read
from amc.pruning.saved import keep_network
from amc.reporting.console import show
from amc.reporting.tables import result_table
from amc.task.problem import prepare
from amc.task.settings import Settings, check_cutting
from amc.task.task import Images, as_images
from amc.tracking import RunDir, opened
from amc.transfer.result import TransferResult, _record, _strengths_line

log = logging.getLogger(__name__)
STRENGTH_BY = ("divergence", "accuracy")
DIVERGENCE_IMAGES = 1000  # of the training split


def transfer(
    model: nn.Module,
    policy: str | Path | Policy,
    *,
    train: Images,
    val: Images,
    test: Images | None = None,
    budget: float | None = 0.5,
    strengths: Sequence[float] = STRENGTHS,
    strength_by: str = "divergence",
    importance: str = "l1",
    recovery: str = "least_squares",
    seed: int = 0,
    device: str | torch.device = "auto",
    settings: Settings | None = None,
    run_dir: str | Path | RunDir | None = None,
    description: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    verbose: bool = True,
) -> TransferResult:
    """Walks a learned policy over a network, and compares its plan with the uniform one.

    Args:
        model: the trained network; its weights are left as they are.
        policy: of an earlier search: its run folder, the ``policy/`` in it, or what was read from there.
        train: calibration images for importance and recovery.
        val: images that the plans are scored on.
        test: images for the report only.
        budget: largest cost as a fraction of the uncut network's; ``None``: no limit.
        strengths: how far the policy departs from the uniform plan, a walk and an evaluation each; the best is taken.
            Without a budget only 1, the policy as it is.
        strength_by: the best is that of least ``divergence`` (Kullback-Leibler) of the outputs from the uncut network's
            on 1,000 training images, which needs no labels, or of most ``accuracy`` on the validation images. Of 63
            transfers the first was better in 24 and worse in 2 (``experiments/transfer``).
        importance, recovery: names.
        seed: of what is sampled.
        device: ``auto``: CUDA if there is any.
        settings: everything else; by default the finished walk is projected onto the budget, and scored in fp32: to
            see whether bf16 is as accurate takes longer than a few walks. The observation is the policy's, whatever
            ``settings`` say.
        run_dir: folder to record the run in; nothing is written without one.
        description: how the network is built, see :func:`amc.pruning.saved.save_pruned`.
        facts: further entries for ``summary.json``.
        verbose: print the result.

    Raises:
        AmcError: wrong input, a damaged policy, or one that reads another observation than this version shows.
    """
    started = time.perf_counter()
    check_cutting(importance, recovery, seed)
    one_of("strength_by", strength_by, STRENGTH_BY)
    learned = policy if isinstance(policy, Policy) else read(policy)
    layout: Any = learned.layout
    settings = replace(settings or Settings(precision="fp32"), observation=layout)
    if layout == "amc":
        log.warning("the policy reads the observation 'amc', scaled to each network; 'portable' is meant for new ones")
    facts = {
        **(facts or {}),
        "learned": origin(learned),
        "importance": importance,
        "recovery": recovery,
        "budget": {"cost": settings.cost, "keep": budget, "rule": settings.rule},
        "seed": seed,
    }
    place = resolve_device(device)
    train, val = as_images(train, place), as_images(val, place)
    test = None if test is None else as_images(test, place)
    with opened(run_dir, False, {"command": "transfer", **facts}) as folder:
        problem = prepare(
            model.to(place), train, val, budget=budget, importance=importance, recovery=recovery,
            settings=settings, seed=seed, folder=folder,
        )  # fmt: skip
        problem = with_measured(problem, train, settings, folder, verbose=verbose)
        walked = walks(learned, problem, settings, strengths)
        strength, tried = _best(walked, problem.evaluator, train, strength_by)
        plans = {"uniform": problem.uniform_plan(settings), "policy": walked[strength]}
        compared = compare(problem.network, problem.evaluator, plans, test)
        result = TransferResult(
            plans["policy"],
            compared.models["policy"],
            **compared.scored,
            groups=problem.network.groups,
            strength=strength,
            strength_by=strength_by,
            tried=tried,
            wall_seconds=time.perf_counter() - started,
        )
        if folder is not None:
            _record(folder, result, facts)
            keep_network(folder.path / "pruned", result.model, result.plan, result.policy, train, description)
        if verbose:
            show(result_table(compared.scored))
            show(_strengths_line(result))
            show(Text(f"{result.wall_seconds:.1f} s; run folder: {folder.path if folder else 'nothing was recorded'}"))
    return result


def _best(
    walked: Mapping[float, PruningPlan], evaluator: Evaluator, train: ImageSet, by: str
) -> tuple[float, dict[float, float]]:
    """The best strength, and what each came to."""
    if by == "divergence":
        moved = divergences(evaluator, train.take(DIVERGENCE_IMAGES), walked)
        return min(moved, key=lambda strength: moved[strength]), moved
    scores = {strength: evaluator.in_full(plan) for strength, plan in walked.items()}
    best = max(scores, key=lambda strength: (scores[strength].accuracy, -scores[strength].loss))
    return best, {strength: metrics.accuracy for strength, metrics in scores.items()}
