from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

import envs
from amc.core.errors import AmcError
from amc.core.types import Cost, Metrics, PruningPlan
from amc.pruning.budget import Budget
from amc.pruning.cost import CostModel
from amc.rewards import accuracy, error_log_flops
from envs.channel_pruning import ChannelPruningEnv
from tests.support.chains import chain

MakeEnv = Callable[..., ChannelPruningEnv]


def act(value: float) -> np.ndarray:
    return np.array([value], dtype=np.float32)


def roll(env: ChannelPruningEnv, actions: list[float]) -> list[tuple[Any, ...]]:
    env.reset()
    return [env.step(act(a)) for a in actions]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("observation", ["amc", "portable", "response", "price"])
def test_gymnasium_accepts_it(cost_model: CostModel, observation: str) -> None:
    env = gym.make(
        envs.CHANNEL_PRUNING,
        cost_model=cost_model,
        budget=Budget(cost_model),
        evaluate=lambda plan: Metrics(0.5, 1.0, 10),
        reward=accuracy,
        observation=observation,
        measured={"response": {"a": 0.5, "b": 2.0}, "price": {"a": 2.0, "b": 0.5}},
    )
    check_env(env.unwrapped, skip_close_check=True)


def test_seeded_twins_are_equal(make_env: MakeEnv) -> None:
    twins = make_env("portable"), make_env("portable")
    for _ in range(3):
        (first, info), (second, other) = (env.reset(seed=5) for env in twins)
        np.testing.assert_array_equal(first, second)
        assert {**info, "cost_fraction": None} == {**other, "cost_fraction": None}
        done = False
        while not done:
            action = twins[0].action_space.sample()
            (obs, *rest), (obs2, *rest2) = (env.step(action) for env in twins)
            np.testing.assert_array_equal(obs, obs2)
            assert rest == rest2
            done = rest[1]


def test_a_walk_literally(make_env: MakeEnv) -> None:
    env = make_env(keep=None, min_keep=0.25)
    first, start = env.reset()
    assert {key: start[key] for key in ("steps", "min_keep", "uniform_action", "keep")} == {
        "steps": 2, "min_keep": 0.25, "uniform_action": 1.0, "keep": 1.0,
    }  # fmt: skip
    # Smallest plan: 2 of 8 and 4 of 16 channels: 3 · 2 · 576 + 2 · 4 · 16 + 4 · 10 = 3,624 of 16,032 MACs.
    # index, type, in, out, height, width, stride, kernel, MACs, reduced, rest, last action
    np.testing.assert_allclose(first, [0, 0, 0, 0, 1, 1, 0, 1, 1, 0, 1 - 3_624 / 16_032, 1], rtol=1e-6)

    # keep ratio 0.25 + ⅓ · 0.75 = 0.5: 4 of 8 channels: 6,912 + 4 · 16 · 16 + 160 = 8,096 MACs; with 4 of b's 16
    # channels 6,912 + 256 + 40 = 7,208.
    second, reward, terminated, truncated, info = env.step(act(1 / 3))
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info == {"group": "a", "channels": 4, "keep_ratio": 0.5, "asked": 4}
    np.testing.assert_allclose(
        second, [1, 0, 1, 1, 0, 0, 1, 0, 0, 1 - 8_096 / 16_032, (8_096 - 7_208) / 16_032, 0.5], rtol=1e-6
    )

    # keep ratio 0.25 + 0.4 · 0.75 = 0.55: 8.8 of 16 channels, in steps of 4: 8. MACs 6,912 + 512 + 80 = 7,504.
    last, reward, terminated, truncated, info = env.step(act(0.4))
    assert (terminated, truncated) == (True, False)
    assert reward == info["reward"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert dict(info["plan"].kept) == {"a": 4, "b": 8, "fc": 10}
    assert info["cost"] == Cost(7_504, 4 * 27 + 32 + 80)
    assert info["original_cost"] == Cost(16_032, 216 + 128 + 160)
    assert info["metrics"].score == reward
    np.testing.assert_allclose(last[9:], [1 - 7_504 / 16_032, 0, 0.5], rtol=1e-6, atol=1e-7)


def test_reduced_and_rest_follow_the_budgets_cost(make_env: MakeEnv) -> None:
    # 504 parameters; with 4 of a's 8 channels 108 + 64 + 160 = 332.
    (observation, *_), *_ = roll(make_env(cost="params", keep=None), [4 / 9])
    assert observation[9] == pytest.approx(1 - 332 / 504)


def test_asked_is_what_was_wanted_before_clipping(make_env: MakeEnv) -> None:
    # At most 8,016 MACs. Kept a: 1,728 a + 64 a + 40 (4 channels of b) ≤ 8,016 gives a = 4.
    steps = roll(make_env(keep=0.5, min_keep=0.1), [1.0, 1.0])
    assert [(s[4]["asked"], s[4]["channels"]) for s in steps] == [(8, 4), (16, 12)]
    assert steps[-1][4]["cost"].macs == 6_912 + 4 * 12 * 16 + 120


def test_the_reward_gets_both_costs(cost_model: CostModel) -> None:
    seen = []

    def reward(metrics: Metrics, cost: Cost, original: Cost) -> float:
        seen.append((metrics, cost, original))
        return error_log_flops(metrics, cost, original)

    metrics = Metrics(0.5, 1.0, 10)
    env = ChannelPruningEnv(cost_model, Budget(cost_model, keep=None), lambda plan: metrics, reward)
    steps = roll(env, [1.0, 1.0])
    assert seen == [(metrics, Cost(16_032, 504), Cost(16_032, 504))]
    assert steps[-1][1] == pytest.approx(-0.5 * np.log(16_032))


def test_evaluates_once_per_episode(cost_model: CostModel) -> None:
    plans: list[PruningPlan] = []

    def evaluate(plan: PruningPlan) -> Metrics:
        plans.append(plan)
        return Metrics(0.5, 1.0, 10)

    env = ChannelPruningEnv(cost_model, Budget(cost_model), evaluate, accuracy)
    for episode in range(3):
        env.reset()
        env.step(act(0.5))
        assert len(plans) == episode
        env.step(act(0.5))
        assert len(plans) == episode + 1


def test_uniform_action_is_never_clipped(make_env: MakeEnv) -> None:
    for keep in (0.4, 0.5, 0.7, 0.9, None):
        env = make_env(keep=keep, min_keep=0.25)
        action = env.reset()[1]["uniform_action"]
        steps = roll(env, [action, action])
        assert all(s[4]["asked"] == s[4]["channels"] for s in steps)
        assert steps[-1][4]["cost"].macs <= (keep or 1) * 16_032


@given(
    actions=st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2),
    keep=st.floats(0.51, 1),
    cost=st.sampled_from(["macs", "params"]),
    channel_round=st.sampled_from([1, 2, 3]),
)
def test_any_policy_meets_the_budget(
    cost_model: CostModel, actions: list[float], keep: float, cost: str, channel_round: int
) -> None:
    budget = Budget(cost_model, cost, keep, 0.1, channel_round)
    steps = roll(ChannelPruningEnv(cost_model, budget, lambda plan: Metrics(0.5, 1.0, 10), accuracy), actions)
    info = steps[-1][4]
    assert info["cost"].get(cost) <= keep * info["original_cost"].get(cost)
    assert all(s[0].dtype == np.float32 and ((s[0] >= 0) & (s[0] <= 1)).all() for s in steps)


def test_actions_outside_count_as_the_nearest_inside(make_env: MakeEnv) -> None:
    steps = roll(make_env(keep=None, min_keep=0.25), [-3.0, 7.0])
    assert [s[4]["channels"] for s in steps] == [2, 16]


def test_an_action_that_is_no_number(make_env: MakeEnv) -> None:
    with pytest.raises(AmcError, match="group a: the action is NaN"):
        roll(make_env(), [float("nan")])


def test_a_step_needs_a_running_episode(make_env: MakeEnv) -> None:
    env = make_env()
    with pytest.raises(ResetNeeded):
        env.step(act(0.5))
    roll(env, [0.5, 0.5])
    with pytest.raises(ResetNeeded):
        env.step(act(0.5))


def test_policy_facts_are_plain_data(make_env: MakeEnv) -> None:
    facts = make_env("portable", min_keep=0.2, keep=None).metadata["policy"]
    assert json.loads(json.dumps(facts)) == facts
    assert facts["observation"]["layout"] == "portable"
    assert facts["action"]["min_keep"] == 0.2
    assert "policy" not in ChannelPruningEnv.metadata


def test_rules_meet_the_budget_unclipped(make_env: MakeEnv) -> None:
    env = make_env(keep=0.6, min_keep=0.25)
    rules = env.reset()[1]["rules"]
    assert list(rules) == ["uniform", "shallow", "deep"]
    assert rules["shallow"][0] < rules["deep"][0]
    assert rules["shallow"][1] > rules["deep"][1]
    for actions in rules.values():
        steps = roll(env, list(actions))
        assert all(s[4]["asked"] == s[4]["channels"] for s in steps)
        assert steps[-1][4]["cost"].macs <= 0.6 * 16_032


def test_rules_that_are_given(cost_model: CostModel) -> None:
    env = ChannelPruningEnv(
        cost_model, Budget(cost_model), lambda plan: Metrics(0.5, 1.0, 10), accuracy, plans={"mine": {"a": 2, "b": 12}}
    )
    steps = roll(env, list(env.reset()[1]["rules"]["mine"]))
    assert [s[4]["channels"] for s in steps] == [2, 12]


@pytest.mark.parametrize("name", ["response", "price"])
def test_a_groups_odds_are_in_proportion_to_what_was_measured(name: str) -> None:
    costs = chain([100, 100, 100])
    amounts = {g.name: r for g, r in zip(Budget(costs).groups, (1.0, 2.0, 4.0), strict=True)}
    env = ChannelPruningEnv(
        costs, Budget(costs, min_keep=0.01), lambda plan: Metrics(0.5, 1.0, 10), accuracy, enforcement="project",
        observation=name, measured={name: amounts},
    )  # fmt: skip
    observation, info = env.reset()
    assert env.observation_space.contains(observation)
    actions = np.array(info["rules"][name])
    odds = actions / (1 - actions)
    np.testing.assert_allclose(odds / odds[0], [1, 2, 4], rtol=0.1)  # whole channels
    steps = roll(env, list(actions))
    assert steps[-1][4]["cost"].macs <= 0.5 * steps[-1][4]["original_cost"].macs
    np.testing.assert_allclose(steps[0][0], [0.5, 0.5])  # the second group's: the middle one of three, equal MACs
    assert env.metadata["policy"]["observation"]["features"] == [name, "macs"]


def test_the_finished_walk_is_moved_onto_the_budget(cost_model: CostModel) -> None:
    env = ChannelPruningEnv(
        cost_model, Budget(cost_model), lambda plan: Metrics(0.5, 1.0, 10), accuracy, enforcement="project"
    )
    greedy, modest = (roll(env, [action, action])[-1][4] for action in (1.0, 0.2))
    # The same preference for both groups, whatever is asked for: the largest such plan within 8,016 MACs.
    assert greedy["plan"] == modest["plan"]
    assert 0.4 * 16_032 < greedy["cost"].macs <= 8_016
    first_cheap, last_cheap = (roll(env, actions)[-1][4]["plan"] for actions in ([0.1, 0.9], [0.9, 0.1]))
    assert first_cheap["a"] <= last_cheap["a"]
    assert first_cheap["b"] > last_cheap["b"]


def test_free_enforces_nothing_and_tells_costs(cost_model: CostModel) -> None:
    env = ChannelPruningEnv(
        cost_model, Budget(cost_model), lambda plan: Metrics(0.5, 1.0, 10), accuracy, enforcement="free"
    )
    start = env.reset()[1]
    assert start["cost_fraction"]([1.0, 1.0]) == 1.0
    # 0.1 + 4/9 · 0.9 = 0.5: 4 of a's 8 channels, all of b's: 6,912 + 1,024 + 160 = 8,096 MACs.
    assert start["cost_fraction"]([4 / 9, 1.0]) == pytest.approx(8_096 / 16_032)
    assert roll(env, [1.0, 1.0])[-1][4]["cost"].macs == 16_032


def test_an_unknown_rule_is_refused(cost_model: CostModel) -> None:
    with pytest.raises(AmcError, match=r"budget.rule=squeeze: unknown; give one of clip, project, free"):
        ChannelPruningEnv(
            cost_model, Budget(cost_model), lambda plan: Metrics(0.5, 1.0, 10), accuracy, enforcement="squeeze"
        )


def test_a_prior_is_seen_last(cost_model: CostModel) -> None:
    env = ChannelPruningEnv(
        cost_model, Budget(cost_model), lambda plan: Metrics(0.5, 1.0, 10), accuracy, prior={"a": 0.25, "b": 0.75}
    )
    first, _ = env.reset()
    assert env.observation_space.contains(first)
    assert (first[12], env.step(act(0.5))[0][12]) == (0.25, 0.75)
    assert env.metadata["policy"]["observation"]["features"][-1] == "sensitivity"
