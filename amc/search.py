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
from amc.analysis.hints import hints_for
from amc.budget import Budget
from amc.configured import choices_of, settings_of
from amc.data import ImageSet
from amc.errors import AmcError
from amc.evaluate import Evaluator
from amc.finals import hold_finals
from amc.learned import FOLDER, origin, settings_from, start_from, starting_policy
from amc.loop import Played, best_episode, play, recording, restore
from amc.precision import resolve_device
from amc.preparation import Problem, as_images, make_agent, settled, trace_once, with_measured
from amc.problem import Network, identity, make_evaluator, trace_network
from amc.recorder import PARTS, Recorder
from amc.report import group_table, print_result, show
from amc.result import SearchResult, hparams_of, keep_network, score_networks, summary_of, trained_on
from amc.rewards import Reward
from amc.settings import Settings, check_choices, settle_early_stop
from amc.tracking import RunDir, opened, run_folder
from amc.types import Episode
from amc.walks import policy_rules

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch.utils.data import DataLoader

__all__ = ["SearchResult", "Settings", "main", "main_from_config", "search"]

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
        cache_dir: where sensitivity curves are kept, see :func:`amc.files.cache_folder`.
        run_dir: folder to record the run in; nothing is written without one.
        resume: go on with the run in ``run_dir`` instead of refusing to write there.
        description: how the network is built, see :func:`amc.pruned.save_pruned`.
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
        settings.check_agent(agent)
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
        if settings.needs_curves(agent):
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


def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads data and network as configured, then prints the groups (``dry_run=true``) or searches."""
    from omegaconf import OmegaConf

    from amc.joint_main import joint_from_config, network_configs
    from amc.setup import load_task

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    resume, dry_run, verbose = (plain.pop(key) for key in ("resume", "dry_run", "verbose"))
    settings, choices = settings_of(plain), choices_of(plain)
    check_choices(**choices)
    settings.check_agent(choices["agent"])
    networks = network_configs(config)
    if dry_run:
        for network in networks:
            _dry_run(network, settings, plain["budget"]["keep"])
        return
    if plain["networks"]:
        joint_from_config(config, run_dir)
        return
    with run_folder(run_dir, resume is not None, {"command": "search", **plain}) as folder:
        started = time.perf_counter()
        task = load_task(config)
        splits = task.splits
        facts = {
            "model": plain["model"]["name"],
            **task.facts,
            "loading_seconds": time.perf_counter() - started,
        }
        if verbose:
            counts = ", ".join(f"{count} {name}" for name, count in facts["images"].items())
            show(Text(f"{facts['model']}: {task.source}; {splits.name}: {counts}, validation from {splits.val_from}"))
        search(
            task.model,
            train=splits.train,
            val=splits.val,
            test=splits.test,
            budget=plain["budget"]["keep"],
            **choices,
            device=plain["device"],
            settings=settings,
            policy=plain["policy"],
            cache_dir=plain["cache_dir"],
            run_dir=folder,
            description=task.description,
            facts=facts,
            verbose=verbose,
        )


def _dry_run(config: DictConfig, settings: Settings, keep: float | None) -> None:
    """Prints the layer groups, and how far the budget's cost can go down."""
    from amc.setup import load_untrained

    task = load_untrained(config)
    example = task.splits.train.take(1).normalised()
    network = trace_network(task.model, example, prune_residual=settings.prune_residual, freeze=settings.freeze)
    show(group_table(network.groups, network.cost_model.cost()))
    if settings.cost != "latency_ms":
        limit = Budget(network.cost_model, settings.cost, None, settings.min_keep, settings.channel_round)
        show(Text(f"smallest reachable {settings.cost}: {limit.smallest:.4f} of the uncut network's; asked: {keep}"))


def main() -> None:
    """``python -m amc.search`` and the console script."""
    from amc.cli import run

    run("search", main_from_config)


if __name__ == "__main__":
    main()
