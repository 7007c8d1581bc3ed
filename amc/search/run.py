"""Search for the best plan of a network under a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.text import Text
from torch import nn

from amc.core.device import resolve_device
from amc.core.types import Loss
from amc.evaluation.metrics import Metric
from amc.reporting.console import show
from amc.reporting.html import leave_report
from amc.reporting.tables import print_result
from amc.rewards import Reward, resolved
from amc.search.joint import search_networks
from amc.search.result import SearchResult
from amc.search.settings import Choices, method_of, name_of
from amc.task.kinds import AUTO, Wanted, wanted_of
from amc.task.settings import Settings
from amc.task.task import Images, Task
from amc.tracking import RunDir
from amc.tracking.run import Run


@torch.inference_mode(mode=False)
def search(
    model: nn.Module,
    *,
    train: Images,
    val: Images,
    test: Images | None = None,
    task: str | Wanted = AUTO,
    metric: str | Metric | Callable[..., Any] | None = None,
    loss: str | Loss | None = None,
    output: str | int | None = None,
    budget: float | None = 0.5,
    reward: str | Reward = "error_log_flops",
    importance: str = "l1",
    recovery: str = "least_squares",
    agent: str = "ddpg",
    episodes: int = 400,
    seed: int = 0,
    device: str | torch.device = "auto",
    settings: Settings | None = None,
    constraints: Mapping[str, Mapping[str, float]] | None = None,
    policy: str | Path | None = None,
    cache_dir: str | Path | None = None,
    run_dir: str | Path | RunDir | None = None,
    resume: bool = False,
    description: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    verbose: bool = True,
) -> SearchResult:
    """Searches for the plan with the best reward whose cost stays within the budget (AMC, He et al. 2018).

    Args:
        model: any trained network that maps images ``[n, c, h, w]`` to logits ``[n, classes]``. It is left as
            it is; a copy in float32 is used.
        train: calibration images for importance and recovery.
        val: images that plans are scored on.
        test: images for the final report only; the search never sees them.
        task: what the network does: one of :data:`amc.task.kinds.NAMES`, or ``auto``: found from targets and outputs.
        metric, loss, output: how its predictions are judged, see :class:`amc.task.kinds.Wanted`; ``None``: as is usual
            for the task.
        budget: largest cost as a fraction of the dense network's; ``None``: no limit (AMC's accuracy-guaranteed mode).
        reward: name of a reward in :mod:`amc.rewards`, dotted path, or callable.
        importance: one of :data:`amc.importance.NAMES`.
        recovery: one of :data:`amc.recovery.NAMES`.
        agent: one of :data:`agents.NAMES`.
        episodes: how many plans to try.
        seed: of everything that is random.
        device: ``auto``: CUDA if there is any.
        settings: everything else.
        constraints: bounds of single layers, in place of ``settings.constraints``, see
            :class:`amc.task.settings.Settings`: ``{"layer1.*": {"min_keep": 0.5, "max_keep": 0.9}}``.
        policy: folder of a learned policy, or of the run that learned it, to start from; it must be ``agent``'s. Its
            observation and hidden layers are taken over, the warm-up plays each heuristic and the policy's plans at
            four strengths once, and there is little exploration, unless ``settings`` say otherwise. A resumed run
            uses its own copy.
        cache_dir: where sensitivity curves are kept, see :func:`amc.core.files.cache_folder`.
        run_dir: folder to record the run in; nothing is written without one.
        resume: continue the run in ``run_dir`` instead of refusing to write there.
        description: how the network is built, see :func:`amc.pruning.saved.save_pruned`.
        facts: further entries for ``summary.json``, such as the model's name.
        verbose: print the groups, the progress and the result.

    Raises:
        AmcError: wrong input; nothing on disk is lost.
    """
    settings = settings or Settings()
    if constraints is not None:
        settings = replace(settings, constraints=constraints)
    method = method_of(settings, importance, recovery, seed)
    choices = Choices(budget, resolved(reward), name_of(reward), agent, episodes, method, settings)
    facts = {**(facts or {}), **choices.facts}
    name = str(facts.get("model", type(model).__name__))
    judged = wanted_of(task, metric=metric, loss=loss, output=output)
    prepared = Task.make(name, model, train, val, test, task=judged, description=description).on(resolve_device(device))
    own = {"command": "search", **facts, **choices.config}
    with Run(run_dir, cache_dir, resume, verbose).opened(own) as run:
        outcome = search_networks([prepared], choices.settled(), run, policy, facts).outcomes[name]
        result = outcome.result
        if run.folder is not None:
            leave_report(run.folder.path)
        if verbose:
            if outcome.finals is not None:
                show(Text(outcome.finals.line()))
            print_result(result.baseline, result.best, result.wall_seconds, result.seconds, run.line())
    return result
