from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.replay import EpisodeReplayBuffer


def make_buffer(size: int = 6, seed: int = 0) -> EpisodeReplayBuffer:
    box, action = spaces.Box(0.0, 1.0, (2,), np.float32), spaces.Box(0.0, 1.0, (1,), np.float32)
    return EpisodeReplayBuffer(size, box, action, rng=np.random.default_rng(seed), baseline_decay=0.9)


def add_episode(buffer: EpisodeReplayBuffer, reward: float, steps: int = 3) -> None:
    for t in range(steps):
        done = t == steps - 1
        buffer.add(
            np.full((1, 2), t, np.float32),
            np.full((1, 2), t + 1, np.float32),
            np.full((1, 1), t / 10, np.float32),
            np.array([reward if done else 0.0]),
            np.array([done]),
            [{}],
        )


def test_the_final_reward_reaches_every_step() -> None:
    buffer = make_buffer()
    add_episode(buffer, 5.0)
    add_episode(buffer, -2.0)
    np.testing.assert_array_equal(buffer.rewards[:, 0], [5, 5, 5, -2, -2, -2])
    np.testing.assert_array_equal(buffer.dones[:, 0], [0, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(buffer.observations[:, 0, 0], [0, 1, 2, 0, 1, 2])
    np.testing.assert_allclose(buffer.actions[:, 0, 0], [0, 0.1, 0.2, 0, 0.1, 0.2])


def test_an_unfinished_episode_is_not_sampled() -> None:
    buffer = make_buffer()
    add_episode(buffer, 5.0, steps=2)
    buffer.add(np.ones((1, 2)), np.ones((1, 2)), np.ones((1, 1)), np.zeros(1), np.array([False]), [{}])
    assert buffer.size() == 2


def test_old_episodes_make_room() -> None:
    buffer = make_buffer(size=6)
    for reward in (1.0, 2.0, 3.0):
        add_episode(buffer, reward)
    np.testing.assert_array_equal(buffer.rewards[:, 0], [3, 3, 3, 2, 2, 2])


def test_the_baseline_is_a_moving_average_of_episode_rewards() -> None:
    buffer = make_buffer()
    assert buffer.baseline is None
    add_episode(buffer, 5.0)
    assert buffer.baseline == 5.0
    add_episode(buffer, -2.0)
    assert buffer.baseline == pytest.approx(0.9 * 5 + 0.1 * -2)


def test_samples_are_relative_to_the_baseline_of_now() -> None:
    buffer = make_buffer()
    add_episode(buffer, 5.0)
    assert set(buffer.sample(50).rewards.flatten().tolist()) == {0.0}
    add_episode(buffer, -5.0)  # the baseline is 4 from now on
    batch = buffer.sample(50)
    assert {tuple(t.shape) for t in (batch.rewards, batch.dones, batch.actions)} == {(50, 1)}
    assert batch.observations.shape == batch.next_observations.shape == (50, 2)
    assert set(batch.rewards.flatten().tolist()) == {1.0, -9.0}


def test_sampling_leaves_the_global_random_state_alone() -> None:
    buffer = make_buffer()
    add_episode(buffer, 1.0)
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (the state that must stay)
    buffer.sample(50)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_state_round_trip() -> None:
    buffer, other = make_buffer(size=7), make_buffer(size=7)
    for reward in (1.0, 2.0, 3.0):  # full, and wrapped round
        add_episode(buffer, reward)
    add_episode(other, 9.0)
    other.load_state(buffer.state())
    assert (other.pos, other.full, other.baseline) == (buffer.pos, buffer.full, buffer.baseline) == (2, True, 1.29)
    np.testing.assert_array_equal(other.rewards, buffer.rewards)
    assert torch.equal(other.sample(9).observations, make_buffer_like(buffer).sample(9).observations)


def make_buffer_like(buffer: EpisodeReplayBuffer) -> EpisodeReplayBuffer:
    copy = make_buffer(buffer.buffer_size)
    copy.load_state(buffer.state())
    return copy


def test_state_of_another_size_is_refused() -> None:
    buffer = make_buffer(size=6)
    add_episode(buffer, 1.0)
    add_episode(buffer, 1.0)
    for size in (5, 12):
        with pytest.raises(ValueError, match="agent state: a replay buffer of shape"):
            make_buffer(size).load_state(buffer.state())
