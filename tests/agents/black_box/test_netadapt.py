"""NetAdapt on problems small enough to be worked out on paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gymnasium as gym
import numpy as np
import pytest

import agents

MakeEnv = Callable[..., gym.Env]


@pytest.fixture
def make_problem(make_env: MakeEnv) -> MakeEnv:
    """Reward −Σ weight · (1 − action)²; cost Σ share · action, so that a group can vanish altogether."""

    def make(weights: Sequence[float], shares: Sequence[float], keep: float) -> gym.Env:
        env = make_env([1.0] * len(weights), weights=list(weights))
        cost = lambda actions: float(np.dot(shares, actions))  # noqa: E731
        env.start |= {"keep": keep, "cost_fraction": cost}  # type: ignore[attr-defined]
        return env

    return make


def play_out(agent: agents.Agent) -> list[tuple[float, ...]]:
    played = []
    while not agent.finished:
        played.append(agent.run_episode().info["actions"])
    return played


def test_two_groups_two_steps(make_problem: MakeEnv) -> None:
    """Worked out.

    Step 1, cost 0.75: group 1 alone to 0.5 has −1 · 0.25; group 2 alone to 0.5 has −2 · 0.25. Group 1 wins.
    Step 2, cost 0.5: group 1 alone to 0 has −1; group 2 alone to 0.5 has −0.25 − 0.5 = −0.75. Group 2 wins.
    """
    agent = agents.make("netadapt", make_problem((1, 2), (0.5, 0.5), 0.5), 0, steps=2)
    assert play_out(agent) == [(0.5, 1), (1, 0.5), (0, 1), (0.5, 0.5)]
    assert agent.run_episode().info["actions"] == (0.5, 0.5)  # nothing more to propose
    assert agent.finished


def test_a_group_that_cannot_save_enough_alone_is_left_out(make_problem: MakeEnv) -> None:
    # Cost 0.75 means saving 0.25; group 1 is all in all 0.125. Group 2 goes to 1 − 0.25 / 0.375 = 1/3, group 3 to ½.
    agent = agents.make("netadapt", make_problem((1, 1, 1), (0.125, 0.375, 0.5), 0.75), 0, steps=1)
    first, second = play_out(agent)
    assert first == pytest.approx((1, 1 / 3, 1), abs=1e-4)
    assert first[1] <= 1 / 3  # within the limit, by less than a level
    assert second == (1, 1, 0.5)


def test_all_groups_together_if_none_can_save_enough_alone(make_problem: MakeEnv) -> None:
    agent = agents.make("netadapt", make_problem((1, 2, 3, 4), (0.25,) * 4, 0.25), 0, steps=1)
    assert play_out(agent) == [(0.25,) * 4]


def test_a_step_that_is_met_already_takes_no_episode(make_problem: MakeEnv) -> None:
    env = make_problem((1,), (1,), 0.5)
    env.start["cost_fraction"] = lambda actions: float(np.ceil(2 * actions[0]) / 2)  # type: ignore[attr-defined]
    # Costs 1, ½ or 0: the first step's limit of 0.875 takes ½, which is the last step's limit.
    assert play_out(agents.make("netadapt", env, 0, steps=4)) == [(0.5,)]


@pytest.mark.parametrize("episodes", [5, 7])
def test_a_random_part_of_the_groups_when_there_are_too_few_episodes(episodes: int, make_problem: MakeEnv) -> None:
    def played(seed: int) -> list[tuple[float, ...]]:
        env = make_problem((1, 2, 3, 4, 5), (0.2,) * 5, 0.75)
        return play_out(agents.make("netadapt", env, seed, episodes=episodes, steps=2))

    runs = [played(seed) for seed in range(8)]
    assert {len(run) for run in runs} == {episodes}
    # Step 1 has half of them, rounded down: one group below 1 in each plan.
    assert {tuple(sum(a < 1 for a in plan) for plan in run[: episodes // 2]) for run in runs} == {
        (1,) * (episodes // 2)
    }
    assert len({tuple(run[: episodes // 2]) for run in runs}) > 1
    assert played(3) == runs[3]


def test_steps_follow_the_episodes(make_problem: MakeEnv) -> None:
    agent = agents.make("netadapt", make_problem((1,) * 12, (1 / 12,) * 12, 0.5), 0, episodes=200)
    played = play_out(agent)
    # 20 steps of 0.025, each with ten groups of twelve that can save it: 1/12 = 0.083.
    assert 190 <= len(played) <= 200
    assert np.mean(played[-1]) == pytest.approx(0.5, abs=1e-3)
    assert np.mean(played[0]) == pytest.approx(0.975, abs=1e-3)


def test_goes_on_bit_for_bit_from_every_episode(make_problem: MakeEnv) -> None:
    def fresh(seed: int) -> agents.Agent:
        return agents.make("netadapt", make_problem((1, 2, 3), (0.25, 0.25, 0.5), 0.5), seed, episodes=10, steps=4)

    whole = play_out(fresh(0))
    for stop in range(len(whole) + 1):
        agent, resumed = fresh(0), fresh(1)
        for _ in range(stop):
            agent.run_episode()
        resumed.load_state(agent.state())
        assert play_out(resumed) == whole[stop:]


def test_its_environment_enforces_no_budget() -> None:
    from agents.black_box.netadapt import NetAdaptAgent
    from agents.heuristics import UniformAgent

    assert NetAdaptAgent.free_budget
    assert not UniformAgent.free_budget


@pytest.mark.parametrize(
    ("keep", "settings", "message"),
    [
        (1.0, {}, "agent=netadapt: it walks down to a budget and there is none"),
        (0.5, {"episodes": 3, "steps": 4}, "agent.steps=4: each takes an episode or more, and there are only 3"),
    ],
)
def test_what_it_cannot_do(keep: float, settings: dict[str, int], message: str, make_problem: MakeEnv) -> None:
    with pytest.raises(ValueError, match="agent") as error:
        agents.make("netadapt", make_problem((1, 1), (0.5, 0.5), keep), 0, **settings)
    assert str(error.value).startswith(message)


def test_a_state_for_other_groups_is_refused(make_problem: MakeEnv) -> None:
    state = agents.make("netadapt", make_problem((1, 1), (0.5, 0.5), 0.5), 0).state()
    with pytest.raises(ValueError, match="a plan for 2 groups, this environment has 1"):
        agents.make("netadapt", make_problem((1,), (1,), 0.5), 0).load_state(state)
