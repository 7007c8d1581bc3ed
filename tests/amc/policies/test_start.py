"""Learned policies: found, read, refused, and what a search takes over from one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import agents
from amc.cli.overrides import overrides
from amc.core.errors import AmcError
from amc.core.types import Metrics
from amc.policies.start import policy_folder, read, settings_from, start_from, starting_policy
from amc.pruning.budget import Budget
from amc.rewards import accuracy
from amc.task.settings import Settings
from amc.tracking import run_folder
from envs.channel_pruning import ChannelPruningEnv
from tests.support.chains import chain
from tests.support.small import known_policy, saved_policy


def walk() -> ChannelPruningEnv:
    costs = chain([4, 8, 4])
    return ChannelPruningEnv(costs, Budget(costs), lambda plan: Metrics(0.5, 1.0, 1), accuracy, observation="portable")


def test_a_run_or_its_policy(tmp_path: Path) -> None:
    saved_policy(tmp_path / "run" / "policy")
    assert policy_folder(tmp_path / "run") == policy_folder(tmp_path / "run" / "policy") == tmp_path / "run" / "policy"
    assert read(tmp_path / "run").hidden == (4, 4)


def test_a_damaged_policy_is_one_line_with_its_path(tmp_path: Path) -> None:
    folder = saved_policy(tmp_path / "policy")
    data = (folder / "policy.safetensors").read_bytes()
    (folder / "policy.safetensors").write_bytes(data[:-1])
    with pytest.raises(AmcError, match=r"policy=.*cut off or altered") as error:
        read(folder)
    assert "\n" not in str(error.value)


def test_what_a_search_leaves_open_is_the_policys() -> None:
    policy = known_policy()
    settings = settings_from(Settings(), "ddpg", policy, "here")
    assert settings.observation == "portable"
    assert settings.agent == {"hidden": [1], "warmup": "rules", "warmup_episodes": None, "sigma": 0.1}
    chosen = settings_from(Settings(agent={"sigma": 0.4, "warmup_episodes": 9}), "ddpg", policy, "here")
    # A warm-up of another kind need not have the policy's own plans: no fit to the best of it.
    own = {"hidden": [1], "actor_start": "default"}
    assert chosen.agent == {**own, "warmup": "rules", "warmup_episodes": 9, "sigma": 0.4}
    drawn = settings_from(Settings(agent={"warmup": "random"}), "ddpg", policy, "here")
    assert drawn.agent == {**own, "warmup": "random", "sigma": 0.1}
    fitted = settings_from(Settings(agent={"actor_start": "best", "warmup_episodes": 9}), "ddpg", policy, "here")
    assert fitted.agent["actor_start"] == "best"
    sac = settings_from(Settings(), "sac", known_policy(agent="sac"), "here")
    assert sac.agent == {"hidden": [1], "warmup": "rules", "warmup_episodes": None}  # it has no sigma
    with pytest.raises(AmcError, match=r"agent=ddpg: the policy here is of agent td3; give agent=td3"):
        settings_from(Settings(), "ddpg", known_policy(agent="td3"), "here")


def test_overrides_of_a_command_line(tmp_path: Path) -> None:
    path = str(saved_policy(tmp_path / "policy", agent="td3"))
    assert overrides(path, {}) == [
        "agent=td3", "observation=portable", "agent.warmup=rules", "agent.warmup_episodes=null", "agent.sigma=0.1",
        "agent.hidden=[4,4]",
    ]  # fmt: skip
    assert overrides(path, {"agent": "td3", "agent.sigma": "0.5", "observation": "portable"}) == [
        "agent.warmup=rules", "agent.warmup_episodes=null", "agent.hidden=[4,4]",
    ]  # fmt: skip
    assert overrides(path, {"agent.warmup": "random"}) == [
        "agent=td3", "observation=portable", "agent.sigma=0.1", "agent.hidden=[4,4]",
    ]  # fmt: skip
    with pytest.raises(AmcError, match=r"agent=ddpg: the policy .* has agent=td3"):
        overrides(path, {"agent": "ddpg"})
    with pytest.raises(AmcError, match=r"observation=amc: the policy .* has observation=portable"):
        overrides(path, {"observation": "amc"})


def test_a_started_agent_acts_as_the_policy_does(tmp_path: Path) -> None:
    folder = saved_policy(tmp_path / "policy")
    policy = read(folder)
    agent = agents.make("ddpg", walk(), 1, hidden=[4, 4], warmup_episodes=0, sigma=0.0)
    start_from(agent, policy, folder, None)
    observation, _ = walk().reset()
    agent.save_policy(tmp_path / "again")
    again = read(tmp_path / "again")
    assert again.act(observation) == policy.act(observation)
    assert all(torch.equal(policy.weights[name], tensor) for name, tensor in again.weights.items())


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = saved_policy(tmp_path / "policy")
    policy = read(folder)
    with pytest.raises(AmcError, match=r"other sizes.*agent\.hidden=\[4, 4\]"):
        start_from(agents.make("ddpg", walk(), 0, hidden=[5, 5]), policy, folder, None)
    with pytest.raises(AmcError, match="agent random can't start from a policy"):
        start_from(agents.make("random", walk(), 0), policy, folder, None)
    content = json.loads((folder / "policy.json").read_text())
    content["observation"]["version"] = 99
    (folder / "policy.json").write_text(json.dumps(content))
    with pytest.raises(AmcError, match="version 99"):
        start_from(agents.make("ddpg", walk(), 0, hidden=[4, 4]), read(folder), folder, None)


def test_a_killed_search_does_not_go_on_with_another_policy(tmp_path: Path) -> None:
    policy, other = saved_policy(tmp_path / "a"), saved_policy(tmp_path / "b", "td3")
    config = {"command": "search"}
    with run_folder(tmp_path / "run", False, config) as run:
        start_from(agents.make("ddpg", walk(), 0, hidden=[4, 4]), read(policy), policy, run)
        run.save_checkpoint({"episodes": 1})
    with run_folder(tmp_path / "run", False, config, again=True) as run:
        begun = starting_policy(policy, run)
        assert begun is not None
        assert begun[1] == run.path / "start"
        with pytest.raises(AmcError, match=r"from another policy than .*b; go on with it by resume="):
            starting_policy(other, run)
        with pytest.raises(AmcError, match="from another policy"):
            starting_policy(tmp_path / "nowhere", run)
    with run_folder(tmp_path / "run", True, config) as run:
        assert starting_policy(other, run) is not None


def test_a_users_folder_of_the_copys_name_stays(tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "mine.txt").write_text("keep me")
    with run_folder(tmp_path, False, {"command": "search"}) as run:
        assert starting_policy(None, run) is None
        run.save_checkpoint({"episodes": 1})
        assert starting_policy(None, run) is None
    assert (tmp_path / "start" / "mine.txt").exists()
