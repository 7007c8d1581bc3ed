"""A policy on disk that is damaged, altered, or made up is refused, and executes nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import agents
from agents.policy.files import read_policy

MakeEnv = Callable[..., gym.Env]
shared_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@pytest.fixture
def saved(make_env: MakeEnv, tmp_path: Path) -> Path:
    """A DDPG policy's folder."""
    agents.make("ddpg", make_env(), 0, hidden=[16, 8]).save_policy(tmp_path / "policy")
    return tmp_path / "policy"


def refused(folder: Path) -> str:
    with pytest.raises(ValueError, match="policy") as error:
        read_policy(folder)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{folder}: ")
    return str(error.value).removeprefix(f"{folder}: ")


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / "policy.json").read_text())
    change(content)
    (folder / "policy.json").write_text(json.dumps(content))


def forge(folder: Path, data: bytes) -> None:
    """Other weights, with a checksum that fits them."""
    (folder / "policy.safetensors").write_bytes(data)
    edit(folder, lambda content: content.update(weights_sha256=hashlib.sha256(data).hexdigest()))


@shared_folder
@given(data=st.data())
def test_any_changed_byte_of_the_weights_is_noticed(data: st.DataObject, saved: Path) -> None:
    whole = (saved / "policy.safetensors").read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
    (saved / "policy.safetensors").write_bytes(whole[:place] + changed + whole[place + 1 :])
    try:
        assert refused(saved).startswith("policy.safetensors is not the file that policy.json was written with")
    finally:
        (saved / "policy.safetensors").write_bytes(whole)
    read_policy(saved)


@shared_folder
@given(data=st.data(), name=st.sampled_from(["policy.json", "policy.safetensors"]))
def test_any_truncation_is_noticed(data: st.DataObject, name: str, saved: Path) -> None:
    whole = (saved / name).read_bytes()
    (saved / name).write_bytes(whole[: data.draw(st.integers(0, len(whole) - 3))])
    try:
        assert "cut off or altered" in refused(saved)
    finally:
        (saved / name).write_bytes(whole)


REQUIRED = [
    "format", "agent", "agent_class", "episodes", "observation", "action", "network", "weights", "weights_sha256",
    "observation.layout", "observation.version", "observation.features", "action.meaning", "network.hidden",
    "network.activation", "network.actor_layers", "network.shapes",
]  # fmt: skip


@pytest.mark.parametrize("key", REQUIRED)
@pytest.mark.parametrize("value", ["missing", None, 1.5])
def test_each_entry_is_needed_and_has_its_type(key: str, value: object, saved: Path) -> None:
    *where, last = key.split(".")

    def change(content: dict[str, Any]) -> None:
        part = content[where[0]] if where else content
        if value == "missing":
            del part[last]
        else:
            part[last] = value

    edit(saved, change)
    message = refused(saved)
    assert last in message
    assert ";" in message  # what to do comes after it


@shared_folder
@given(data=st.data())
def test_any_other_shape_in_the_json_is_noticed(data: st.DataObject, saved: Path) -> None:
    original = (saved / "policy.json").read_text()
    shapes = json.loads(original)["network"]["shapes"]
    name = data.draw(st.sampled_from(sorted(shapes)))
    shape = data.draw(st.lists(st.integers(0, 20), max_size=3).filter(lambda value: value != shapes[name]))
    edit(saved, lambda content: content["network"]["shapes"].update({name: shape}))
    try:
        assert f"'{name}'" in refused(saved)
    finally:
        (saved / "policy.json").write_text(original)


Change = Callable[[dict[str, Any]], object]
LIES: list[tuple[Change, str]] = [
    (lambda c: c.update(format=1), "policy.json has format 1, this version reads 2; train again with this version or "),
    (lambda c: c.update(weights="../other.safetensors"), "policy.json: 'weights' must be policy.safetensors; "),
    (lambda c: c.update(episodes=-1), "policy.json: 'episodes' is negative; "),
    (lambda c: c.update(trained_on=3), "policy.json: 'trained_on' is no dict; "),
    (lambda c: c["network"].update(activation="tanh"), "policy.json: 'network.activation' must be relu; "),
    (lambda c: c["network"].update(hidden=[16, 8, 4]), "policy.json: actor_layers and hidden do not fit each other; "),
    (lambda c: c["network"].update(hidden=[16, 9]), "policy.json: 'actor.mu.2.weight' has shape [8, 16], not [9, 16]"),
    (lambda c: c["network"].update(hidden=[]), "policy.json: 'network.hidden' must be a list of int, not empty; "),
    (lambda c: c["observation"]["features"].pop(), "policy.json: 'actor.mu.0.weight' has shape [16, 4], not [16, 3]"),
    (lambda c: c["network"]["actor_layers"].reverse(), "policy.json: 'actor.mu.4.weight' has shape [1, 8], not [16"),
    (lambda c: c["network"]["shapes"].update({"actor.x": [1]}), "weights 'actor.x': shape None, by policy.json [1]; "),
]


@pytest.mark.parametrize(("change", "message"), LIES)
def test_a_json_that_does_not_fit_is_refused(change: Change, message: str, saved: Path) -> None:
    edit(saved, change)
    assert refused(saved).startswith(message)


def test_a_json_that_is_none_is_refused(saved: Path) -> None:
    (saved / "policy.json").write_text("[1, 2]")
    assert refused(saved).startswith("policy.json is no policy")
    (saved / "policy.json").write_text("[" * 100_000)
    assert refused(saved).startswith("policy.json is not JSON")


@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors"])
def test_a_missing_file(name: str, saved: Path) -> None:
    (saved / name).unlink()
    assert refused(saved) == f"no policy, {name}: No such file or directory; give the folder 'policy' of a run"


def test_forged_weights_are_refused(saved: Path) -> None:
    good = safetensors.torch.load_file(saved / "policy.safetensors")
    name = "actor.mu.2.bias"

    def message_for(**changed: torch.Tensor) -> str:
        forge(saved, safetensors.torch.save(good | changed))
        return refused(saved)

    for bad in (float("nan"), float("inf")):
        assert message_for(**{name: torch.full((8,), bad)}).startswith(f"weights '{name}': not all finite")
    assert message_for(**{name: torch.zeros(9)}).startswith(f"weights '{name}': shape [9], by policy.json [8]; ")
    assert message_for(**{name: torch.zeros(8, dtype=torch.int64)}).startswith(f"weights '{name}': not float32; ")
    assert message_for(extra=torch.zeros(1)).startswith("weights 'extra': shape [1], by policy.json None; ")
    edit(saved, lambda content: content["network"]["shapes"].update(extra=[1]))
    assert refused(saved).startswith("weights 'extra': neither the actor's nor the critic's; ")


def test_weights_that_could_run_code_are_not_read(saved: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"actor.mu.0.weight": Bomb()}, tmp_path / "pickled")
    forge(saved, (tmp_path / "pickled").read_bytes())
    assert refused(saved).startswith("policy.safetensors is not a safetensors file; ")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["random", "uniform"])
def test_a_policy_without_weights_is_refused(name: str, make_env: MakeEnv, tmp_path: Path) -> None:
    agents.make(name, make_env(), 0).save_policy(tmp_path)
    assert refused(tmp_path) == f"policy.json names no weights: agent '{name}' learns nothing; train another"
