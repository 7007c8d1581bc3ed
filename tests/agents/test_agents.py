"""What holds for every agent: one loop, exact twins, exact resume, policies without code."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import safetensors.torch
import torch

import agents

MakeEnv = Callable[..., gym.Env]
LEARNING = ("ddpg", "amc", "td3", "sac", "ppo")
SMALL: dict[str, Any] = {"hidden": [16, 16], "batch_size": 8, "warmup_episodes": 3, "warmup": "random"}
SMALL_PPO: dict[str, Any] = {"hidden": [16, 16], "rollout_episodes": 4, "batch_episodes": 2}


def settings_of(name: str) -> dict[str, Any]:
    return SMALL_PPO if name == "ppo" else SMALL if name in LEARNING else {}


def actions_of(agent: agents.Agent, episodes: int) -> list[tuple[float, ...]]:
    return [agent.run_episode().info["actions"] for _ in range(episodes)]


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("name", agents.NAMES)
def test_the_same_loop_runs_every_agent(name: str, make_env: MakeEnv) -> None:
    agent = agents.make(name, make_env(), 0, **settings_of(name))
    for _ in range(6):
        outcome = agent.run_episode()
        assert len(outcome.info["actions"]) == 3
        assert outcome.reward == pytest.approx(
            -sum((a - b) ** 2 for a, b in zip(outcome.info["actions"], (0.2, 0.8, 0.5), strict=True))
        )
        assert all(np.isfinite(value) for value in outcome.scalars.values())


@pytest.mark.parametrize("name", agents.NAMES)
def test_same_seed_same_actions(name: str, make_env: MakeEnv) -> None:
    first, second = (agents.make(name, make_env(), 3, **settings_of(name)) for _ in range(2))
    assert actions_of(first, 8) == actions_of(second, 8)


@pytest.mark.parametrize(
    "name", ["ddpg", "amc", "td3", "sac", "ppo", "random", "cma_es", "tpe", "annealing", "evolution", "level_switch"]
)
def test_other_seed_other_actions(name: str, make_env: MakeEnv) -> None:
    first, second = (agents.make(name, make_env(), seed, **settings_of(name)) for seed in (3, 4))
    assert actions_of(first, 2)[1] != actions_of(second, 2)[1]


@pytest.mark.parametrize("stop", [0, 2, 7])
@pytest.mark.parametrize("name", agents.NAMES)
def test_goes_on_bit_for_bit(name: str, stop: int, make_env: MakeEnv) -> None:
    whole = agents.make(name, make_env(), 0, **settings_of(name), **small_buffer(name))
    actions_of(whole, stop)
    saved = through_a_file(whole.state())
    expected = actions_of(whole, 6)
    resumed = agents.make(name, make_env(), 99, **settings_of(name), **small_buffer(name))
    actions_of(resumed, 1)
    resumed.load_state(saved)
    assert actions_of(resumed, 6) == expected
    assert_same(resumed.state(), whole.state())


def small_buffer(name: str) -> dict[str, Any]:
    """The buffer is full and written over at the last stop."""
    return {"buffer_episodes": 5} if name in ("ddpg", "amc", "td3", "sac") else {}


def assert_same(first: Any, second: Any) -> None:
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert_same(value, second[key])
    else:
        assert first == second


@pytest.mark.parametrize("name", agents.NAMES)
def test_a_state_is_a_copy(name: str, make_env: MakeEnv) -> None:
    agent = agents.make(name, make_env(), 0, **settings_of(name))
    actions_of(agent, 5)
    state = agent.state()
    before = through_a_file(state)
    actions_of(agent, 2)
    assert_same(state, before)


@pytest.mark.parametrize("name", agents.NAMES)
def test_global_random_states_are_neither_used_nor_changed(name: str, make_env: MakeEnv) -> None:
    def world(seed: int) -> tuple[list[Any], list[Any]]:
        np.random.seed(seed)  # noqa: NPY002 (the global state is what this is about)
        random.seed(seed)
        torch.manual_seed(seed)
        before = [np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state().tolist()]  # noqa: NPY002
        played = actions_of(agents.make(name, make_env(), 0, **settings_of(name)), 6)
        after = [np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state().tolist()]  # noqa: NPY002
        assert before == after
        return before, played

    (first_world, first), (second_world, second) = world(1), world(2)
    assert first_world != second_world
    assert first == second


@pytest.mark.parametrize("name", agents.NAMES)
def test_anothers_state_is_refused(name: str, make_env: MakeEnv) -> None:
    with pytest.raises(ValueError, match="it is 'someone''s"):
        agents.make(name, make_env(), 0, **settings_of(name)).load_state({"agent": "someone"})


@pytest.mark.parametrize("name", agents.NAMES)
def test_a_policy_is_json_and_safetensors(name: str, make_env: MakeEnv, tmp_path: Path) -> None:
    agent = agents.make(name, make_env(), 0, **settings_of(name))
    actions_of(agent, 4)
    agent.save_policy(tmp_path / "policy")
    policy = json.loads((tmp_path / "policy" / "policy.json").read_text())
    assert policy["agent"] == name
    assert policy["observation"] == {
        "layout": "toy",
        "version": 7,
        "features": ["step 0", "step 1", "step 2", "step 3"],
    }
    files = {path.name for path in (tmp_path / "policy").iterdir()}
    if name not in LEARNING:
        assert files == {"policy.json"}
        return
    assert files == {"policy.json", "policy.safetensors"}
    weights = safetensors.torch.load_file(tmp_path / "policy" / policy["weights"])
    assert {key: list(tensor.shape) for key, tensor in weights.items()} == policy["network"]["shapes"]
    assert [16, 4] in policy["network"]["shapes"].values()


def test_uniform_plays_the_environments_uniform_action(make_env: MakeEnv) -> None:
    assert actions_of(agents.make("uniform", make_env(), 0), 1) == [(0.5, 0.5, 0.5)]


@pytest.mark.parametrize(("keep_ratio", "action"), [(0.6, 0.5), (1.0, 1.0), (0.2, 0.0), (0.1, 0.0)])
def test_uniform_with_a_fixed_keep_ratio(keep_ratio: float, action: float, make_env: MakeEnv) -> None:
    # The toy's min_keep is 0.2: (0.6 − 0.2) / 0.8 = 0.5.
    assert actions_of(agents.make("uniform", make_env(), 0, keep_ratio=keep_ratio), 1)[0] == pytest.approx(
        (action,) * 3
    )


def test_random_is_uniform_on_the_unit_interval(make_env: MakeEnv) -> None:
    played = np.array(actions_of(agents.make("random", make_env(), 0), 3000))
    assert played.min() >= 0
    assert played.max() <= 1
    assert played.mean() == pytest.approx(0.5, abs=0.02)
    assert played.std() == pytest.approx(12**-0.5, abs=0.02)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("dqn", {}, "agent=dqn: unknown; give one of ddpg, amc, td3, sac, ppo, random, uniform"),
        ("ddpg", {"learning_rate": 1}, "agent.learning_rate: ddpg has no such setting; it has hidden, "),
        ("random", {"sigma": 1}, "agent.sigma: random has no such setting; it has spread"),
        ("deep", {"sigma": 1}, "agent.sigma: deep has no such setting; it has none"),
        ("random", {"spread": 0}, "agent.spread=0: give a value greater than 0"),
        ("cma_es", {"episodes_": 3}, "agent.episodes_: cma_es has no such setting; it has sigma, population"),
        ("cma_es", {"sigma": 0}, "agent.sigma=0: give a value greater than 0"),
        ("cma_es", {"population": 3}, "agent.population=3: give a value that is a whole number, 4 or more"),
        ("tpe", {"startup": 0}, "agent.startup=0: give a value"),
        ("tpe", {"reach": -1}, "agent.reach=-1: give a value greater than 0"),
        ("annealing", {"share": 2}, "agent.share=2: give a value in (0, 1]"),
        ("annealing", {"step": "far"}, "agent.step=far: give a value greater than 0"),
        ("level_switch", {"switches": 0}, "agent.switches=0: give a value that is a whole number, 1 or more"),
        ("evolution", {"parents": 1}, "agent.parents=1: give a value that is a whole number, 2 or more"),
        ("evolution", {"share": 0}, "agent.share=0: give a value greater than 0"),
        ("netadapt", {"steps": 0}, "agent.steps=0: give a value that is a whole number, 1 or more"),
        ("uniform", {"keep_ratio": 1.5}, "agent.keep_ratio=1.5: give a value in (0, 1], or null for the budget's"),
        ("ddpg", {"sigma": -1}, "agent.sigma=-1: give a value of 0 or more"),
        ("ddpg", {"tau": 2}, "agent.tau=2: give a value in [0, 1]"),
        ("td3", {"policy_delay": 0}, "agent.policy_delay=0: give a value 1 or more"),
        ("sac", {"hidden": []}, "agent.hidden=(): give a value of at least one width"),
        ("sac", {"ent_coef": "often"}, "agent.ent_coef=often"),
        ("ddpg", {"warmup_episodes": "many"}, "agent.warmup_episodes=many"),
    ],
)
def test_wrong_settings(name: str, settings: dict[str, Any], message: str, make_env: MakeEnv) -> None:
    with pytest.raises(ValueError, match="agent") as error:
        agents.make(name, make_env(), 0, **settings)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="agent"):  # before there is an environment, too
        agents.check_settings(name, settings)


@pytest.mark.parametrize("name", agents.NAMES)
def test_the_configured_settings_are_the_defaults(name: str, make_env: MakeEnv, repo: Path) -> None:
    from dataclasses import asdict

    from omegaconf import OmegaConf

    config: Any = OmegaConf.to_container(OmegaConf.load(repo / "conf" / "agent" / f"{name}.yaml"))
    assert config.pop("name") == name
    agent = agents.make(name, make_env(), 0, **config)
    if hasattr(agent, "settings") and name != "sac":  # SAC's own learning rate is configured
        default = agents.make(name, make_env(), 0)
        assert asdict(agent.settings) == asdict(default.settings)  # type: ignore[attr-defined]
        assert set(config) == set(asdict(default.settings))  # type: ignore[attr-defined]
