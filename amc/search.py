"""The main job: search the best plan for a network under a budget. ``python -m amc.search model=resnet50``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

import agents
from amc.budget import Budget
from amc.data import ImageSet
from amc.errors import AmcError
from amc.evaluate import Evaluator
from amc.files import read_json, write_json
from amc.latency import LatencyCostModel, measure_ms
from amc.precision import resolve_device
from amc.problem import Network, make_evaluator, trace_network
from amc.progress import Progress
from amc.recorder import PARTS, Recorder
from amc.report import Scored, group_table, print_result, show
from amc.rewards import get_reward
from amc.surgery import Surgeon
from amc.tracking import RunDir
from amc.types import Cost, Episode, LayerGroup, Metrics, PruningPlan
from envs.channel_pruning import ChannelPruningEnv

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch.utils.data import DataLoader

Reward = Callable[[Metrics, Cost, Cost], float]
LATENCY_TABLE = "latency_table.json"
PACKAGES = ("torch", "torchvision", "torch-pruning", "gymnasium", "stable-baselines3", "numpy")


@dataclass(frozen=True)
class Settings:
    """What is seldom changed.

    Attributes:
        cost: what the budget limits: ``macs``, ``params`` or ``latency_ms`` (measures a table first).
        min_keep: smallest keep ratio of any group.
        channel_round: kept counts are multiples of it.
        observation: ``amc`` (as in the paper) or ``portable`` (the same meaning on every network).
        prune_residual: ``False`` keeps residual streams whole.
        freeze: names or patterns of layers that stay whole.
        calibration_images: training images for importance and recovery.
        val_images: validation images that each plan is scored on; ``None``: all.
        batch_size: images in one forward pass.
        precision: ``fp32``, ``bf16``, or ``auto``: bf16 on hardware that has it if accuracy stays the same.
        agent: settings of the agent, such as ``warmup_episodes``.
        recovery: settings of the recovery, such as ``positions``.
    """

    cost: str = "macs"
    min_keep: float = 0.1
    channel_round: int = 1
    observation: Literal["amc", "portable"] = "amc"
    prune_residual: bool = True
    freeze: Sequence[str] = ()
    calibration_images: int = 512
    val_images: int | None = 1000
    batch_size: int = 125
    precision: str = "auto"
    agent: Mapping[str, Any] = field(default_factory=dict)
    recovery: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        plan: the best plan.
        model: the network cut by it and recovered, in float32; not fine-tuned.
        baseline, best: scores and costs of the uncut network and of ``model``.
        episodes: every episode, in order.
        groups: the network's layer groups.
        seconds: where the time went, by part.
        wall_seconds: of the whole search, a resumed one's earlier episodes included.
    """

    plan: PruningPlan
    model: nn.Module
    baseline: Scored
    best: Scored
    episodes: tuple[Episode, ...]
    groups: tuple[LayerGroup, ...]
    seconds: Mapping[str, float]
    wall_seconds: float


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
    run_dir: str | Path | None = None,
    resume: bool = False,
    config: Mapping[str, Any] | None = None,
    verbose: bool = True,
) -> SearchResult:
    """Searches the plan with the best reward whose cost stays within the budget (AMC, He et al. 2018).

    Args:
        model: any trained network that maps images ``[n, c, h, w]`` to logits ``[n, classes]``; left uncut.
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
        run_dir: folder to record the run in; nothing is written without one.
        resume: go on with the run in ``run_dir`` instead of refusing to write there.
        config: what ``config.json`` of the run holds; a resumed run's must be the same.
        verbose: print the groups, the progress and the result.

    Raises:
        AmcError: wrong input; nothing on disk is lost.
    """
    if episodes < 1:
        raise AmcError(f"episodes={episodes}: give at least 1")
    started = time.perf_counter()
    settings = settings or Settings()
    place = resolve_device(device)
    train, val = as_images(train, place), as_images(val, place)
    with _run_folder(run_dir, resume, config or {}) as folder:
        needs_latency = settings.cost == "latency_ms" or reward == "error_log_latency"
        network = _trace(model.to(place), train, settings, needs_latency, folder)
        original = network.cost_model.cost()
        if verbose:
            show(group_table(network.groups, original))
        limit = Budget(network.cost_model, settings.cost, budget, settings.min_keep, settings.channel_round)
        evaluator = make_evaluator(
            network,
            train,
            val,
            importance=importance,
            recovery=recovery,
            recovery_settings=settings.recovery,
            calibration_images=settings.calibration_images,
            val_images=settings.val_images,
            batch_size=settings.batch_size,
            precision=settings.precision,
            seed=seed,
        )
        judge = get_reward(reward) if isinstance(reward, str) else reward
        env = ChannelPruningEnv(network.cost_model, limit, evaluator, judge, observation=settings.observation)
        player = _agent(agent, env, seed, settings.agent)
        recorder = Recorder(folder, network.groups, original, evaluator.dense.images) if folder else None
        before = _restore(player, evaluator, recorder)
        preparation = time.perf_counter() - started
        played = _play(player, before, episodes, original, recorder, verbose)
        best = best_episode(played)
        small = evaluator.prune(best.plan)
        baseline_scored, best_scored = _score(
            network, evaluator, best, small, None if test is None else as_images(test, place)
        )
        wall_seconds = time.perf_counter() - started + sum(e.seconds for e in before)
        seconds = {part: sum(e.metrics.seconds.get(part, 0.0) for e in played) for part in PARTS}
        result = SearchResult(
            plan=best.plan,
            model=small,
            baseline=baseline_scored,
            best=best_scored,
            episodes=tuple(played),
            groups=network.groups,
            seconds={**seconds, "preparation": preparation},
            wall_seconds=wall_seconds,
        )
        if folder is not None and recorder is not None:
            player.save_policy(folder.path / "policy")
            facts = {
                "agent": agent,
                "reward": reward if isinstance(reward, str) else getattr(reward, "__name__", "custom"),
                "importance": importance,
                "recovery": recovery,
                "budget": {"cost": settings.cost, "keep": budget},
                "seed": seed,
                "precision": str(evaluator.dtype).removeprefix("torch."),
            }
            _finish(recorder, result, facts, config or {})
        if verbose:
            where = "nothing was recorded" if folder is None else folder.path
            print_result(baseline_scored, best_scored, result.wall_seconds, result.seconds, where)
    return result


def best_episode(episodes: Sequence[Episode]) -> Episode:
    """The one with the highest reward; the first of equals."""
    return max(episodes, key=lambda episode: episode.reward)


def as_images(images: ImageSet | DataLoader[Any], device: torch.device) -> ImageSet:
    """The images on ``device``; a ``DataLoader`` is read once."""
    found = images if isinstance(images, ImageSet) else ImageSet.from_loader(images)
    return found.to(device)


@contextmanager
def _run_folder(path: str | Path | None, resume: bool, config: Mapping[str, Any]) -> Iterator[RunDir | None]:
    """The locked run folder, with the configuration written down or, at a resume, compared."""
    if path is None:
        yield None
    elif resume:
        with RunDir.open(path) as folder:
            folder.check_config(config)
            yield folder
    else:
        with RunDir.create(path) as folder:
            folder.write_config(config)
            yield folder


def _agent(name: str, env: ChannelPruningEnv, seed: int, settings: Mapping[str, Any]) -> agents.Agent:
    try:
        return agents.make(name, env, seed, **settings)
    except ValueError as error:
        raise AmcError(str(error)) from error


def _trace(
    model: nn.Module, train: ImageSet, settings: Settings, needs_latency: bool, folder: RunDir | None
) -> Network:
    """Groups and costs. A latency table is measured once in a run's life, or its budget would change at a resume."""
    table = None if folder is None else folder.path / LATENCY_TABLE
    network = trace_network(
        model,
        train.take(1).normalised(),
        prune_residual=settings.prune_residual,
        freeze=settings.freeze,
        latency=read_json(table) if needs_latency and table is not None and table.exists() else needs_latency,
    )
    if table is not None and isinstance(network.cost_model, LatencyCostModel):
        write_json(table, network.cost_model.to_json())
    return network


def _restore(player: agents.Agent, evaluator: Evaluator, recorder: Recorder | None) -> list[Episode]:
    """The episodes of an earlier part of the run, with agent and evaluator as they were after them."""
    episodes, checkpoint = recorder.restore() if recorder else ([], None)
    evaluator.remember({e.plan: e.metrics for e in episodes})
    if checkpoint is not None:
        player.load_state(checkpoint["agent"])
    return episodes


def _play(
    player: agents.Agent,
    before: Sequence[Episode],
    episodes: int,
    original: Cost,
    recorder: Recorder | None,
    verbose: bool,
) -> list[Episode]:
    """All episodes: those of before and the ones still missing, each recorded as soon as it is finished."""
    played = list(before)
    best = best_episode(played) if played else None
    with Progress("episode", verbose, start=len(played)) as progress:
        for index in range(len(played), episodes):
            episode = play_episode(player, index)
            played.append(episode)
            best = episode if best is None or episode.reward > best.reward else best
            if recorder:
                recorder.episode(episode, best, player.state())
            macs_ratio, accuracy = episode.cost.macs / original.macs, episode.metrics.accuracy
            status = f"best {best.reward:.4f}  MACs {macs_ratio:.3f}  accuracy {accuracy:.4f}"
            progress.update(index + 1, episodes, status)
    return played


def play_episode(player: agents.Agent, index: int) -> Episode:
    """One walk of the agent over all groups, timed."""
    started = time.perf_counter()
    outcome = player.run_episode()
    elapsed = time.perf_counter() - started
    metrics = outcome.info["metrics"]
    parts = dict(metrics.seconds)
    timed = replace(metrics, seconds={**parts, "agent": elapsed - sum(parts.values())})
    return Episode(
        index, outcome.reward, outcome.info["plan"], timed, outcome.info["cost"], elapsed, dict(outcome.scalars)
    )


def _score(
    network: Network, evaluator: Evaluator, best: Episode, small: nn.Module, test: ImageSet | None
) -> tuple[Scored, Scored]:
    """Baseline and best plan: validation, test, costs, and latency of one image in float32, measured."""
    models = (network.model, small)
    latencies_ms = measure_ms(models, network.example)
    tests = [None if test is None else evaluator.score(Surgeon(model, ()).cut({}), test) for model in models]
    costs = (network.cost_model.cost(), best.cost)
    before, after = (replace(cost, latency_ms=ms) for cost, ms in zip(costs, latencies_ms, strict=True))
    return Scored(evaluator.dense, tests[0], before), Scored(best.metrics, tests[1], after)


def _finish(recorder: Recorder, result: SearchResult, facts: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """``summary.json`` and the line in TensorBoard's HParams table."""
    names = {key: (config.get(key) or {}).get("name") for key in ("model", "dataset")}
    best, baseline = result.best, result.baseline
    summary = {
        **names,
        **facts,
        "versions": {"amc": version("amc-pruning"), **{name: version(name) for name in PACKAGES}},
        "baseline": baseline.to_json(),
        "best": {**best.to_json(), "reward": best_episode(result.episodes).reward},
        "episodes": len(result.episodes),
        "wall_seconds": result.wall_seconds,
        **{f"{part}_seconds": seconds for part, seconds in result.seconds.items()},
    }
    hparams = {**names, **{key: facts[key] for key in ("agent", "reward", "importance", "recovery", "seed")}}
    hparams |= {f"budget.{key}": value for key, value in facts["budget"].items()} | {"episodes": len(result.episodes)}
    scores = {
        "best/reward": summary["best"]["reward"],
        "best/val_accuracy": best.val.accuracy,
        "best/test_accuracy": None if best.test is None else best.test.accuracy,
        "best/macs_ratio": best.cost.macs / baseline.cost.macs,
        "best/params_ratio": best.cost.params / baseline.cost.params,
    }
    recorder.finish(result.episodes, best_episode(result.episodes), summary, hparams, scores)


def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads data and network as configured, then prints the groups (``dry_run=true``) or searches."""
    from omegaconf import OmegaConf

    from amc.setup import load_task, load_untrained

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    resume, dry_run, verbose = (plain.pop(key) for key in ("resume", "dry_run", "verbose"))
    settings = Settings(
        **{key: plain["budget"][key] for key in ("cost", "min_keep", "channel_round")},
        **plain["evaluate"],
        observation=plain["observation"],
        prune_residual=plain["prune_residual"],
        freeze=plain["freeze"],
        agent={k: v for k, v in plain["agent"].items() if k != "name"},
        recovery={k: v for k, v in plain["recovery"].items() if k != "name"},
    )
    task = load_untrained(config) if dry_run else load_task(config)
    if dry_run:
        network = trace_network(
            task.model,
            task.splits.train.take(1).normalised(),
            prune_residual=settings.prune_residual,
            freeze=settings.freeze,
        )
        show(group_table(network.groups, network.cost_model.cost()))
        return
    search(
        task.model,
        train=task.splits.train,
        val=task.splits.val,
        test=task.splits.test,
        budget=plain["budget"]["keep"],
        reward=_reward(**plain["reward"]),
        importance=plain["importance"]["name"],
        recovery=plain["recovery"]["name"],
        agent=plain["agent"]["name"],
        episodes=plain["episodes"],
        seed=plain["seed"],
        device=plain["device"],
        settings=settings,
        run_dir=run_dir,
        resume=resume is not None,
        config=plain,
        verbose=verbose,
    )


def _reward(name: str, _target_: str, **arguments: Any) -> str | Reward:
    """The configured reward: by name or dotted path, or as a callable if it has arguments."""
    path = name if _target_ == f"amc.rewards.{name}" else _target_
    return get_reward(path, **arguments) if arguments else path


def main() -> None:
    """``python -m amc.search`` and the console script."""
    from amc.cli import run

    run("search", main_from_config)


if __name__ == "__main__":
    main()
