"""The main job: search the best plan for a network under a budget. ``python -m amc.search model=resnet50``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.text import Text
from torch import nn

import agents
from amc.analysis.heuristics.hints import hints_for
from amc.analysis.measured import with_measured
from amc.core.device import resolve_device
from amc.core.errors import AmcError
from amc.core.types import Episode
from amc.data import ImageSet
from amc.evaluation.comparison import score_networks
from amc.evaluation.evaluator import Evaluator
from amc.policies.plans import policy_rules
from amc.policies.start import FOLDER, origin, settings_from, start_from, starting_policy
from amc.pruning.budget import Budget
from amc.pruning.network import Network
from amc.pruning.saved import keep_network
from amc.reporting.console import show
from amc.reporting.tables import group_table, print_result
from amc.rewards import Reward
from amc.search.finals import hold_finals
from amc.search.loop import Played, play, recording, restore
from amc.search.network_search import make_agent
from amc.search.recorder import Recorder
from amc.search.result import SearchResult, hparams_of, summary_of, trained_on
from amc.search.settings import check_agent, check_choices, needs_curves, settle_early_stop
from amc.task.problem import Problem, identity, make_evaluator, settled, trace_once
from amc.task.settings import Settings
from amc.task.task import as_images
from amc.tracking import RunDir, opened
from amc.tracking.plans import PARTS, best_episode

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

HINTS = "hints.json"


def search(
    model: nn.Module,
    *,
    train: ImageSet | DataLoader[Any],
    val: ImageSet | DataLoader[Any],
    test: ImageSet | DataLoader[Any] | None = None,
    budget: float | None = 0.5,
    reward: str | Reward = "error_log_flops",
    importance: str = "l1",
    recovery: str = "least_squares",
    agent: str = "ddpg",
    episodes: int = 400,
    seed: int = 0,
    device: str | torch.device = "auto",
    settings: Settings | None = None,
    policy: str | Path | None = None,
    cache_dir: str | Path | None = None,
    run_dir: str | Path | RunDir | None = None,
    resume: bool = False,
    description: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    verbose: bool = True,
) -> SearchResult:
    """Searches the plan with the best reward whose cost stays within the budget (AMC, He et al. 2018).

    Args:
        model: any trained network that maps images ``[n, c, h, w]`` to logits ``[n, classes]``. It is moved to the
            device and put into evaluation mode; its weights are left as they are.
        train: calibration images for importance and recovery.
        val: images that plans are scored on.
        test: images for the final report only; the search never sees them.
        budget: largest cost as a fraction of the uncut network's; ``None``: no limit (AMC's accuracy-guaranteed mode).
        reward: name of a reward in :mod:`amc.rewards`, dotted path, or callable.
        importance: one of :data:`amc.importance.NAMES`.
        recovery: one of :data:`amc.recovery.NAMES`.
        agent: one of :data:`agents.NAMES`.
        episodes: how many plans to try.
        seed: of everything that is random.
        device: ``auto``: CUDA if there is any.
        settings: everything else.
        policy: folder of a learned policy, or of the run that learned it, to start from; it must be ``agent``'s. Its
            observation and hidden layers are taken over, the warm-up plays each rule and what the policy walks to at
            four strengths once, and there is little exploration, unless ``settings`` say otherwise. A run that goes on
            has its own copy.
        cache_dir: where sensitivity curves are kept, see :func:`amc.core.files.cache_folder`.
        run_dir: folder to record the run in; nothing is written without one.
        resume: go on with the run in ``run_dir`` instead of refusing to write there.
        description: how the network is built, see :func:`amc.pruning.saved.save_pruned`.
        facts: further entries for ``summary.json``, such as the model's name.
        verbose: print the groups, the progress and the result.

    Raises:
        AmcError: wrong input; nothing on disk is lost.
    """
    started = time.perf_counter()
    settings = settings or Settings()
    rewarded = check_choices(reward, importance, recovery, agent, episodes, seed)
    facts = {
        **(facts or {}),
        "agent": agent,
        "reward": reward if isinstance(reward, str) else getattr(reward, "__name__", "custom"),
        "importance": importance,
        "recovery": recovery,
        "budget": {"cost": settings.cost, "keep": budget},
        "seed": seed,
    }
    place = resolve_device(device)
    train, val = as_images(train, place), as_images(val, place)
    test = None if test is None else as_images(test, place)
    own = {"command": "search", **facts, "settings": asdict(settings)}
    settings = settle_early_stop(settings, budget, agent, rewarded)
    facts["early_stop"] = settings.early_stop
    with opened(run_dir, resume, own) as folder:
        start = starting_policy(policy, folder)
        settings = settings_from(settings, agent, *start) if start else settings
        check_agent(settings, agent)
        needs_latency = settings.cost == "latency_ms" or reward == "error_log_latency"
        network = trace_once(model.to(place), train, settings, needs_latency, folder)
        original = network.cost_model.cost()
        if verbose:
            show(group_table(network.groups, original))
        limit = Budget(network.cost_model, settings.cost, budget, settings.min_keep, settings.channel_round)
        evaluator = make_evaluator(network, train, val, importance, recovery, settled(settings, folder), seed)
        if verbose:
            show(_baseline_line(evaluator, place))
        hints = None
        if needs_curves(settings, agent):
            hints = hints_for(
                network, evaluator, limit, train, val, importance, recovery, settings, seed,
                cache_dir=cache_dir, file=None if folder is None else folder.kept_file(HINTS), verbose=verbose,
            )  # fmt: skip
            facts["curves"] = {"evaluations": hints.evaluations, "seconds": hints.seconds}
        rules = {} if hints is None else dict(hints.plans)
        problem = with_measured(Problem(network, limit, evaluator), train, settings, folder, agent, verbose)
        if start:
            rules |= policy_rules(start[0], problem, settings)
        env = problem.env(
            settings,
            rewarded,
            rule="free" if agents.has_free_budget(agent) else None,
            plans=rules,
            prior=hints.prior if hints is not None and settings.prior else None,
        )
        player = make_agent(agent, env, seed, episodes, settings.agent)
        if start:
            start_from(player, *start, folder)
            facts["started_from"] = origin(start[0])
        recorder = None
        if folder is not None:
            task = {**identity(network, train, val), "precision": str(evaluator.dtype)}
            recorder = Recorder(folder, network.groups, original, task)
        before = restore(player, evaluator, recorder)
        preparation = time.perf_counter() - started
        record = recording(recorder, player, evaluator)
        played = play(player, before, episodes, original, limit.allows, record, verbose)
        best, ended = best_episode(played.episodes), time.perf_counter()
        finals = hold_finals(
            problem, played.episodes, lambda _: rewarded, train, val, settings,
            importance=importance, seed=seed, verbose=verbose,
        )  # fmt: skip
        if finals is not None:
            facts["finals"] = [finalist.to_json() for finalist in finals.finalists]
            evaluator, best = finals.evaluator, finals.finalists[0].again
        judged = time.perf_counter()
        if not best.within_budget:
            raise AmcError(f"agent={agent}: none of {episodes} episodes met the budget; give more episodes")
        result = _conclude(network, evaluator, played, best, test)
        seconds = {"preparation": preparation, "finals": judged - ended, "report": time.perf_counter() - judged}
        wall_seconds = time.perf_counter() - started + sum(e.seconds for e in before)
        result = replace(result, seconds={**result.seconds, **seconds}, wall_seconds=wall_seconds)
        if folder is not None and recorder is not None:
            name = facts.get("model", type(model).__name__)
            accuracy = {"uncut": result.baseline.val.accuracy, "best": result.best.val.accuracy}
            env.metadata["policy"]["trained_on"] = trained_on(facts, [name], settings.rule, {name: accuracy})
            player.save_policy(folder.path / FOLDER)
            facts["precision"] = str(evaluator.dtype).removeprefix("torch.")
            recorder.finish(result.episodes, best, summary_of(result, best, facts), *hparams_of(result, best, facts))
            keep_network(folder.path / "pruned", result.model, result.plan, result.best, train, description)
        if verbose:
            where = "nothing was recorded" if folder is None else folder.path
            if finals is not None:
                show(Text(finals.line()))
            print_result(result.baseline, result.best, result.wall_seconds, result.seconds, where)
    return result


def _conclude(
    network: Network, evaluator: Evaluator, played: Played, best: Episode, test: ImageSet | None
) -> SearchResult:
    """The best plan's network and its scores; the time of the whole search is the caller's to fill in."""
    small = evaluator.cutter.cut(best.plan)
    baseline_scored, best_scored = score_networks(
        (network.model, small),
        (network.cost_model.cost(), best.cost),
        (evaluator.dense, best.metrics),
        test,
        network.example,
    )
    seconds = {part: sum(e.metrics.seconds.get(part, 0.0) for e in played.episodes) for part in PARTS}
    return SearchResult(
        plan=best.plan,
        model=small,
        baseline=baseline_scored,
        best=best_scored,
        episodes=played.episodes,
        groups=network.groups,
        seconds={**seconds, "recording": played.recording_seconds},
    )


def _baseline_line(evaluator: Evaluator, device: torch.device) -> Text:
    dense = evaluator.dense
    precision = str(evaluator.dtype).removeprefix("torch.")
    return Text(f"uncut: {dense.accuracy:.2%} on {dense.images} validation images, {precision} on {device}")
