"""The black-box searchers find plans that are known, and what is particular to each."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import agents
from agents.black_box.annealing import Annealing, AnnealingSettings
from agents.black_box.evolution import Evolution, EvolutionSettings
from agents.black_box.level_switch import LevelSwitch, LevelSwitchSettings

MakeEnv = Callable[..., gym.Env]
SEARCHERS = ("cma_es", "tpe", "annealing", "evolution", "level_switch")
TWELVE = (0.2, 0.8, 0.5, 0.3, 0.7, 0.4, 0.6, 0.25, 0.75, 0.5, 0.35, 0.65)
RNG = np.random.default_rng


def rewards_of(name: str, env: gym.Env, episodes: int, seed: int = 0, **settings: float) -> list[float]:
    agent = agents.make(name, env, seed, episodes=episodes, **settings)
    return [agent.run_episode().reward for _ in range(episodes)]


@pytest.mark.parametrize("name", SEARCHERS)
def test_the_first_plan_is_the_uniform_one(name: str, make_env: MakeEnv) -> None:
    env = make_env()
    env.start["uniform_action"] = 0.3  # type: ignore[attr-defined]
    assert agents.make(name, env, 0).run_episode().info["actions"] == (np.float32(0.3),) * 3


def test_cma_es_can_begin_at_a_rules_plan(make_env: MakeEnv) -> None:
    agent = agents.make("cma_es", make_env(), 0, start="deep", sigma=1e-6)
    for _ in range(3):  # the plan itself, then what is drawn around it
        assert agent.run_episode().info["actions"] == pytest.approx((0.75, 0.5, 0.25), abs=1e-4)
    with pytest.raises(ValueError, match=r"agent\.start=magic: this environment has no such rule; it has uniform"):
        agents.make("cma_es", make_env(), 0, start="magic")


@pytest.mark.parametrize("name", SEARCHERS)
def test_finds_the_best_of_three_actions_in_150_episodes(name: str, make_env: MakeEnv) -> None:
    # Uniform has −0.3² − 0.3² = −0.18; −0.01 is 0.06 off in each action.
    assert max(rewards_of(name, make_env(), 150)) > -0.01


@pytest.mark.parametrize("name", SEARCHERS)
def test_beats_random_plans_on_twelve_groups_in_150_episodes(name: str, make_env: MakeEnv) -> None:
    def mean_of_best(name: str, **settings: float) -> float:
        return float(np.mean([max(rewards_of(name, make_env(TWELVE), 150, seed, **settings)) for seed in range(3)]))

    assert mean_of_best(name) > mean_of_best("random", spread=0.7) + 0.02
    assert mean_of_best("random", spread=0.7) > mean_of_best("random")


@pytest.mark.parametrize("name", SEARCHERS)
def test_one_group_is_enough(name: str, make_env: MakeEnv) -> None:
    assert max(rewards_of(name, make_env([0.7]), 40)) > -0.001


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_policy_is_the_best_plan(name: str, make_env: MakeEnv, tmp_path: Path) -> None:
    agent = agents.make(name, make_env(), 0)
    outcomes = [agent.run_episode() for _ in range(30)]
    best = max(outcomes, key=lambda outcome: outcome.reward)
    agent.save_policy(tmp_path)
    policy = json.loads((tmp_path / "policy.json").read_text())
    assert policy["actions"] == pytest.approx(best.info["actions"])
    assert (policy["reward"], policy["episodes"]) == (best.reward, 30)


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_state_for_other_groups_is_refused(name: str, make_env: MakeEnv) -> None:
    agent = agents.make(name, make_env(), 0)
    agent.run_episode()
    with pytest.raises(ValueError, match="plans for 3 groups, this environment has 2"):
        agents.make(name, make_env([0.5, 0.5]), 0).load_state(agent.state())


@pytest.mark.parametrize(("name", "package"), [("cma_es", "cmaes"), ("tpe", "optuna")])
def test_a_missing_package(name: str, package: str, make_env: MakeEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=f"^agent={name}: needs the package {package} ") as error:
        agents.make(name, make_env(), 0)
    assert str(error.value).endswith("pip install 'amc-pruning[rivals]'")


def test_cma_es_learns_once_per_generation(make_env: MakeEnv) -> None:
    agent = agents.make("cma_es", make_env(), 0, population=5)
    scalars = [agent.run_episode().scalars for _ in range(11)]
    assert [s["generation"] for s in scalars] == [0] * 5 + [1] * 5 + [2]
    assert {s["sigma"] for s in scalars[:5]} == {0.7}
    assert len({s["sigma"] for s in scalars}) == 3


def test_tpe_is_quiet_and_stays_within_its_reach(make_env: MakeEnv, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        agent = agents.make("tpe", make_env([0.99, 0.01]), 0, startup=5, reach=0.5)
        played = np.array([agent.run_episode().info["actions"] for _ in range(30)])
    assert caplog.records == []
    # sigmoid(±0.5) = 0.6225, 0.3775: as close as it can get.
    assert played.min() >= 0.3775 - 1e-4
    assert played.max() <= 0.6225 + 1e-4
    assert played[:, 0].max() > 0.6


def test_annealing_goes_downhill_only_while_it_is_hot() -> None:
    def moved(told: int) -> float:
        """Share of steps down by one standard deviation that are taken after ``told`` of 100 episodes."""
        taken = 0
        for seed in range(300):
            # As many rewards of 1 as of −1: the mean is 0, the standard deviation 1.
            search = Annealing(1, 100, AnnealingSettings(temperature=1.0, last_temperature=0.01))
            for index in range(told):
                search.tell(np.zeros(1), 1.0 if index % 2 == 0 else -1.0, RNG(index))
            search.tell(np.zeros(1), 2.0, RNG(0))
            search.tell(np.ones(1), 1.0, RNG(seed))
            taken += bool(search._current[0] == 1)
        return taken / 300

    # T = 0.01^(22/100) = 0.363 and s ≈ 1.06: exp(−1 / 0.385) = 0.075; at the end T = 0.01: exp(−100).
    assert moved(20) == pytest.approx(0.075, abs=0.04)
    assert moved(98) == 0


def test_annealings_steps_shrink_to_the_last_one() -> None:
    search = Annealing(1000, 10, AnnealingSettings(step=0.8, last_step=0.2, share=1.0))
    sizes = []
    for index in range(11):
        sizes.append(float((search.ask(RNG(index)) - search._current).std()))
        search.tell(np.zeros(1000), 0.0, RNG(index))
    assert sizes[0] == pytest.approx(0.8, rel=0.1)
    assert sizes[5] == pytest.approx(0.4, rel=0.1)  # halfway in geometric terms: √(0.8 · 0.2)
    assert sizes[10] == pytest.approx(0.2, rel=0.1)


def test_evolution_keeps_the_best_and_crosses_them() -> None:
    search = Evolution(50, 100, EvolutionSettings(parents=2, mutation=1e-9))
    for value, reward in ((0.0, 1.0), (1.0, 5.0), (2.0, 3.0), (3.0, 2.0)):
        search.tell(np.full(50, value), reward, RNG(0))
    child = search.ask(RNG(0)).round(6)
    assert set(child) == {1.0, 2.0}  # of the parents with rewards 5 and 3
    assert search.scalars() == {"worst_parent": 3.0}


def test_evolution_mutates_one_group_at_least() -> None:
    search = Evolution(4, 100, EvolutionSettings(parents=2, share=1e-9))
    for _ in range(2):
        search.tell(np.zeros(4), 0.0, RNG(0))
    assert [int((search.ask(RNG(seed)) != 0).sum()) for seed in range(5)] == [1] * 5


def test_a_switch_takes_from_one_what_it_gives_another() -> None:
    search = LevelSwitch(6, 100, LevelSwitchSettings(switches=1))
    search.tell(np.zeros(6), 1.0, RNG(0))
    for seed in range(5):
        child = search.ask(RNG(seed))
        assert (child != 0).sum() == 2
        assert child.sum() == pytest.approx(0)


def test_a_child_that_is_as_good_becomes_the_parent() -> None:
    search = LevelSwitch(2, 100, LevelSwitchSettings())
    for value, reward in ((0.0, 1.0), (1.0, 1.0), (2.0, 0.5)):
        search.tell(np.full(2, value), reward, RNG(0))
    assert search.scalars() == {"parent": 1.0}
    assert search.ask(RNG(0)).sum() == pytest.approx(2.0)
