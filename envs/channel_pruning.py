"""The walk over a network's layer groups, one keep ratio at a time, as a gymnasium environment (AMC §3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from amc.core.errors import AmcError
from amc.core.types import Cost, Metrics, PruningPlan
from amc.pruning.budget import Budget
from amc.pruning.cost import CostModel
from envs.actions import asked_channels, asked_plan, uniform_action
from envs.observations import FEATURES, LAYOUT_VERSION, PRIOR, features_of, static_features
from envs.projection import ask_for, in_proportion, project, ramp

ENFORCEMENTS = ("clip", "project", "free")  # of the budget
Vector = npt.NDArray[np.float32]


class ChannelPruningEnv(gym.Env[Vector, Vector]):
    """Chooses how many channels each layer group keeps; an episode ends with one evaluated plan.

    ## Action space

    ``Box(0, 1, (1,), float32)``. Action ``a`` asks for the keep ratio ``min_keep + a · (1 − min_keep)``, rounded to
    whole channels (``channel_round``; grouped convolutions to a multiple of their groups) within the group's own
    bounds; ``min_keep`` is the smallest of any group. The budget's enforcement is one of three:

    * ``clip``: each action is clipped so that the budget can still be met by pruning the groups to come as far as
      allowed (AMC, Algorithm 1).
    * ``project``: the finished walk is moved onto the budget by one common shift of the actions' logits, see
      :func:`envs.projection.project`; during the walk everything counts as it was asked for.
    * ``free``: nothing is enforced; the agent meets the budget by itself, with ``cost_fraction``.

    ## Observation space

    ``Box(0, 1, (12,), float32)``: the group to decide next, in forward order. AMC's features, and the layer's type; in
    the layouts ``response`` and ``price`` ``Box(0, 1, (2,), float32)``, see :func:`envs.observations.measured`.

    | index | meaning                  | unit in ``amc``          | unit in ``portable``                   | min | max |
    | ----- | ------------------------ | ------------------------ | -------------------------------------- | --- | --- |
    | 0     | place in the walk        | first … last group       | (place + ½) / groups                   | 0   | 1   |
    | 1     | type of layer            | min … max of next column | conv 0, linear ⅓, grouped ⅔, depthw. 1 | 0   | 1   |
    | 2     | input channels           | network's min … max      | log2 / 16 (1 … 65,536)                 | 0   | 1   |
    | 3     | output channels          | network's min … max      | log2 / 16 (1 … 65,536)                 | 0   | 1   |
    | 4     | height of the output     | network's min … max      | halvings since the largest / 8         | 0   | 1   |
    | 5     | width of the output      | network's min … max      | halvings since the largest / 8         | 0   | 1   |
    | 6     | stride                   | network's min … max      | log2 / 3 (1 … 8)                       | 0   | 1   |
    | 7     | kernel size              | network's min … max      | log2 / 4 (1 … 16)                      | 0   | 1   |
    | 8     | MACs of the group, dense | network's min … max      | ½ + log2(MACs / mean group's) / 16     | 0   | 1   |
    | 9     | reduced so far           | share of the dense cost  | as in ``amc``                          | 0   | 1   |
    | 10    | rest, still removable    | share of the dense cost  | as in ``amc``                          | 0   | 1   |
    | 11    | last action              | keep ratio               | as in ``amc``                          | 0   | 1   |

    "min … max": from the network's smallest to its largest value, 0 where all groups agree. Values beyond 0 … 1 are cut
    off. "Cost" is the budget's: MACs, parameters or latency. *Reduced* is what the decisions so far removed; *rest* is
    what this group and those to come can still remove; *last action* is what the previous group got after rounding and
    clipping, 1 at first. The observation after the last action repeats the last group.

    ## Reward

    0 until the last step; then ``reward(metrics, cost, original cost)`` of the finished plan.

    ## Start and end

    Every episode starts at the first group with nothing decided; nothing is random. It is ``terminated`` after the last
    group and never ``truncated``.

    ## Info

    * ``reset``: ``steps`` (length of an episode), ``min_keep``, ``uniform_action`` (the largest action that, given to
      all groups, meets the budget without being clipped), ``keep`` (the budget, 1 without one),
      ``static_observation`` (whether observations hold nothing that changes along the walk), ``rules`` (heuristic → an
      action for each group, within the budget: ``uniform``, ``shallow``, ``deep``, ``response`` and ``price``
      where these were measured, and those that were given),
      ``cost_fraction`` (actions of all groups → what the plan they ask for costs, as a fraction of the dense network).
    * every step: ``group`` (name), ``channels`` (kept; with ``project`` before the shift), ``keep_ratio``, ``asked``
      (channels before clipping).
    * last step, besides: ``plan``, ``metrics``, ``cost``, ``original_cost``, ``reward``.

    ``metadata["policy"]`` says what a learned policy reads and writes, to be stored with it.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium's own declaration)

    def __init__(
        self,
        cost_model: CostModel,
        budget: Budget,
        evaluate: Callable[[PruningPlan], Metrics],
        reward: Callable[[Metrics, Cost, Cost], float],
        observation: Literal["amc", "portable", "response", "price"] = "amc",
        enforcement: Literal["clip", "project", "free"] = "clip",
        plans: Mapping[str, Mapping[str, int]] | None = None,
        prior: Mapping[str, float] | None = None,
        measured: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        """An environment for one network.

        Args:
            cost_model: of the network; its groups that are not frozen are walked in their order.
            budget: made for ``cost_model``; holds every group's bounds too.
            evaluate: scores a finished plan; called once per episode.
            reward: of the plan's metrics, its cost and the dense network's.
            observation: the layout of the observation, see the class's table.
            enforcement: of the budget.
            plans: further heuristics' plans for ``rules``, name → group name → kept channels.
            prior: group name → sensitivity of the network to this group's cut, in [0, 1]; adds a last number,
                ``sensitivity``, to the observation.
            measured: ``response``, ``price`` → group name → output divergence by the group's cut (``price``: per saved
                cost), greater than 0; for the heuristic and the observation of that name.

        Raises:
            AmcError: unknown layout or enforcement, or the layout of something that was not measured.
        """
        if enforcement not in ENFORCEMENTS:
            raise AmcError(f"budget.rule={enforcement}: unknown; give one of {', '.join(ENFORCEMENTS)}")
        self._cost_model, self._budget = cost_model, budget
        self._evaluate, self._reward = evaluate, reward
        self._static = static_features(observation, budget.groups, measured)
        self._prior = None if prior is None else [[prior[g.name]] for g in budget.groups]
        self._original = cost_model.cost()
        self._full = cost_model.value(budget.cost, cost_model.counts({}))
        self._enforcement = enforcement
        self._uniform_action = uniform_action(budget)
        self._heuristics = self._all_heuristics(plans or {}, measured or {})
        self._kept: dict[str, int] = {}
        self._asked: list[float] = []
        self._last_keep = 1.0
        self._walking = False
        self.action_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        features = features_of(observation)
        self._sees_no_walk = features != FEATURES
        features = features if prior is None else (*features, PRIOR)
        self.observation_space = spaces.Box(0.0, 1.0, (len(features),), np.float32)
        self.metadata = {**type(self).metadata, "policy": _policy_facts(observation, features, budget, enforcement)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Vector, dict[str, Any]]:
        """Starts an episode. Returns the observation of the first group and the info that the class lists."""
        super().reset(seed=seed)
        self._kept, self._asked, self._last_keep, self._walking = {}, [], 1.0, True
        info = {
            "steps": len(self._budget.groups),
            "min_keep": self._budget.least_keep,
            "uniform_action": self._uniform_action,
            "static_observation": self._sees_no_walk,
            "keep": 1.0 if self._budget.keep is None else self._budget.keep,
            "rules": {name: list(actions) for name, actions in self._heuristics.items()},
            "cost_fraction": self._cost_fraction,
        }
        return self._observe(), info

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Decides the current group.

        Args:
            action: one number in [0, 1], ``[1]``; numbers outside count as the nearest inside.

        Returns:
            Observation of the next group, reward, ``terminated``, ``truncated`` (never), info.

        Raises:
            AmcError: the action is no number.
            ResetNeeded: no episode is running.
        """
        if not self._walking:
            raise ResetNeeded("step() outside an episode; call reset() first")
        asked_for = float(np.clip(action[0], 0, 1))
        group = self._budget.groups[len(self._kept)]
        if np.isnan(asked_for):
            raise AmcError(f"group {group.name}: the action is NaN; the agent has diverged, try smaller learning rates")
        asked = channels = asked_channels(group, asked_for, self._budget)
        if self._enforcement == "clip":
            channels = self._budget.clip(group, asked, self._kept)
        self._kept[group.name] = channels
        self._asked.append(asked_for)
        self._last_keep = channels / group.channels
        info: dict[str, Any] = {
            "group": group.name, "channels": channels, "keep_ratio": self._last_keep, "asked": asked,
        }  # fmt: skip
        if len(self._kept) < len(self._budget.groups):
            return self._observe(), 0.0, False, False, info
        self._walking = False
        outcome = self._finish()
        return self._observe(), outcome["reward"], True, False, info | outcome

    def _finish(self) -> dict[str, Any]:
        if self._enforcement == "project":
            self._kept = project(self._asked, self._budget)
        plan = PruningPlan.make(self._cost_model.groups, self._kept)
        cost, metrics = self._cost_model.cost(plan), self._evaluate(plan)
        reward = float(self._reward(metrics, cost, self._original))
        return {"plan": plan, "metrics": metrics, "cost": cost, "original_cost": self._original, "reward": reward}

    def _observe(self) -> Vector:
        place = min(len(self._kept), len(self._static) - 1)
        prior = self._prior[place] if self._prior is not None else []
        walk = [] if self._sees_no_walk else self._walk_features()
        return np.clip(np.array([*self._static[place], *walk, *prior], dtype=np.float32), 0, 1)

    def _walk_features(self) -> list[float]:
        """Features that change along the walk: reduced, rest, last action."""
        now = self._fraction(self._kept)
        smallest = self._fraction({**self._budget.floor, **self._kept})
        return [1 - now, now - smallest, self._last_keep]

    def _all_heuristics(
        self, plans: Mapping[str, Mapping[str, int]], measured: Mapping[str, Mapping[str, float]]
    ) -> dict[str, tuple[float, ...]]:
        """An action for each group by every heuristic; all within the budget."""
        budget, n = self._budget, len(self._budget.groups)
        ramps = {"uniform": (0.5,) * n, "shallow": ramp(n, rising=True), "deep": ramp(n, rising=False)}
        for name, amounts in measured.items():
            ramps[name] = in_proportion([amounts[g.name] for g in budget.groups])
        kept = {name: project(actions, budget) for name, actions in ramps.items()}
        if budget.keep is None:
            kept["uniform"] = asked_plan([1.0] * n, budget)
        return {name: ask_for(counts, budget) for name, counts in {**kept, **plans}.items()}

    def _cost_fraction(self, actions: Sequence[float]) -> float:
        return self._fraction(asked_plan(actions, self._budget))

    def _fraction(self, kept: Mapping[str, int]) -> float:
        """The budget's cost with ``kept`` channels, as a fraction of the dense network's."""
        return self._cost_model.value(self._budget.cost, self._cost_model.counts(kept)) / self._full


def _policy_facts(observation: str, features: Sequence[str], budget: Budget, enforcement: str) -> dict[str, Any]:
    return {
        "observation": {"layout": observation, "version": LAYOUT_VERSION, "features": list(features)},
        "action": {"meaning": "keep_ratio = min_keep + action * (1 - min_keep)", "min_keep": budget.least_keep},
        "budget_cost": budget.cost,
        "budget_keep": budget.keep,
        "budget_rule": enforcement,
    }
