"""One agent on one or more networks: an episode on each in turn, and one policy at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.text import Text

from amc.core.device import resolve_device
from amc.core.errors import AmcError
from amc.core.types import Scored
from amc.policies.start import FOLDER, origin, settings_from, start_from, starting_policy
from amc.reporting.console import show
from amc.reporting.html import leave_report
from amc.reporting.tables import networks_table
from amc.rewards import accuracy
from amc.search.joint_folder import network_folders
from amc.search.loop import play
from amc.search.network_search import NetworkSearch, alone, make_agent
from amc.search.result import Outcome, trained_on
from amc.search.settings import Choices, check_agent, check_played, method_of, needs_curves
from amc.task.settings import Settings
from amc.task.task import Task
from amc.tracking import RunDir
from amc.tracking.run import Run
from amc.tracking.versions import versions
from envs.several_networks import SeveralNetworksEnv

__all__ = ["AGENTS", "JointResult", "Task", "search_jointly", "search_networks"]

# They learn from single steps, so episodes may differ in length.
AGENTS = ("ddpg", "amc", "td3", "sac")
REWARD = "accuracy / uncut accuracy"


@dataclass(frozen=True)
class JointResult:
    """Result of a joint search: name of a network → its best plan and the uniform plan's scores."""

    networks: Mapping[str, Outcome]
    wall_seconds: float


@torch.inference_mode(mode=False)
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

    The reward is a plan's accuracy divided by the dense network's: a loss then counts the same on every network.

    Args:
        tasks: the networks with their images, with distinct names; see :meth:`amc.task.task.Task.make`.
        budget: largest cost as a fraction of each dense network's.
        importance: one of :data:`amc.importance.NAMES`.
        recovery: one of :data:`amc.recovery.NAMES`.
        agent: one of :data:`AGENTS`. Its settings count the episodes on all networks together; an actor that starts at
            the uniform action starts at the first network's.
        episodes: on each network.
        seed: of everything that is random.
        device: ``auto``: CUDA if there is any.
        settings: everything else; any observation but ``amc``; by default ``portable``.
        policy: to start from, as in :func:`amc.search.search`.
        run_dir: folder to record the run in, with ``networks/<name>/`` for each; nothing is written without one.
        resume: continue the run in ``run_dir``.
        facts: further entries for every ``summary.json``.
        verbose: print the progress and the result.

    Raises:
        AmcError: wrong input; nothing on disk is lost.
    """
    began = time.perf_counter()
    settings, names = settings or Settings(observation="portable"), [task.name for task in tasks]
    method = method_of(settings, importance, recovery, seed)
    choices = Choices(budget, accuracy, REWARD, agent, episodes, method, settings, relative=True)
    check_joint(names, agent, budget, settings)
    facts = {**(facts or {}), **choices.facts}
    own = {"command": "search", **facts, "models": names, **choices.config}
    place = resolve_device(device)
    tasks = [task.on(place) for task in tasks]
    with Run(run_dir, resume=resume, verbose=verbose).opened(own) as run:
        found = search_networks(tasks, choices.settled(), run, policy, facts)
        result = JointResult(found.outcomes, time.perf_counter() - began + found.earlier_seconds)
        if run.folder is not None:
            run.folder.write_summary(_summary(result, {**facts, **found.facts}, episodes))
            leave_report(run.folder.path)
        if verbose:
            show(networks_table({n: _columns(outcome) for n, outcome in found.outcomes.items()}))
            show(Text(run.line()))
    return result


@dataclass(frozen=True)
class Found:
    """Results of a search over one or more networks.

    Attributes:
        outcomes: name of a network → its best plan.
        facts: further entries for the summary: origin of the policy that the search started from.
        earlier_seconds: time of the episodes before a resume.
    """

    outcomes: Mapping[str, Outcome]
    facts: Mapping[str, Any]
    earlier_seconds: float


def search_networks(
    tasks: Sequence[Task], choices: Choices, run: Run, policy: str | Path | None, facts: Mapping[str, Any]
) -> Found:
    """One agent on one or more networks: prepares each, plays, holds the finals and writes the results.

    Args:
        tasks: on one device; with several, each gets its own folder in the run's.
        choices: with racing settled.
        run: with its folder open.
        policy: to start from, if any.
        facts: entries of every network's summary.

    Raises:
        AmcError: wrong input, or no plan within the budget.
    """
    began = time.perf_counter()
    several = choices.relative
    if run.folder is not None:
        check_played(run.folder.path, choices.episodes)
    start = starting_policy(policy, run.folder)
    if start:
        choices = replace(choices, settings=settings_from(choices.settings, choices.agent, *start))
    check_agent(choices.settings, choices.agent)
    runs = _runs_of(tasks, run) if several else [run]
    searches = [
        NetworkSearch(task, choices, own, start[0] if start else None) for task, own in zip(tasks, runs, strict=True)
    ]
    joint = SeveralNetworksEnv({search.task.name: search.env for search in searches}) if several else None
    env = searches[0].env if joint is None else joint
    agent = make_agent(choices, env, len(tasks))
    begun_with: dict[str, Any] = {}
    if start:
        start_from(agent, *start, run.folder)
        begun_with = {"started_from": origin(start[0])}
    for search, own in zip(searches, runs, strict=True):
        search.restore(agent)
        if several and own.folder is not None:
            own.folder.write_config({**search.task.config, "command": "joint"})
    earlier_seconds = sum(search.episode_seconds for search in searches)
    if joint is not None:
        joint.finished = sum(search.finished for search in searches)
    play(agent, searches, choices.episodes, run.verbose)
    outcomes = {search.task.name: search.conclude(with_uniform=several) for search in searches}
    if not several:
        name, outcome = next(iter(outcomes.items()))
        outcomes = {name: alone(outcome, time.perf_counter() - began + earlier_seconds)}
    facts = {**facts, **begun_with}
    if run.folder is not None:
        env.metadata["policy"]["trained_on"] = trained_on(facts, choices.settings.rule, outcomes)
        agent.save_policy(run.folder.path / FOLDER)
    for search in searches:
        own_facts = (
            {**facts, **search.task.facts, "model": search.task.name}
            if several
            else {"model": search.task.name, **facts}
        )
        search.write(outcomes[search.task.name], own_facts)
    return Found(outcomes, begun_with, earlier_seconds)


def _runs_of(tasks: Sequence[Task], run: Run) -> list[Run]:
    """A run per network, in its own folder; quiet, as the table at the end shows the results."""
    names = [task.name for task in tasks]
    folders = {} if run.folder is None else network_folders(run.folder, names)
    return [replace(run, folder=folders.get(name), verbose=False) for name in names]


def check_joint(names: Sequence[str], agent: str, budget: float | None, settings: Settings) -> None:
    """Raises ``AmcError`` for choices that make no sense on several networks."""
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


def _columns(outcome: Outcome) -> tuple[Scored, Scored, Scored]:
    assert outcome.uniform is not None  # with several networks it is always scored
    return outcome.result.baseline, outcome.uniform, outcome.result.best


def _summary(result: JointResult, facts: Mapping[str, Any], episodes: int) -> dict[str, Any]:
    """The content of ``summary.json``; accuracies are fractions."""
    networks = {
        name: {
            what: scored.to_json()
            for what, scored in zip(("baseline", "uniform", "best"), _columns(outcome), strict=True)
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
