"""PPO learns the toy task from rollouts of several episodes, and stops anywhere in between."""

from __future__ import annotations

import math
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

import agents
from agents.rl.ppo import PPOAgent
from agents.rl.rollout import EpisodesRolloutBuffer

MakeEnv = Callable[..., gym.Env]


def small(env: gym.Env, **settings: object) -> PPOAgent:
    return PPOAgent(env, 0, **{"hidden": [8], "rollout_episodes": 4, "batch_episodes": 2, "epochs": 3} | settings)


def weights(agent: PPOAgent) -> list[torch.Tensor]:
    return [p.detach().clone() for p in agent._model.policy.parameters()]


@pytest.mark.slow
@pytest.mark.parametrize("best", [(0.2, 0.8, 0.5), (1.0, 0.0)])
def test_learns_the_best_ratios(best: tuple[float, ...], make_env: MakeEnv) -> None:
    agent = agents.make("ppo", make_env(best), 0, hidden=[64, 64])
    assert isinstance(agent, PPOAgent)
    rewards = [agent.run_episode().reward for _ in range(320)]
    observations = np.eye(len(best) + 1, dtype=np.float32)[: len(best)]
    mean = agent._model.predict(observations, deterministic=True)[0][:, 0]
    np.testing.assert_allclose(mean, best, atol=0.1)
    assert np.mean(rewards[-40:]) > -0.05
    assert np.mean(rewards[:8]) < -0.15


def test_the_policy_stays_while_a_rollout_is_played(make_env: MakeEnv) -> None:
    agent = small(make_env())
    changed, reported = [], []
    for _ in range(9):
        before = weights(agent)
        outcome = agent.run_episode()
        changed.append(any(not torch.equal(p, q) for p, q in zip(before, weights(agent), strict=True)))
        reported.append("actor_loss" in outcome.scalars)
    assert changed == reported == [False, False, False, True, False, False, False, True, False]
    # 3 epochs after each of two rollouts; Adam: 2 minibatches in each epoch.
    assert agent._model._n_updates == 6
    assert {int(s["step"]) for s in agent._model.policy.optimizer.state.values()} == {12}
    assert agent.episodes == 9


def test_the_rollout_holds_what_was_played(make_env: MakeEnv) -> None:
    agent = small(make_env())
    played = [agent.run_episode() for _ in range(3)]
    buffer = agent._model.rollout_buffer
    assert (buffer.pos, buffer.full, buffer.buffer_size) == (9, False, 12)
    np.testing.assert_array_equal(buffer.episode_starts[:9, 0], [1, 0, 0] * 3)
    np.testing.assert_array_equal(buffer.observations[:9, 0], np.eye(4, dtype=np.float32)[[0, 1, 2] * 3])
    clipped = np.clip(buffer.actions[:9, 0, 0], 0, 1).reshape(3, 3)
    np.testing.assert_array_equal(clipped, np.array([o.info["actions"] for o in played], dtype=np.float32))
    # γ = λ = 1: the return of each step is its episode's reward, and the advantage what the critic was off.
    returns = np.repeat([o.reward for o in played], 3)
    np.testing.assert_allclose(buffer.returns[:9, 0], returns, atol=1e-6)
    np.testing.assert_allclose(buffer.advantages[:9, 0], returns - buffer.values[:9, 0], atol=1e-6)


def test_a_half_full_rollout_is_gone_on_with(make_env: MakeEnv) -> None:
    whole, resumed = small(make_env()), small(make_env())
    for _ in range(6):
        whole.run_episode()
    assert whole._model.rollout_buffer.pos == 6
    resumed.load_state(whole.state())
    expected = [whole.run_episode() for _ in range(5)]
    again = [resumed.run_episode() for _ in range(5)]
    assert [o.info["actions"] for o in again] == [o.info["actions"] for o in expected]
    assert [dict(o.scalars) for o in again] == [dict(o.scalars) for o in expected]


def test_the_state_of_a_larger_rollout_is_refused(make_env: MakeEnv) -> None:
    agent = small(make_env(), rollout_episodes=8)
    for _ in range(4):
        agent.run_episode()
    with pytest.raises(ValueError, match=r"a rollout of shape \(12, 1, 4\) for a buffer of shape \(12, 1, 4\)"):
        small(make_env()).load_state(agent.state())


def test_actions_are_normal_around_the_mean_and_clipped(make_env: MakeEnv) -> None:
    agent = small(make_env([0.5]), sigma=0.3, rollout_episodes=2000, batch_episodes=1000)
    played = np.array([agent.run_episode().info["actions"][0] for _ in range(1000)])
    assert played.min() == 0  # clipped, so 0 and 1 are played
    assert played.max() == 1
    inside = agent._model.rollout_buffer.actions[:1000, 0, 0]
    assert inside.mean() == pytest.approx(0.5, abs=0.03)
    assert inside.std() == pytest.approx(0.3, abs=0.02)
    # log N(x; 0.5, 0.3²)
    mean = agent._model.predict(np.array([1, 0], np.float32), deterministic=True)[0].item()
    expected = -(((inside - mean) / 0.3) ** 2) / 2 - math.log(0.3 * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(agent._model.rollout_buffer.log_probs[:1000, 0], expected, atol=1e-3)


def test_sigma_is_reported(make_env: MakeEnv) -> None:
    assert small(make_env(), sigma=0.25).run_episode().scalars["sigma"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rollout_episodes": 1}, "agent.rollout_episodes=1: give a value 2 or more"),
        ({"batch_episodes": 3}, "agent.batch_episodes=3: give a value that divides rollout_episodes=8"),
        ({"sigma": 0}, "agent.sigma=0: give a value greater than 0"),
        ({"epochs": 0}, "agent.epochs=0: give a value 1 or more"),
        ({"ent_coef": -0.1}, "agent.ent_coef=-0.1: give a value 0 or more"),
        ({"actor_start": "zero"}, "agent.actor_start=zero: give a value that is one of default, uniform"),
        ({"warmup_episodes": 3}, "agent.warmup_episodes: ppo has no such setting; it has hidden, "),
    ],
)
def test_wrong_settings(settings: dict[str, object], message: str, make_env: MakeEnv) -> None:
    with pytest.raises(ValueError, match="agent") as error:
        agents.make("ppo", make_env(), 0, **settings)
    assert str(error.value).startswith(message)


def test_each_step_comes_once_per_epoch_and_numpys_state_stays() -> None:
    box, action = spaces.Box(0.0, 1.0, (2,), np.float32), spaces.Box(0.0, 1.0, (1,), np.float32)
    episode = RolloutBuffer(5, box, action, "cpu", gae_lambda=1, gamma=1)
    buffer = EpisodesRolloutBuffer(10, box, action, rng=np.random.default_rng(0))
    for start in (0, 5):
        episode.reset()
        for t in range(start, start + 5):
            number = torch.full((1,), float(t))
            episode.add(np.full((1, 2), t), np.full((1, 1), t), np.zeros(1), np.array([t == start]), number, number)
        episode.compute_returns_and_advantage(torch.zeros(1), np.array([True]))
        buffer.append(episode)
    assert buffer.full
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (the state that must stay)
    batches = list(buffer.get(4))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert [len(batch.actions) for batch in batches] == [4, 4, 2]
    order = torch.cat([batch.old_values for batch in batches]).tolist()
    assert sorted(order) == list(range(10))
    assert order != sorted(order)
    for batch in batches:
        assert torch.equal(batch.actions[:, 0], batch.old_values)
        assert torch.equal(batch.observations[:, 1], batch.old_log_prob)
