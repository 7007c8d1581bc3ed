"""What each improvement over the paper does by itself: warm-up by rules, updates per step, where the actor starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import agents
from agents.rl.off_policy import OffPolicyAgent
from agents.rl.warm_up import rule_action
from tests.agents.conftest import ToyEnv

MakeEnv = Callable[..., gym.Env]
OFF_POLICY = ("ddpg", "td3", "sac")
SMALL: dict[str, Any] = {"hidden": [16, 16], "batch_size": 8, "warmup_episodes": 3}
RAMPS = ("uniform", "shallow", "deep")
IMPROVED: dict[str, Any] = {
    "warmup": "rules", "warmup_episodes": 5, "updates_per_step": 2, "reward_scale": "std", "best_share": 0.25,
    "actor_start": "uniform",
}  # fmt: skip


def make(name: str, env: gym.Env, seed: int = 0, **settings: Any) -> OffPolicyAgent:
    agent = agents.make(name, env, seed, **SMALL | settings)
    assert isinstance(agent, OffPolicyAgent)
    return agent


def play(agent: agents.Agent, episodes: int) -> list[tuple[float, ...]]:
    return [agent.run_episode().info["actions"] for _ in range(episodes)]


@pytest.mark.parametrize("name", OFF_POLICY)
def test_warm_up_plays_each_rule_once_then_around_them(name: str, make_env: MakeEnv) -> None:
    agent = make(name, make_env(rules=RAMPS), warmup="rules", warmup_episodes=6)
    played = play(agent, 6)
    rules = [(0.5, 0.5, 0.5), (0.25, 0.5, 0.75), (0.75, 0.5, 0.25)]
    assert played[:3] == rules
    for noisy, rule in zip(played[3:], rules, strict=True):
        assert noisy != pytest.approx(rule, abs=1e-3)
    # What was played is what is learnt from; SB3 keeps it in [−1, 1].
    np.testing.assert_allclose(agent._buffer.actions[:9, 0, 0], 2 * np.array(rules).flatten() - 1, atol=1e-6)
    assert agent._model._n_updates == 3  # none before warm-up was over


def test_warm_up_noise_has_the_given_sigma() -> None:
    rng, rules = np.random.default_rng(0), [np.array([0.5]), np.array([0.4])]
    noisy = np.array([rule_action(rules, episode, 0, 0.05, rng) for episode in range(2, 4002)])
    assert noisy[::2].mean() == pytest.approx(0.5, abs=0.005)
    assert noisy[1::2].mean() == pytest.approx(0.4, abs=0.005)
    assert noisy[::2].std() == pytest.approx(0.05, abs=0.005)
    assert [rule_action(rules, episode, 0, 0.0, rng) for episode in range(4)] == [0.5, 0.4, 0.5, 0.4]


def test_warm_up_without_rules_is_refused(make_env: MakeEnv) -> None:
    env = make_env(rules=())
    with pytest.raises(ValueError, match=r"^agent\.warmup=rules: the environment's reset info has no 'rules'; take"):
        make("ddpg", env, warmup="rules")
    env.rules["short"] = (0.5,)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"^agent\.warmup=rules: rule 'short' has 1 actions for 3 steps$"):
        make("ddpg", env, warmup="rules")


@pytest.mark.parametrize("name", OFF_POLICY)
def test_updates_per_step(name: str, make_env: MakeEnv) -> None:
    agent, updates = make(name, make_env(), warmup_episodes=2, updates_per_step=4), []
    for _ in range(4):
        agent.run_episode()
        updates.append(agent._model._n_updates)
    assert updates == [0, 12, 24, 36]  # 3 steps × 4


def actor_actions(agent: Any, steps: int = 3) -> np.ndarray:
    observations = np.eye(steps + 1, dtype=np.float32)
    return agent._model.predict(observations, deterministic=True)[0][:, 0]


class Tight(gym.Wrapper):
    """Offers another uniform action."""

    def __init__(self, env: gym.Env, action: float | None) -> None:
        super().__init__(env)
        self.action = action

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        del info["uniform_action"]
        return observation, info if self.action is None else info | {"uniform_action": self.action}


@pytest.mark.parametrize("name", [*OFF_POLICY, "ppo"])
@pytest.mark.parametrize(("uniform", "action"), [(0.37, 0.37), (1.0, 0.98), (0.0, 0.02)])
def test_the_actor_starts_at_the_uniform_action(name: str, uniform: float, action: float, make_env: MakeEnv) -> None:
    agent: Any = agents.make(name, Tight(make_env(), uniform), 0, actor_start="uniform")
    actions = actor_actions(agent)
    np.testing.assert_allclose(actions, action, atol=0.005)
    assert len(set(actions.tolist())) > 1  # it can still tell its observations apart
    if name in ("ddpg", "td3"):
        for own, target in zip(agent._model.actor.parameters(), agent._model.actor_target.parameters(), strict=True):
            assert own.equal(target)


def test_a_uniform_start_needs_a_uniform_action(make_env: MakeEnv) -> None:
    with pytest.raises(ValueError, match=r"^agent\.actor_start=uniform: the environment's reset info has no 'uniform_"):
        make("ddpg", Tight(make_env(), None), actor_start="uniform")


@pytest.mark.parametrize("name", OFF_POLICY)
@pytest.mark.parametrize(
    ("wanted", "static", "expected"),
    [
        ("best", False, (0.25, 0.5, 0.75)),  # of uniform, shallow and deep the nearest to the best actions
        ("auto", True, (0.25, 0.5, 0.75)),
        ("auto", False, (0.5, 0.5, 0.5)),
    ],
)
def test_after_warm_up_the_actor_is_at_the_best_of_it(
    name: str, wanted: str, static: bool, expected: tuple[float, ...], make_env: MakeEnv
) -> None:
    env = make_env(rules=RAMPS)
    env.start["static_observation"] = static  # type: ignore[attr-defined]
    agent = make(name, env, warmup="rules", actor_start=wanted, actor_learning_rate=1e-9)
    play(agent, 2)
    np.testing.assert_allclose(actor_actions(agent)[:3], 0.5, atol=0.005)
    play(agent, 1)
    np.testing.assert_allclose(actor_actions(agent)[:3], expected, atol=0.005)
    if name != "sac":
        model: Any = agent._model
        for own, target in zip(model.actor.parameters(), model.actor_target.parameters(), strict=True):
            np.testing.assert_allclose(target.detach(), own.detach(), atol=1e-6)


@pytest.mark.parametrize("name", OFF_POLICY)
def test_a_warm_up_without_a_number_plays_each_rule_once(name: str, make_env: MakeEnv) -> None:
    agent = make(name, make_env(rules=RAMPS), warmup="rules", warmup_episodes=None)
    assert play(agent, 3) == [(0.5, 0.5, 0.5), (0.25, 0.5, 0.75), (0.75, 0.5, 0.25)]
    assert agent._model._n_updates == 3  # it learns from then on
    play(agent, 1)
    assert agent._model._n_updates == 6


def test_of_several_networks_the_actor_fits_the_best_of_each() -> None:
    class Two(ToyEnv):
        """Two networks in turn, of which the second, whose best actions are others, is seen to be another."""

        def __init__(self) -> None:
            super().__init__(best=(0.2, 0.8), rules=RAMPS[1:])
            self.observation_space = gym.spaces.Box(0, 1, (4,), np.float32)
            self.played = 0

        def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
            self.best = np.array([(0.2, 0.8), (0.8, 0.2)][self.played % 2])
            observation, start = super().reset(**kwargs)
            return observation, {**start, "place": self.played % 2, "turn": self.played // 2}

        def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
            after = super().step(action)
            self.played += after[2]
            return after

        def _observe(self) -> np.ndarray:
            return np.array([self.played % 2, *np.eye(3)[len(self.taken)]], dtype=np.float32)

    agent: Any = make("ddpg", Two(), warmup="rules", warmup_episodes=4, actor_start="best", actor_learning_rate=1e-9)
    play(agent, 4)
    seen = np.array([[network, *np.eye(3)[step]] for network in (0, 1) for step in (0, 1)], dtype=np.float32)
    actions = agent._model.predict(seen, deterministic=True)[0][:, 0]
    np.testing.assert_allclose(actions, (0.25, 0.75, 0.75, 0.25), atol=0.005)


@pytest.mark.parametrize("name", OFF_POLICY)
@pytest.mark.parametrize("stop", [2, 4, 5, 8])
@pytest.mark.parametrize("start", ["uniform", "best"])
def test_goes_on_bit_for_bit_with_all_of_them(name: str, stop: int, start: str, make_env: MakeEnv) -> None:
    settings = {**IMPROVED, "actor_start": start}
    whole, resumed = (make(name, make_env(), seed, buffer_episodes=6, **settings) for seed in (0, 9))
    play(whole, stop)
    play(resumed, 1)
    resumed.load_state(whole.state())
    assert play(whole, 6) == play(resumed, 6)


def test_learns_with_all_of_them(make_env: MakeEnv) -> None:
    settings = {"hidden": [64, 64], "sigma": 0.5, "sigma_decay": 0.93, **IMPROVED, "warmup_episodes": 15}
    agent = agents.make("ddpg", make_env(rules=RAMPS), 0, **settings)
    assert play(agent, 100)[-1] == pytest.approx((0.2, 0.8, 0.5), abs=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warmup": "none"}, "agent.warmup=none: give a value that is one of random, rules"),
        ({"warmup_sigma": -0.1}, "agent.warmup_sigma=-0.1: give a value 0 or more"),
        ({"updates_per_step": 0}, "agent.updates_per_step=0: give a value 1 or more"),
        ({"updates_per_step": 1.5}, "agent.updates_per_step=1.5: give a value that is a whole number"),
        ({"reward_scale": 2}, "agent.reward_scale=2: give a value that is one of none, std"),
        ({"best_share": 1.1}, "agent.best_share=1.1: give a value in [0, 1]"),
        ({"actor_start": "zero"}, "agent.actor_start=zero: give a value that is one of auto, best, default, uniform"),
        ({"actor_start": "best", "warmup_episodes": 0}, "agent.warmup_episodes=0: give a value 1 or more"),
        (
            {"warmup": "random", "warmup_episodes": None},
            "agent.warmup=random: give a value of rules, or a number of warmup_episodes",
        ),
    ],
)
@pytest.mark.parametrize("name", OFF_POLICY)
def test_wrong_settings(name: str, settings: dict[str, Any], message: str, make_env: MakeEnv) -> None:
    with pytest.raises(ValueError, match="agent") as error:
        make(name, make_env(), **settings)
    assert str(error.value) == message
