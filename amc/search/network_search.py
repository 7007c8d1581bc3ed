"""Search on one network: its problem, episodes and folder. A single search has one, a joint search several."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from rich.text import Text

import agents
from agents.policy.policy import Policy
from amc.analysis.heuristics.hints import Hints, hints_for
from amc.analysis.measured import measure_groups
from amc.core.errors import AmcError, damaged
from amc.core.types import Cost, Episode, PruningPlan
from amc.evaluation.comparison import DENSE, compare
from amc.policies.plans import policy_plans
from amc.pruning.plain_folder import keep_plain_folder
from amc.pruning.saved import keep_network
from amc.reporting.console import show
from amc.reporting.tables import group_table
from amc.rewards import needs_of
from amc.search.finals import Finals, hold_finals
from amc.search.loop import play_episode
from amc.search.recorder import Recorder
from amc.search.result import Outcome, SearchResult, hparams_of, summary_of
from amc.search.settings import Choices, needs_curves
from amc.task.problem import Problem, assemble
from amc.task.task import Task
from amc.tracking.plans import PARTS, best_episode
from amc.tracking.run import Run
from envs.channel_pruning import ChannelPruningEnv

HINTS = "hints.json"


class NetworkSearch:
    """Prepares one network, plays its episodes, and finds its best plan."""

    def __init__(self, task: Task, choices: Choices, run: Run, start: Policy | None = None) -> None:
        """Computes all that doesn't depend on the plan.

        Args:
            task: on one device.
            choices: of the search.
            run: with the network's own folder; ``verbose`` shows groups and progress.
            start: policy to start from, if any; warm-ups play its plans beside the heuristics'.

        Raises:
            AmcError: wrong input, or, in a joint search, a dense network with nothing right to compare with.
        """
        began = time.perf_counter()
        self.task, self._choices, self._run = task, choices, run
        settings, agent = choices.settings, choices.agent
        problem = assemble(task, choices.method, settings, choices.budget, run, needs_of(choices.reward))
        self.original: Cost = problem.network.cost_model.cost()
        if run.verbose:
            show(
                group_table(problem.network.groups, self.original, problem.budget.limits.words(problem.network.groups))
            )
            show(_dense_line(problem))
        if choices.relative and problem.evaluator.dense.score == 0:
            raise AmcError(f"{task.name}: the dense network gets no validation image right; give it trained weights")
        self._hints: Hints | None = None
        if needs_curves(settings, agent):
            self._hints = hints_for(problem, cache_dir=run.cache_dir, file=run.kept_file(HINTS), verbose=run.verbose)
        measure_groups(problem, run, agent)
        self.problem = problem
        self.env = self._env(start)
        self._recorder = None
        if run.folder is not None:
            # As text: the order of constraints says which of them win, which a comparison of dicts overlooks.
            bounds = {name: (b.lowest, b.highest, b.unit) for name, b in problem.budget.bounds.items()}
            own = {"precision": str(problem.evaluator.dtype), "bounds of the groups": str(bounds)}
            fingerprint = {**problem.fingerprint, **own}
            self._recorder = Recorder(run.folder, problem.network.groups, self.original, fingerprint, task.metric)
        self._episodes: list[Episode] = []
        self._best: Episode | None = None
        self._seconds = {"preparation": time.perf_counter() - began, "recording": 0.0}

    def _env(self, start: Policy | None) -> ChannelPruningEnv:
        hints, choices = self._hints, self._choices
        plans = {} if hints is None else dict(hints.plans)
        return self.problem.env(
            choices.reward_of(self.problem.evaluator),
            enforcement="free" if agents.has_free_budget(choices.agent) else None,
            plans=plans | ({} if start is None else policy_plans(start, self.problem)),
            prior=hints.prior if hints is not None and choices.settings.prior else None,
        )

    @property
    def finished(self) -> int:
        """Number of episodes played."""
        return len(self._episodes)

    @property
    def episode_seconds(self) -> float:
        """Their total time."""
        return sum(episode.seconds for episode in self._episodes)

    def restore(self, agent: agents.Agent) -> None:
        """Restores the episodes of a resumed run, and agent and evaluator as they were after them.

        Raises:
            AmcError: the run is damaged, or has another network, other images or another agent.
        """
        if self._recorder is None:
            return
        evaluator = self.problem.evaluator
        self._episodes, checkpoint = self._recorder.restore()
        self._best = best_episode(self._episodes) if self._episodes else None
        evaluator.remember({e.plan: e.metrics for e in self._episodes})
        if checkpoint is not None:
            with damaged("resume", "the checkpoint does not fit", "start a new run"):
                agent.load_state(checkpoint["agent"])
                evaluator.load_state(checkpoint["evaluator"])

    def play_one(self, agent: agents.Agent) -> str:
        """Plays and records the next episode; returns a line for the progress."""
        episode = play_episode(agent, self.finished, self.problem.budget.allows)
        self._episodes.append(episode)
        self._best = best = episode if self._best is None else best_episode((self._best, episode))
        ended = time.perf_counter()
        if self._recorder is not None:
            self._recorder.episode(episode, best, agent.state(), self.problem.evaluator.state())
        self._seconds["recording"] += time.perf_counter() - ended
        return (
            f"best {best.reward:.4f} ({best.metrics})  last MACs "
            f"{episode.cost.macs / self.original.macs:.3f}, {episode.metrics.metric} {episode.metrics}"
        )

    def conclude(self, with_uniform: bool) -> Outcome:
        """Holds the finals, and compares the best network with the dense and, ``with_uniform``, the uniform one.

        Raises:
            AmcError: no episode met the budget.
        """
        began = time.perf_counter()
        finals = hold_finals(self.problem, self._episodes, self._choices.reward_of, verbose=self._run.verbose)
        best, evaluator = best_episode(self._episodes), self.problem.evaluator
        if finals is not None:
            best, evaluator = finals.finalists[0].again, finals.evaluator
        if not best.within_budget:
            raise AmcError(
                f"{self.task.name}, agent={self._choices.agent}: none of {self.finished} episodes met the budget; give "
                "more episodes"
            )
        judged = time.perf_counter()
        plans: dict[str, PruningPlan] = {"uniform": self.problem.uniform_plan()} if with_uniform else {}
        compared = compare(self.problem.network, evaluator, {**plans, "best": best.plan}, self.task.test)
        seconds = {part: sum(e.metrics.seconds.get(part, 0.0) for e in self._episodes) for part in PARTS}
        seconds |= {**self._seconds, "finals": judged - began, "report": time.perf_counter() - judged}
        result = SearchResult(
            plan=best.plan,
            model=compared.models["best"],
            baseline=compared.scored[DENSE],
            best=compared.scored["best"],
            episodes=tuple(self._episodes),
            groups=self.problem.network.groups,
            seconds=seconds,
            wall_seconds=sum(seconds.values()),
        )
        return Outcome(result, best, compared.scored.get("uniform"), finals)

    def write(self, outcome: Outcome, facts: Mapping[str, Any]) -> None:
        """Writes the files of a finished search, the summary last; ``facts``: further entries of it."""
        if self._recorder is None or self._run.folder is None:
            return
        result, best = outcome.result, outcome.best
        facts = {**facts, **self._own_facts(outcome.finals)}
        uniform = {} if outcome.uniform is None else {"uniform": outcome.uniform.to_json()}
        summary = {**summary_of(result, best, facts), **uniform}
        pruned, train = self._run.folder.path / "pruned", self.task.train
        keep_network(pruned, result.model, result.plan, result.best, train, self.task.description)
        if self.problem.settings.uniform_per_axis:
            keep_plain_folder(self._run.folder.path, result.model, self.problem.network.example)
        self._recorder.finish(result.episodes, best, summary, *hparams_of(result, best, facts))

    def _own_facts(self, finals: Finals | None) -> dict[str, Any]:
        """Entries of the summary about this network's evaluation."""
        problem, hints = self.problem, self._hints
        facts: dict[str, Any] = {
            "early_stop": problem.settings.early_stop,
            "precision": str(problem.evaluator.dtype).removeprefix("torch."),
        }
        if problem.network.uncounted:
            facts["uncounted"] = {name: asdict(entry) for name, entry in problem.network.uncounted.items()}
        if hints is not None:
            facts["curves"] = {"evaluations": hints.evaluations, "seconds": hints.seconds}
        if finals is not None:
            facts["finals"] = [finalist.to_json() for finalist in finals.finalists]
        return facts


def make_agent(choices: Choices, env: agents.Env, networks: int) -> agents.Agent:
    """The untrained agent, for episodes on so many networks. Raises ``AmcError`` for an invalid setting."""
    seed, episodes = choices.method.seed, choices.episodes * networks
    try:
        return agents.make(choices.agent, env, seed, episodes, **choices.settings.agent)
    except ValueError as error:
        raise AmcError(str(error)) from error


def alone(outcome: Outcome, wall_seconds: float) -> Outcome:
    """``outcome`` of a single search, with the time of the whole search."""
    return replace(outcome, result=replace(outcome.result, wall_seconds=wall_seconds))


def _dense_line(problem: Problem) -> Text:
    evaluator = problem.evaluator
    dense, precision = evaluator.dense, str(evaluator.dtype).removeprefix("torch.")
    device = problem.task.train.device
    return Text(f"dense: {dense.metric} {dense} on {dense.images} validation examples, {precision} on {device}")
