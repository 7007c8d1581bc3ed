"""One network among several that an agent is trained on: its walk, its episodes, its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

import agents
from agents.policy.policy import Policy
from amc.analysis.measured import with_measured
from amc.core.errors import AmcError
from amc.core.types import Cost, Episode
from amc.evaluation.comparison import UNCUT, compare
from amc.evaluation.evaluator import Evaluator
from amc.policies.plans import policy_rules
from amc.pruning.saved import keep_network
from amc.rewards import Reward
from amc.search.finals import hold_finals
from amc.search.joint_folder import NetworkFolder
from amc.search.loop import play, recording, restore
from amc.search.recorder import Recorder
from amc.search.result import Outcome, SearchResult, hparams_of, summary_of
from amc.task.problem import Problem, identity, prepare
from amc.task.settings import Settings
from amc.task.task import Images, as_images
from amc.tracking.plans import best_episode
from envs.channel_pruning import ChannelPruningEnv


@dataclass(frozen=True, eq=False)
class Task:
    """One of the networks.

    Attributes:
        name: of the network, and of its folder.
        model: trained; its weights are left as they are.
        train, val, test: as in :func:`amc.search.search`.
        description: how the network is built, see :func:`amc.pruning.saved.save_pruned`.
        config: what ``amc.finetune`` is to find in the network's folder.
        facts: further entries for its ``summary.json``.
    """

    name: str
    model: nn.Module
    train: Images
    val: Images
    test: Images | None = None
    description: Mapping[str, Any] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def relative_accuracy(evaluator: Evaluator) -> Reward:
    """A plan's accuracy divided by the uncut network's on the same images, which means the same on every network."""
    return lambda metrics, cost, original: metrics.accuracy / evaluator.dense.accuracy


class Walk:
    """A network's part of the search."""

    def __init__(
        self,
        task: Task,
        folder: NetworkFolder | None,
        device: torch.device,
        settings: Settings,
        budget: float | None,
        **cutting: Any,
    ) -> None:
        """Prepares the network; ``cutting`` is ``importance``, ``recovery`` and ``seed``.

        Raises:
            AmcError: wrong input, or a network that gets nothing right, to which nothing can be compared.
        """
        self.task, self._folder, self._settings, self._cutting = task, folder, settings, cutting
        self._train, self._val = as_images(task.train, device), as_images(task.val, device)
        self._test = None if task.test is None else as_images(task.test, device)
        self.problem: Problem = prepare(
            task.model.to(device), self._train, self._val, budget=budget, settings=settings, folder=folder, **cutting
        )
        self.problem = with_measured(self.problem, self._train, settings, folder)
        network, evaluator = self.problem.network, self.problem.evaluator
        if evaluator.dense.accuracy == 0:
            raise AmcError(f"{task.name}: the uncut network gets no validation image right; give it trained weights")
        self._recorder: Recorder | None = None
        if folder is not None:
            known = {**identity(network, self._train, self._val), "precision": str(evaluator.dtype)}
            self._recorder = Recorder(folder, network.groups, self.original, known)
        self.episodes: Sequence[Episode] = ()

    @property
    def original(self) -> Cost:
        """The uncut network's cost."""
        return self.problem.network.cost_model.cost()

    def env(self, start: Policy | None = None) -> ChannelPruningEnv:
        """The walk for the agent; its reward is a plan's accuracy divided by the uncut network's.

        What ``start`` walks to, a policy that the search begins with, is among its rules.
        """
        plans = {} if start is None else policy_rules(start, self.problem, self._settings)
        return self.problem.env(self._settings, relative_accuracy(self.problem.evaluator), plans=plans)

    def restore(self, agent: agents.Agent) -> None:
        """Takes up the episodes of an earlier part of the run; the agent is then as it was after them."""
        self.episodes = restore(agent, self.problem.evaluator, self._recorder)
        if self._folder is not None:
            self._folder.write_config({**self.task.config, "command": "joint"})

    def play_one(self, agent: agents.Agent) -> Episode:
        """The next episode, recorded."""
        wanted = len(self.episodes) + 1
        record = recording(self._recorder, agent, self.problem.evaluator)
        played = play(agent, self.episodes, wanted, self.original, self.problem.budget.allows, record, verbose=False)
        self.episodes = played.episodes
        return self.episodes[-1]

    def conclude(self, facts: Mapping[str, Any]) -> Outcome:
        """The best plan's network beside the uncut and the uniform one; written down if the run is.

        Raises:
            AmcError: no episode met the budget.
        """
        best, facts = best_episode(self.episodes), {**facts, **self.task.facts, "model": self.task.name}
        finals = hold_finals(
            self.problem, self.episodes, relative_accuracy, self._train, self._val, self._settings,
            importance=self._cutting["importance"], seed=self._cutting["seed"], verbose=False,
        )  # fmt: skip
        if finals is not None:
            facts["finals"] = [finalist.to_json() for finalist in finals.finalists]
            best, self.problem = finals.finalists[0].again, replace(self.problem, evaluator=finals.evaluator)
        if not best.within_budget:
            raise AmcError(f"{self.task.name}: no episode met the budget; give more episodes")
        plans = {"uniform": self.problem.uniform_plan(self._settings), "best": best.plan}
        compared = compare(self.problem.network, self.problem.evaluator, plans, self._test)
        scored = compared.scored
        result = SearchResult(
            plan=best.plan,
            model=compared.models["best"],
            baseline=scored[UNCUT],
            best=scored["best"],
            episodes=tuple(self.episodes),
            groups=self.problem.network.groups,
            seconds={},
            wall_seconds=sum(episode.seconds for episode in self.episodes),
        )
        if self._folder is not None and self._recorder is not None:
            summary = {**summary_of(result, best, facts), "uniform": scored["uniform"].to_json()}
            self._recorder.finish(result.episodes, best, summary, *hparams_of(result, best, facts))
            pruned = self._folder.path / "pruned"
            keep_network(pruned, result.model, result.plan, result.best, self._train, self.task.description)
        return Outcome(result, scored["uniform"])


def make_agent(name: str, env: agents.Env, seed: int, episodes: int, settings: Mapping[str, Any]) -> agents.Agent:
    """The untrained agent. Raises ``AmcError`` for a setting that does not exist or makes no sense."""
    try:
        return agents.make(name, env, seed, episodes, **settings)
    except ValueError as error:
        raise AmcError(str(error)) from error
