"""NetAdapt (Yang et al. 2018, Algorithm 1): greedy, one group per step, each step a little less of the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agents.base import Agent, Env, EpisodeOutcome, play_actions
from agents.policy.files import write_policy
from agents.settings import require

LEVELS = 2**14  # actions are multiples of 1/LEVELS, which float32 holds exactly: what is counted is what is played
DEFAULT_EPISODES = 400  # as in AMC §4
EPISODES_PER_STEP = 10

Plan = tuple[int, ...]  # the groups' actions × LEVELS


class NetAdaptAgent(Agent):
    """Prunes the dense network to the budget in steps of equal size.

    In each step every group alone is cut to the largest action with which the step's limit is met, the others staying
    as they are; each such candidate is one episode, and the one with the best reward is where the next step begins.
    Groups that can't meet the limit alone are no candidates; if none can, all groups are cut together, by one factor. A
    step whose limit is met already takes no episode; where all are, as the environment's bounds alone save enough, the
    plan that keeps the most is the only one.

    Differs from the paper: no short-term fine-tuning beyond the environment's recovery; equal steps (the paper lets
    them shrink); a random part of the groups where the episodes don't suffice for all.
    """

    name = "netadapt"
    free_budget = True

    def __init__(self, env: Env, seed: int, episodes: int | None = None, steps: int | None = None) -> None:
        """An agent at the dense network.

        Args:
            env: enforces no budget; its reset info must hold ``steps``, ``keep`` (the budget, a fraction) and
                ``cost_fraction``, which maps ``n`` actions to the plan's cost as a fraction and never falls as an
                action grows.
            seed: of which groups are tried where there are too few episodes for all.
            episodes: the most for all steps' candidates; ``None``: 400.
            steps: from the dense network to the budget; ``None``: one for every ten episodes. So few that no group
                alone can save a step's share are no better than cutting all groups together: with n groups of equal
                cost, n · (1 − keep) / (1 − min_keep) are needed.

        Raises:
            ValueError: no budget, more steps than episodes, or a number of steps that makes no sense.
        """
        self.check(steps)
        episodes = episodes or DEFAULT_EPISODES
        if steps is None:
            steps = max(1, episodes // EPISODES_PER_STEP)
        if episodes < steps:
            raise ValueError(f"agent.steps={steps}: each takes an episode or more, and there are only {episodes}")
        start = env.reset(seed=seed)[1]
        self._keep, self._cost = float(start["keep"]), start["cost_fraction"]
        if not self._keep < 1:
            raise ValueError("agent=netadapt: it walks down to a budget and there is none; give budget.keep below 1")
        self._env, self._seed, self._episodes, self._steps = env, seed, episodes, steps
        self._plan: Plan = (LEVELS,) * int(start["steps"])
        self._step, self._played = 0, 0
        self._candidates: list[Plan] = []
        self._rewards: list[float] = []
        self._begin_step()

    @staticmethod
    def check(steps: int | None = None) -> None:
        """Raises ``ValueError`` if the number of steps makes no sense whatever the number of episodes."""
        if steps is not None:
            require("steps", steps, type(steps) is int and steps >= 1, "that is a whole number, 1 or more")

    @property
    def finished(self) -> bool:
        return self._down and self._played > 0

    @property
    def _down(self) -> bool:
        """Whether the last step has been taken."""
        return self._step > self._steps

    def run_episode(self) -> EpisodeOutcome:
        plan = self._plan if self._down else self._candidates[len(self._rewards)]
        scalars = {"step": float(min(self._step, self._steps)), "limit": self._limit}
        outcome = play_actions(self._env, _actions(plan))
        self._played += 1
        if not self._down:
            self._rewards.append(outcome.reward)
            if len(self._rewards) == len(self._candidates):
                self._plan = self._candidates[int(np.argmax(self._rewards))]
                self._begin_step()
        return EpisodeOutcome(outcome.info, outcome.reward, scalars)

    @property
    def _limit(self) -> float:
        """The cost, as a fraction, to which the current step goes down."""
        return 1 - (1 - self._keep) * min(self._step, self._steps) / self._steps

    def _meets(self, plan: Plan) -> bool:
        return float(self._cost(_actions(plan))) <= self._limit

    def _begin_step(self) -> None:
        """Moves to the next step that needs episodes, if there is one, and lists its candidates."""
        self._candidates, self._rewards = [], []
        self._step += 1
        while not self._down and self._meets(self._plan):
            self._step += 1
        if not self._down:
            alone = [plan for group in range(len(self._plan)) if (plan := self._cut_alone(group)) is not None]
            self._candidates = self._affordable(alone) or [self._cut_together()]

    def _cut_alone(self, group: int) -> Plan | None:
        """The current plan with one group cut to the limit; ``None`` if it can't be met."""

        def cut(level: int) -> Plan:
            return (*self._plan[:group], level, *self._plan[group + 1 :])

        level = _largest(lambda level: self._meets(cut(level)), self._plan[group])
        return None if level is None else cut(level)

    def _cut_together(self) -> Plan:
        """All groups cut by one factor, down to the limit, or as far as it goes."""

        def cut(factor: int) -> Plan:
            return tuple(level * factor // LEVELS for level in self._plan)

        return cut(_largest(lambda factor: self._meets(cut(factor)), LEVELS) or 0)

    def _affordable(self, plans: list[Plan]) -> list[Plan]:
        """A random subset that this step may play, so that episodes remain for later steps."""
        quota = max(1, (self._episodes - self._played) // (self._steps - self._step + 1))
        if len(plans) <= quota:
            return plans
        rng = np.random.default_rng([self._seed, self._step])
        return [plans[index] for index in sorted(rng.choice(len(plans), quota, replace=False))]

    def state(self) -> dict[str, Any]:
        return {
            "agent": self.name,
            "seed": self._seed,
            "plan": list(self._plan),
            "step": self._step,
            "played": self._played,
            "candidates": [list(plan) for plan in self._candidates],
            "rewards": list(self._rewards),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._check(state)
        if len(state["plan"]) != len(self._plan):
            raise ValueError(
                f"agent state: a plan for {len(state['plan'])} groups, this environment has {len(self._plan)}"
            )
        self._seed, self._step, self._played = state["seed"], state["step"], state["played"]
        self._plan = tuple(state["plan"])
        self._candidates = [tuple(plan) for plan in state["candidates"]]
        self._rewards = list(state["rewards"])

    def save_policy(self, folder: str | Path) -> None:
        write_policy(folder, self.name, self._env, {"steps": self._steps, "actions": _actions(self._plan)})


def _actions(plan: Plan) -> list[float]:
    return [level / LEVELS for level in plan]


def _largest(holds: Callable[[int], bool], high: int) -> int | None:
    """The largest level up to ``high`` for which ``holds``, given that it holds for all below; found by bisection."""
    if not holds(0):
        return None
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
