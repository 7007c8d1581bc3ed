"""AMC's agent learns a task whose answer is known, with its own schedule and with the paper's."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest
import torch

import agents
from agents.rl.ddpg import AMCAgent, DDPGAgent
from agents.rl.sac import SACAgent
from agents.rl.td3 import TD3Agent

MakeEnv = Callable[..., gym.Env]


@pytest.mark.parametrize(("name", "settings"), [("ddpg", {}), ("amc", {"warmup_episodes": 30})])
@pytest.mark.parametrize("best", [(0.2, 0.8, 0.5), (0.9, 0.3)])
def test_learns_the_best_ratios_and_beats_random(
    best: tuple[float, ...], name: str, settings: dict[str, int], make_env: MakeEnv
) -> None:
    agent = agents.make(name, make_env(best), 0, **settings)
    outcomes = [agent.run_episode() for _ in range(250)]
    assert outcomes[-1].info["actions"] == pytest.approx(best, abs=0.1)
    other = agents.make("random", make_env(best), 0)
    random_mean = np.mean([other.run_episode().reward for _ in range(250)])
    assert random_mean < -0.2
    assert np.mean([o.reward for o in outcomes[-20:]]) > -0.02


def test_warm_up_counts_episodes_then_sigma_falls(make_env: MakeEnv) -> None:
    agent = agents.make("ddpg", make_env(), 0, hidden=[8], warmup_episodes=4, sigma=0.5, sigma_decay=0.5)
    assert isinstance(agent, DDPGAgent)
    before = [p.detach().clone() for p in agent._model.actor.parameters()]
    outcomes = []
    for _ in range(3):
        outcomes.append(agent.run_episode())
        assert all(torch.equal(p, q) for p, q in zip(before, agent._model.actor.parameters(), strict=True))
    outcomes += [agent.run_episode() for _ in range(3)]
    assert [o.scalars.get("sigma") for o in outcomes] == [None, None, None, None, 0.5, 0.25]
    # The first update comes when warm-up is over: at the end of its last episode.
    assert ["actor_loss" in o.scalars for o in outcomes] == [False, False, False, True, True, True]


def test_one_update_per_step(make_env: MakeEnv) -> None:
    agent = DDPGAgent(make_env(), 0, hidden=[8], warmup_episodes=2)
    updates = []
    for _ in range(4):
        agent.run_episode()
        updates.append(agent._model._n_updates)
    assert updates == [0, 3, 6, 9]


@pytest.mark.parametrize("kind", [DDPGAgent, TD3Agent, SACAgent])
def test_two_learning_rates(kind: type[DDPGAgent | TD3Agent | SACAgent], make_env: MakeEnv) -> None:
    agent = kind(make_env(), 0, hidden=[8], warmup_episodes=1, actor_learning_rate=0.002, critic_learning_rate=0.03)
    for _ in range(3):
        agent.run_episode()
    assert agent._model.actor.optimizer.param_groups[0]["lr"] == 0.002
    assert agent._model.critic.optimizer.param_groups[0]["lr"] == 0.03


def test_adam_steps_by_each_learning_rate(make_env: MakeEnv) -> None:
    # Adam's first step moves each weight with a gradient by its learning rate.
    agent = DDPGAgent(
        make_env([0.5]), 0, hidden=[8], warmup_episodes=2, actor_learning_rate=1e-3, critic_learning_rate=1e-2
    )
    agent.run_episode()
    networks = {1e-3: agent._model.actor, 1e-2: agent._model.critic}
    before = {rate: [p.detach().clone() for p in net.parameters()] for rate, net in networks.items()}
    agent.run_episode()  # of one step, so one update
    for rate, net in networks.items():
        moved = max((p - q).abs().max().item() for p, q in zip(net.parameters(), before[rate], strict=True))
        assert moved == pytest.approx(rate, rel=0.01)


def test_the_papers_settings(make_env: MakeEnv) -> None:
    agent = AMCAgent(make_env(), 0)
    model = agent._model
    assert [tuple(p.shape) for p in model.actor.parameters()][:4] == [(300, 4), (300,), (300, 300), (300,)]
    assert (model.tau, model.gamma, model.batch_size, model.buffer_size) == (0.01, 1.0, 64, 300)
    s = agent.settings
    assert (s.actor_learning_rate, s.critic_learning_rate, s.warmup_episodes) == (1e-4, 1e-3, 100)
    assert (s.sigma, s.sigma_decay) == (0.5, 0.95)  # type: ignore[attr-defined]
    assert (s.warmup, s.actor_start, s.updates_per_step, s.best_share) == ("random", "default", 1, 0)
    assert s.reward_scale == "none"


def test_exploration_is_around_the_actors_action(make_env: MakeEnv) -> None:
    agent = DDPGAgent(make_env(), 0, hidden=[8], warmup_episodes=0, sigma=0.01)
    model = agent._model
    agent.run_episode()
    mean = model.predict(model._last_obs, deterministic=True)[0][0, 0]
    sample = np.array([model.explore()[0, 0] for _ in range(500)])
    assert sample.mean() == pytest.approx(mean, abs=0.003)
    assert 0.005 < sample.std() < 0.015


def test_a_truncating_environment_is_refused(make_env: MakeEnv) -> None:
    env = gym.wrappers.TimeLimit(make_env(), max_episode_steps=2)
    with pytest.raises(ValueError, match="truncated"):
        DDPGAgent(env, 0, hidden=[8]).run_episode()
