"""One agent for several networks: an episode on each in turn, and one policy at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.text import Text

import agents
from amc.core.device import resolve_device
from amc.core.errors import AmcError
from amc.core.progress import Progress
from amc.policies.start import FOLDER, origin, settings_from, start_from, starting_policy
from amc.reporting.console import show
from amc.reporting.tables import networks_table
from amc.rewards import accuracy
from amc.search.joint_folder import network_folders
from amc.search.network_search import Task, Walk, make_agent
from amc.search.result import Outcome, trained_on
from amc.search.settings import check_agent, check_choices, needs_curves, settle_early_stop
from amc.task.settings import Settings
from amc.tracking import RunDir, opened
from amc.tracking.versions import versions
from envs.several_networks import SeveralNetworksEnv

__all__ = ["AGENTS", "JointResult", "Task", "search_jointly"]

# They learn from single steps, so that walks of different lengths are no matter to them.
AGENTS = ("ddpg", "amc", "td3", "sac")
REWARD = "accuracy / uncut accuracy"


@dataclass(frozen=True)
class JointResult:
    """What a search over several networks found: name → best plan, and the uniform plan's scores beside it."""

    networks: Mapping[str, Outcome]
    wall_seconds: float


def search_jointly(
    tasks: Sequence[Task],
    *,
    budget: float | None = 0.5,
    importance: str = "l1",
    recovery: str = "least_squares",
    agent: str = "ddpg",
    episodes: int = 400,
    seed: int = 0,
    device: str | torch.device = "auto",
    settings: Settings | None = None,
    policy: str | Path | None = None,
    run_dir: str | Path | RunDir | None = None,
    resume: bool = False,
    facts: Mapping[str, Any] | None = None,
    verbose: bool = True,
) -> JointResult:
    """Trains one agent on several networks, an episode on each in turn, and keeps the best plan of each.

    The reward is a plan's accuracy divided by the uncut network's: what is lost then counts the same on every network.

    Args:
        tasks: the networks with their images, each with a name of its own.
        budget: largest cost as a fraction of each uncut network's.
        importance, recovery: names.
        agent: one of :data:`AGENTS`. Its settings count the episodes on all networks together; an actor that starts at
            the uniform action starts at the first network's.
        episodes: on each network.
        seed: of everything that is random.
        device: ``auto``: CUDA if there is any.
        settings: everything else; any observation but ``amc``; by default ``portable``.
        policy: to start from, as in :func:`amc.search.search`.
        run_dir: folder to record the run in, with ``networks/<name>/`` for each; nothing is written without one.
        resume: go on with the run in ``run_dir``.
        facts: further entries for every ``summary.json``.
        verbose: print the progress and the result.

    Raises:
        AmcError: wrong input; nothing on disk is lost.
    """
    began = time.perf_counter()
    settings, names = settings or Settings(observation="portable"), [task.name for task in tasks]
    check_choices("accuracy", importance, recovery, agent, episodes, seed)
    check_joint(names, agent, budget, settings)
    facts = {
        **(facts or {}),
        "agent": agent,
        "reward": REWARD,
        "importance": importance,
        "recovery": recovery,
        "budget": {"cost": settings.cost, "keep": budget},
        "seed": seed,
    }
    own = {"command": "search", **facts, "models": names, "settings": asdict(settings)}
    settings = settle_early_stop(settings, budget, agent, accuracy)
    with opened(run_dir, resume, own) as folder:
        start = starting_policy(policy, folder)
        if start:
            settings = settings_from(settings, agent, *start)
        check_agent(settings, agent)
        place = resolve_device(device)
        cutting = {"importance": importance, "recovery": recovery, "seed": seed}
        folders = {} if folder is None else network_folders(folder, names)
        walks = [Walk(t, folders.get(t.name), place, settings, budget, **cutting) for t in tasks]
        env = SeveralNetworksEnv({walk.task.name: walk.env(start[0] if start else None) for walk in walks})
        player = make_agent(agent, env, seed, episodes * len(names), settings.agent)
        if start:
            start_from(player, *start, folder)
            facts["started_from"] = origin(start[0])
        for walk in walks:
            walk.restore(player)
        earlier_seconds = sum(episode.seconds for walk in walks for episode in walk.episodes)
        env.finished = sum(len(walk.episodes) for walk in walks)
        _play(player, walks, env.finished, episodes, verbose)
        found = {walk.task.name: walk.conclude(facts) for walk in walks}
        result = JointResult(found, time.perf_counter() - began + earlier_seconds)
        if folder is not None:
            env.metadata["policy"]["trained_on"] = trained_on(facts, names, settings.rule, _accuracies(found))
            player.save_policy(folder.path / FOLDER)
            folder.write_summary(_summary(result, facts, episodes))
        if verbose:
            show(networks_table({n: (o.result.baseline, o.uniform, o.result.best) for n, o in found.items()}))
            show(Text("nothing was recorded" if folder is None else f"run folder: {folder.path}"))
    return result


def check_joint(names: Sequence[str], agent: str, budget: float | None, settings: Settings) -> None:
    """Refuses what makes no sense on several networks. Raises ``AmcError``."""
    if len(set(names)) < len(names) or not names:
        raise AmcError(f"model=[{','.join(names)}]: give one or more networks, each of another name")
    if agent not in AGENTS:
        raise AmcError(f"agent={agent}: can't learn on several networks; give one of {', '.join(AGENTS)}")
    if settings.observation == "amc":
        raise AmcError(
            "observation=amc: means something else on every network; several need "
            "observation=portable, response or price"
        )
    if budget is None:
        raise AmcError("budget=none: on several networks accuracy alone is rewarded, so nothing would be pruned")
    if needs_curves(settings, agent):
        what = "prior=true" if settings.prior else "curves=true"
        raise AmcError(f"{what}: sensitivity curves are not measured on several networks; give false")


def _play(agent: agents.Agent, walks: Sequence[Walk], done: int, episodes: int, verbose: bool) -> None:
    """The episodes that are still missing, on each network in turn."""
    total = episodes * len(walks)
    with Progress("episode", verbose, start=done) as progress:
        for index in range(done, total):
            walk = walks[index % len(walks)]
            episode = walk.play_one(agent)
            ratio = episode.cost.macs / walk.original.macs
            status = f"{walk.task.name}: reward {episode.reward:.4f}, MACs {ratio:.3f}"
            progress.update(index + 1, total, status)


def _accuracies(found: Mapping[str, Outcome]) -> dict[str, dict[str, float]]:
    return {
        name: {"uncut": outcome.result.baseline.val.accuracy, "best": outcome.result.best.val.accuracy}
        for name, outcome in found.items()
    }


def _summary(result: JointResult, facts: Mapping[str, Any], episodes: int) -> dict[str, Any]:
    """The content of ``summary.json``; accuracies are fractions."""
    networks = {
        name: {
            "baseline": outcome.result.baseline.to_json(),
            "uniform": outcome.uniform.to_json(),
            "best": outcome.result.best.to_json(),
        }
        for name, outcome in result.networks.items()
    }
    return {
        **facts,
        "versions": versions(),
        "networks": networks,
        "episodes": episodes,
        "wall_seconds": result.wall_seconds,
    }
