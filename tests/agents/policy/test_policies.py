"""Policies on disk: read back as they were, and good to act and to start from."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import agents
from agents.policy.files import read_policy
from agents.rl.learning import LearningAgent

MakeEnv = Callable[..., gym.Env]
LEARNING = ("ddpg", "td3", "sac", "ppo")
FEW: dict[str, dict[str, Any]] = {
    **{name: {"hidden": [16, 8], "batch_size": 8, "warmup_episodes": 2} for name in ("ddpg", "td3", "sac")},
    "ppo": {"hidden": [16, 8], "rollout_episodes": 2, "batch_episodes": 2},
}


def trained(name: str, env: gym.Env, episodes: int = 5, **more: Any) -> LearningAgent:
    agent = agents.make(name, env, 0, **FEW[name] | more)
    assert isinstance(agent, LearningAgent)
    for _ in range(episodes):
        agent.run_episode()
    return agent


@pytest.fixture
def saved(make_env: MakeEnv, tmp_path: Path) -> Path:
    """A DDPG policy's folder."""
    trained("ddpg", make_env()).save_policy(tmp_path / "policy")
    return tmp_path / "policy"


@pytest.mark.parametrize("name", LEARNING)
def test_round_trip(name: str, make_env: MakeEnv, tmp_path: Path) -> None:
    env = make_env()
    env.metadata["policy"]["trained_on"] = {"model": "resnet20"}
    agent = trained(name, env)
    agent.save_policy(tmp_path)
    policy = read_policy(tmp_path, env)
    assert (policy.agent, policy.agent_class) == (name, type(agent).__name__)
    assert (policy.episodes, policy.hidden) == (5, (16, 8))
    assert (policy.layout, policy.layout_version) == ("toy", 7)
    assert policy.features == ("step 0", "step 1", "step 2", "step 3")
    assert policy.action == {"meaning": "the action itself", "min_keep": 0.2}
    assert policy.budget == {"budget_cost": "mean action"}
    assert policy.trained_on == {"model": "resnet20"}
    for prefix, weights in zip(("actor", "critic"), agent._weights(), strict=True):
        assert policy.part(prefix).keys() == weights.keys() != set()
        assert all(torch.equal(policy.part(prefix)[key], value) for key, value in weights.items())


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("hidden", [[16, 8], [12]])
def test_acts_like_the_agents_deterministic_policy(
    name: str, hidden: list[int], make_env: MakeEnv, tmp_path: Path
) -> None:
    agent: Any = trained(name, make_env(), episodes=8, hidden=hidden)
    agent.save_policy(tmp_path)
    policy = read_policy(tmp_path)
    observations = np.random.default_rng(0).random((50, 4)).astype(np.float32)
    expected = agent._model.predict(observations, deterministic=True)[0][:, 0]
    actions = [policy.act(observation) for observation in observations]
    assert np.ptp(actions) > 1e-4
    np.testing.assert_allclose(actions, expected, atol=1e-6)


def test_acting_by_hand(make_env: MakeEnv, tmp_path: Path) -> None:
    trained("ddpg", make_env([0.5]), episodes=0, hidden=[2]).save_policy(tmp_path)
    weights = {
        "actor.mu.0.weight": [[1.0, -1.0], [0.0, 2.0]], "actor.mu.0.bias": [0.0, -3.0],
        "actor.mu.2.weight": [[2.0, 5.0]], "actor.mu.2.bias": [-1.0],
    }  # fmt: skip
    policy = replace(read_policy(tmp_path), weights={name: torch.tensor(value) for name, value in weights.items()})
    # relu(0.75 − 0.25), relu(2 · 0.25 − 3) = 0.5, 0; tanh(2 · 0.5 − 1) = 0; the middle of [0, 1]
    assert policy.act([0.75, 0.25]) == 0.5
    with pytest.raises(ValueError, match=r"^policy: an observation of shape \[3\]; this one reads \[2\]$"):
        policy.act([0.1, 0.2, 0.3])


def test_reading_and_acting_need_no_agent_library(saved: Path, repo: Path) -> None:
    code = (
        "import sys; from agents.policy.files import read_policy; "
        f"print(read_policy({str(saved)!r}).act([1, 0, 0, 0]), 'stable_baselines3' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True).stdout.split()
    assert float(printed[0]) == read_policy(saved).act([1, 0, 0, 0])
    assert printed[1] == "False"


def other(env: gym.Env, **observation: Any) -> gym.Env:
    env.metadata["policy"]["observation"].update(observation)
    return env


def test_another_observation_is_refused(saved: Path, make_env: MakeEnv) -> None:
    for observation, message in [
        ({"layout": "amc"}, "policy: it reads the observation 'toy', the environment shows 'amc'; choose"),
        (
            {"version": 8},
            "policy: it reads version 7 of the observation 'toy', the environment shows version 8; "
            "train again with this version or use the version that wrote it",
        ),
        ({"features": ["a", "b", "c", "d"]}, "policy: other features than the environment's in version 7 of "),
    ]:
        with pytest.raises(ValueError, match="policy") as error:
            read_policy(saved, other(make_env(), **observation))
        assert str(error.value).startswith(f"{saved}: {message}")
        agent = trained("ddpg", other(make_env(), **observation), episodes=0)
        with pytest.raises(ValueError, match="policy") as error:
            agent.load_policy(read_policy(saved))
        assert str(error.value).startswith(message)


@pytest.mark.parametrize("name", LEARNING)
def test_a_new_agent_starts_from_a_policy(name: str, make_env: MakeEnv, tmp_path: Path) -> None:
    old = trained(name, make_env(), episodes=8)
    old.save_policy(tmp_path)
    new: Any = agents.make(name, make_env(), 1, **FEW[name])
    new.load_policy(read_policy(tmp_path))
    for part, expected in zip(new._weights(), old._weights(), strict=True):
        assert all(torch.equal(part[key], value) for key, value in expected.items())
    for network, target in (("actor", "actor_target"), ("critic", "critic_target")):
        if hasattr(new._model, target):
            weights = getattr(new._model, network).state_dict()
            assert all(torch.equal(weights[k], v) for k, v in getattr(new._model, target).state_dict().items())
    assert new.episodes == 0
    before = new._weights()[0]
    before = {key: value.clone() for key, value in before.items()}
    for _ in range(4):
        new.run_episode()
    assert any(not torch.equal(before[key], value) for key, value in new._weights()[0].items())  # it learns on
    # The policy itself has stayed.
    policy = read_policy(tmp_path)
    assert all(torch.equal(policy.part("actor")[key], value) for key, value in old._weights()[0].items())


def test_a_policy_that_does_not_fit_the_agent_is_refused(saved: Path, make_env: MakeEnv) -> None:
    policy = read_policy(saved)
    for agent, message in [
        (trained("td3", make_env(), 0), "load_policy: a policy of DDPGAgent for TD3Agent; take that agent"),
        (
            trained("ddpg", make_env(), 0, hidden=[16, 9]),
            "load_policy: the policy's actor has other sizes than this agent's; set agent.hidden=[16, 8]",
        ),
        (
            trained("ddpg", make_env(), 2),
            "load_policy: this agent has played 2 episodes; give the policy to a new one",
        ),
    ]:
        before = [part.clone() for part in agent._weights()[0].values()]
        with pytest.raises(ValueError, match="load_policy") as error:
            agent.load_policy(policy)
        assert str(error.value) == message
        assert all(torch.equal(p, q) for p, q in zip(before, agent._weights()[0].values(), strict=True))


def test_the_json_is_readable(saved: Path) -> None:
    lines = (saved / "policy.json").read_text().splitlines()
    assert lines[1:3] == ['  "format": 2,', '  "agent": "ddpg",']
    assert '  "weights": "policy.safetensors",' in lines
    assert max(map(len, lines)) < 120


def test_a_copied_folder_is_the_same_policy(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "elsewhere")
    shutil.rmtree(saved)
    assert read_policy(tmp_path / "elsewhere").agent == "ddpg"
