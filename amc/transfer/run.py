"""A learned policy on a new network, without a search. ``python -m amc.transfer policy=RUN_DIR model=mobilenet_v2``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.text import Text
from torch import nn

from agents.policy.policy import Policy
from amc.analysis.divergence import divergences
from amc.analysis.measured import measure_groups
from amc.core.checks import one_of
from amc.core.device import resolve_device
from amc.core.types import Loss, PruningPlan
from amc.evaluation.comparison import DENSE, compare
from amc.evaluation.metrics import Metric
from amc.policies.plans import STRENGTHS, walks
from amc.policies.start import origin, read
from amc.pruning.saved import keep_network
from amc.reporting.console import show
from amc.reporting.tables import result_table
from amc.task.kinds import AUTO, Wanted, wanted_of
from amc.task.method import Method
from amc.task.problem import Problem, assemble
from amc.task.settings import Settings
from amc.task.task import Images, Task
from amc.tracking import RunDir
from amc.tracking.run import Run
from amc.transfer.result import TransferResult, record, strengths_line

log = logging.getLogger(__name__)
STRENGTH_BY = ("divergence", "accuracy")
DIVERGENCE_IMAGES = 1000  # of the training split


@torch.inference_mode(mode=False)
def transfer(
    model: nn.Module,
    policy: str | Path | Policy,
    *,
    train: Images,
    val: Images,
    test: Images | None = None,
    task: str | Wanted = AUTO,
    metric: str | Metric | Callable[..., Any] | None = None,
    loss: str | Loss | None = None,
    output: str | int | None = None,
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
    """Makes a learned policy's plan for a network and compares it with the uniform plan.

    Args:
        model: the trained network; left as it is.
        policy: of an earlier search: its run folder, the ``policy/`` in it, or the policy read from there.
        train: calibration images for importance and recovery.
        val: images that the plans are scored on.
        test: images for the report only.
        task: what the network does: one of :data:`amc.task.kinds.NAMES`, or ``auto``: found from targets and outputs.
        metric, loss, output: how its predictions are judged, see :class:`amc.task.kinds.Wanted`; ``None``: as is usual
            for the task.
        budget: largest cost as a fraction of the dense network's; ``None``: no limit.
        strengths: how far the policy departs from the uniform plan, a walk and an evaluation each; the best is taken.
            Without a budget only 1, the policy as it is.
        strength_by: the best is that of least ``divergence`` (Kullback-Leibler) of the outputs from the dense network's
            on 1,000 training images, which needs no labels, or of highest ``accuracy`` on the validation images. Of 63
            transfers the first was better in 24 and worse in 2 (``experiments/transfer``).
        importance, recovery: of :data:`amc.importance.NAMES`, :data:`amc.recovery.NAMES`.
        seed: of everything that is random.
        device: ``auto``: CUDA if there is any.
        settings: everything else; by default the finished walk is projected onto the budget, and scored in fp32:
            checking whether bf16 is as accurate takes longer than a few walks. The observation is the policy's,
            whatever ``settings`` say.
        run_dir: folder to record the run in; nothing is written without one.
        description: how the network is built, see :func:`amc.pruning.saved.save_pruned`.
        facts: further entries for ``summary.json``.
        verbose: print the result.

    Raises:
        AmcError: wrong input, a damaged policy, or one that needs another version of its observation.
    """
    began = time.perf_counter()
    one_of("strength_by", strength_by, STRENGTH_BY)
    learned = policy if isinstance(policy, Policy) else read(policy)
    layout: Any = learned.layout
    settings = replace(settings or Settings(precision="fp32"), observation=layout)
    method = Method(importance, recovery, seed, settings.calibration_images, settings.recovery)
    if layout == "amc":
        log.warning("the policy reads the observation 'amc', scaled to each network; 'portable' is meant for new ones")
    asked = {"importance": importance, "recovery": recovery}
    limits = settings.limit_facts(budget)
    limits["budget"] |= {"rule": settings.rule}
    facts = {**(facts or {}), "learned": origin(learned), **asked, **limits, "seed": seed}
    judged = wanted_of(task, metric=metric, loss=loss, output=output)
    own = Task.make(type(model).__name__, model, train, val, test, task=judged, description=description)
    own = own.on(resolve_device(device))
    with Run(run_dir, verbose=verbose).opened({"command": "transfer", **facts}) as run:
        problem = assemble(own, method, settings, budget, run)
        measure_groups(problem, run)
        walked = walks(learned, problem, strengths)
        strength, tried = _best(walked, problem, strength_by)
        plans = {"uniform": problem.uniform_plan(), "policy": walked[strength]}
        compared = compare(problem.network, problem.evaluator, plans, own.test)
        result = TransferResult(
            plans["policy"],
            compared.models["policy"],
            uncut=compared.scored[DENSE],
            uniform=compared.scored["uniform"],
            policy=compared.scored["policy"],
            groups=problem.network.groups,
            strength=strength,
            strength_by=strength_by,
            tried=tried,
            wall_seconds=time.perf_counter() - began,
        )
        if run.folder is not None:
            pruned = run.folder.path / "pruned"
            keep_network(pruned, result.model, result.plan, result.policy, own.train, description)
            record(run.folder, result, facts)
        if verbose:
            show(result_table(compared.scored))
            show(strengths_line(result))
            show(Text(f"{result.wall_seconds:.1f} s; {run.line()}"))
    return result


def _best(walked: Mapping[float, PruningPlan], problem: Problem, by: str) -> tuple[float, dict[float, float]]:
    """The best strength, and the criterion's value at each."""
    if by == "divergence":
        moved = divergences(problem.evaluator, problem.task.train.take(DIVERGENCE_IMAGES), walked)
        return min(moved, key=lambda strength: moved[strength]), moved
    scores = {strength: problem.evaluator.in_full(plan) for strength, plan in walked.items()}
    best = max(scores, key=lambda strength: (scores[strength].score, -scores[strength].loss))
    return best, {strength: metrics.score for strength, metrics in scores.items()}
