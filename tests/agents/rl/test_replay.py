from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.rl.replay import EpisodeReplayBuffer


def make_buffer(size: int = 6, seed: int = 0, **settings: Any) -> EpisodeReplayBuffer:
    box, action = spaces.Box(0.0, 1.0, (2,), np.float32), spaces.Box(0.0, 1.0, (1,), np.float32)
    return EpisodeReplayBuffer(size, box, action, rng=np.random.default_rng(seed), baseline_decay=0.9, **settings)


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


def test_rewards_are_divided_by_the_standard_deviation_of_now() -> None:
    buffer = make_buffer(scale_rewards=True)
    add_episode(buffer, 5.0)
    assert set(buffer.sample(50).rewards.flatten().tolist()) == {0.0}  # one episode: nothing to divide by
    add_episode(buffer, -5.0)  # baseline 4, standard deviation 5
    assert set(buffer.sample(50).rewards.flatten().tolist()) == {np.float32(0.2), np.float32(-1.8)}
    add_episode(buffer, 5.0)  # baseline 4.1; of 5, −5, 5: mean 5/3, variance 25 − 25/9 = 200/9, though 5 has gone
    std = (200 / 9) ** 0.5
    sampled = sorted(set(buffer.sample(50).rewards.flatten().tolist()))
    assert sampled == pytest.approx([-9.1 / std, 0.9 / std], rel=1e-6)


def test_scaled_rewards_do_not_depend_on_the_unit_of_the_reward() -> None:
    batches = []
    for unit in (1.0, 1000.0):
        buffer = make_buffer(size=30, scale_rewards=True)
        for reward in (1.0, -2.0, 4.0, 0.5):
            add_episode(buffer, reward * unit)
        batches.append(buffer.sample(40).rewards)
    torch.testing.assert_close(batches[0], batches[1])


def test_a_share_of_a_batch_comes_from_the_best_tenth() -> None:
    buffer = make_buffer(size=60, best_share=0.25)
    for reward in [*range(10), 50, *range(9)]:  # 20 episodes, so the best two: 50 and one of 9
        add_episode(buffer, float(reward))
    np.testing.assert_array_equal(buffer.rewards[buffer.best_transitions(), 0], [9, 9, 9, 50, 50, 50])
    sampled = np.concatenate([buffer.sample(40).rewards[:, 0].numpy() for _ in range(100)]) + buffer.baseline
    favoured = sampled.reshape(100, 40)[:, :10]
    assert set(favoured.flatten().round(3).tolist()) == {9.0, 50.0}
    others = sampled.reshape(100, 40)[:, 10:]
    assert np.isclose(others, 50).mean() == pytest.approx(1 / 20, abs=0.02)
    assert len(set(others.flatten().round(3).tolist())) == 11


def test_each_network_has_its_own_best_tenth() -> None:
    buffer = make_buffer(size=60, best_share=0.5, network=lambda: place)
    for episode in range(20):  # network 1 is the easier one: its worst is better than the other's best
        place = episode % 2
        add_episode(buffer, float(episode + 100 * place))
    np.testing.assert_array_equal(buffer.rewards[buffer.best_transitions(), 0], [18, 18, 18, 119, 119, 119])


def test_the_best_are_found_when_episodes_were_written_over() -> None:
    buffer = make_buffer(size=7, best_share=1.0)
    for reward in (1.0, 3.0, 2.0):  # the last lies round the end, over the first and none of the second
        add_episode(buffer, reward)
    assert sorted(buffer.best_transitions().tolist()) == [3, 4, 5]
    add_episode(buffer, 3.0)  # written over most of the older 3, of which one step is left
    assert buffer.best_transitions().tolist() == [5]
    assert set((buffer.sample(20).rewards + buffer.baseline).flatten().tolist()) == {3.0}


def test_equal_episodes_do_not_widen_the_best_tenth() -> None:
    buffer = make_buffer(size=60, best_share=0.5)
    for _ in range(20):
        add_episode(buffer, 1.0)
    assert buffer.best_transitions().tolist() == [0, 1, 2, 3, 4, 5]


def test_without_a_share_the_samples_are_those_of_before() -> None:
    plain, other = make_buffer(), make_buffer(best_share=0.0, scale_rewards=False)
    for buffer in (plain, other):
        add_episode(buffer, 1.0)
    indices = np.random.default_rng(0).integers(3, size=20)
    assert plain.sample(20).observations[:, 0].tolist() == indices.tolist()
    assert torch.equal(other.sample(20).observations[:, 0], torch.from_numpy(indices).float())


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
    assert other.spread.std == buffer.spread.std == pytest.approx((2 / 3) ** 0.5)
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
