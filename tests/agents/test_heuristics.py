"""Agents that don't learn: rules of the environment, and random plans around the uniform one."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import agents
from agents.logits import around

MakeEnv = Callable[..., gym.Env]


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("shallow", (0.25, 0.5, 0.75)),
        ("deep", (0.75, 0.5, 0.25)),
        ("response", (0.4, 0.5, 0.6)),
        ("price", (0.45, 0.5, 0.55)),
        ("threshold", (0.375, 0.5, 0.625)),
        ("size_aware", (0.625, 0.5, 0.375)),
    ],
)
def test_a_rule_plays_the_environments_actions(name: str, actions: tuple[float, ...], make_env: MakeEnv) -> None:
    agent = agents.make(name, make_env(), 0)
    for _ in range(2):
        assert agent.run_episode().info["actions"] == pytest.approx(actions)


@pytest.mark.parametrize("name", ["uniform", "deep"])
def test_a_rule_has_one_plan_to_propose(name: str, make_env: MakeEnv) -> None:
    agent, gone_on = (agents.make(name, make_env(), 0) for _ in range(2))
    assert not agent.finished
    agent.run_episode()
    assert agent.finished
    gone_on.load_state(agent.state())
    assert gone_on.finished


@pytest.mark.parametrize("name", ["threshold", "size_aware"])
def test_a_rule_that_the_environment_lacks(name: str, make_env: MakeEnv) -> None:
    with pytest.raises(ValueError, match="no such rule") as error:
        agents.make(name, make_env(rules=("uniform", "deep")), 0)
    assert str(error.value) == f"agent={name}: this environment has no such rule; it has uniform, deep"


def test_random_with_a_spread_is_normal_on_logits_around_the_uniform_action(make_env: MakeEnv) -> None:
    agent = agents.make("random", make_env(), 0, spread=0.7)
    played = np.array([agent.run_episode().info["actions"] for _ in range(2000)])
    logits = np.log(played / (1 - played))  # the uniform action 0.5 has the logit 0
    assert logits.mean() == pytest.approx(0, abs=0.03)
    assert logits.std() == pytest.approx(0.7, abs=0.03)


def test_logits_around_a_uniform_action() -> None:
    # logit 0.2 = ln 0.25; adding ln 4 gives the logit of 0.5, adding ln 16 that of 0.8.
    assert around(0.2, [0.0, np.log(4), np.log(16)]) == pytest.approx([0.2, 0.5, 0.8])
    assert around(0.0, [0.0]) == pytest.approx([0.01])
    assert around(1.0, [0.0]) == pytest.approx([0.99])


@given(st.floats(0, 1), st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_actions_stay_in_the_unit_interval_and_rise_with_their_logits(uniform: float, offsets: list[float]) -> None:
    actions = around(uniform, sorted(offsets))
    assert all(0 <= action <= 1 for action in actions)
    assert actions == sorted(actions)
