"""Several networks in one environment: whose turn it is, and how long its walk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import agents
from amc.core.errors import AmcError
from amc.core.types import Metrics
from amc.pruning.budget import Budget
from amc.rewards import accuracy
from envs.channel_pruning import ChannelPruningEnv
from envs.several_networks import SeveralNetworksEnv
from tests.support.chains import chain

WIDTHS = {"short": [4, 4], "long": [8, 8, 8, 8, 8], "middle": [6, 6, 6]}


def walk(name: str, **arguments: Any) -> ChannelPruningEnv:
    costs = chain(WIDTHS[name])
    scores = {"short": 0.2, "long": 0.5, "middle": 0.3}
    budget = Budget(costs, keep=arguments.pop("keep", 0.5))
    return ChannelPruningEnv(
        costs, budget, lambda plan: Metrics(scores[name], 1.0, 1), accuracy, observation="portable", **arguments
    )


def several() -> SeveralNetworksEnv:
    return SeveralNetworksEnv({name: walk(name) for name in WIDTHS})


def play(env: SeveralNetworksEnv, action: float = 0.5) -> tuple[str, int, float]:
    """Name of the network, steps and reward of an episode."""
    _, start = env.reset()
    finished, steps, reward = False, 0, 0.0
    while not finished:
        _, reward, finished, _, info = env.step(np.array([action], dtype=np.float32))
        assert info["network"] == start["network"]
        steps += 1
    return info["network"], steps, reward


def test_gymnasium_accepts_it() -> None:
    check_env(several(), skip_render_check=True)


def test_an_episode_on_each_in_turn() -> None:
    env = several()
    assert [play(env) for _ in range(4)] == [("short", 2, 0.2), ("long", 5, 0.5), ("middle", 3, 0.3), ("short", 2, 0.2)]


def test_a_reset_in_the_middle_begins_the_same_walk_again() -> None:
    env = several()
    play(env)
    env.reset()
    env.step(np.array([0.5], dtype=np.float32))
    env.reset()
    assert play(env)[:2] == ("long", 5)


def test_the_turn_depends_on_the_finished_episodes_alone() -> None:
    env = several()
    env.finished = 5
    assert play(env)[0] == "middle"


def test_each_walk_is_the_networks_own() -> None:
    env, alone = several(), walk("long")
    env.finished = 1
    (observation, start), (expected, own) = env.reset(), alone.reset()
    assert np.array_equal(observation, expected)
    assert start["uniform_action"] == own["uniform_action"]
    for action in (0.9, 0.1, 0.7, 0.3, 0.5):
        ours, theirs = (e.step(np.array([action], dtype=np.float32)) for e in (env, alone))
        assert np.array_equal(ours[0], theirs[0])
    assert ours[4]["plan"] == theirs[4]["plan"]


def test_a_reset_tells_of_the_network_that_comes_now() -> None:
    env = several()
    for episode in range(5):
        _, info = env.reset()
        assert (info["place"], info["turn"], info["longest"]) == (episode % 3, episode // 3, 5)
        assert info["steps"] == len(info["rules"]["uniform"]) == (2, 5, 3)[episode % 3]
        env.finished += 1


def test_warm_up_plays_each_networks_own_rules() -> None:
    env = several()
    agent = agents.make("ddpg", env, 0, hidden=[4], warmup="rules", warmup_episodes=9)
    for rule in ("uniform", "shallow", "deep"):
        for _ in range(3):
            asked = env.reset()[1]["rules"][rule]
            agent.run_episode()
            buffer = agent._model.replay_buffer
            played = buffer.actions[buffer.pos - len(asked) : buffer.pos, 0, 0]
            assert (played + 1) / 2 == pytest.approx(asked, abs=1e-6)


def test_a_replay_buffer_holds_walks_of_every_length() -> None:
    agent = agents.make("ddpg", several(), 0, hidden=[4], warmup_episodes=2, buffer_episodes=2, batch_size=4)
    names = [agent.run_episode().info["network"] for _ in range(3)]
    assert names == ["short", "long", "middle"]
    buffer = agent.state()["buffer"]
    assert len(buffer["arrays"]["rewards"]) == 2 * 5  # 2 + 5 + 3 steps were played
    networks = [0] * 2 + [1] * 5 + [2] * 3
    assert buffer["arrays"]["networks"][:, 0].tolist() == networks
    rewards = [0.2] * 2 + [0.5] * 5 + [0.3] * 3
    assert np.allclose(buffer["arrays"]["rewards"][:, 0], rewards)


def test_what_does_not_belong_together() -> None:
    with pytest.raises(AmcError, match="no network"):
        SeveralNetworksEnv({})
    with pytest.raises(AmcError, match="middle: its observation or its budget"):
        SeveralNetworksEnv({"short": walk("short"), "middle": walk("middle", keep=0.7)})
