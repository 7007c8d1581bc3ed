"""A policy on disk: JSON, and safetensors for weights. A shared policy must not run code when it is loaded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from agents.base import Env
from agents.policy.checks import check_content, check_weights, need
from agents.policy.policy import Policy
from amc.core.reading import JSON_BYTES, MIB, parse_json, read_regular

POLICY_FORMAT = 2
MOST_BYTES = 256 * MIB  # of weights; two hidden layers of 300 units have 1 MB
JSON, WEIGHTS = "policy.json", "policy.safetensors"


def write_policy(
    folder: str | Path,
    agent: str,
    env: Env,
    details: Mapping[str, Any] | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Writes ``policy.json`` and, with ``weights``, ``policy.safetensors`` before it.

    Args:
        folder: made if need be.
        agent: the agent's name.
        env: its ``metadata["policy"]``, what the policy reads and writes and was trained on, is stored.
        details: further entries of the JSON file.
        weights: name → tensor.

    Raises:
        OSError: a file can't be written; the old one is still there then.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    facts = env.metadata.get("policy", {})
    content: dict[str, Any] = {"format": POLICY_FORMAT, "agent": agent, **facts, **(details or {})}
    if weights is not None:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
        data = safetensors.torch.save(tensors)
        _replace(folder / WEIGHTS, data)
        content |= {"weights": WEIGHTS, "weights_sha256": hashlib.sha256(data).hexdigest()}
    _replace(folder / JSON, (json.dumps(content, indent=2) + "\n").encode())


def read_policy(folder: str | Path, env: Env | None = None) -> Policy:
    """The policy that a learning agent's ``save_policy`` wrote to ``folder``; executes nothing of it.

    Args:
        folder: holds ``policy.json`` and ``policy.safetensors``.
        env: where the policy is to act; its observation must be the one that the policy reads.

    Raises:
        ValueError: one line that says what is wrong and what to do: a file is missing, cut off or altered, the two
            do not fit each other, the format or the observation's version is another one, a weight is no number.
    """
    folder = Path(folder)
    try:
        content = _content(_bytes(folder / JSON))
        data = _bytes(folder / WEIGHTS)
        whole = hashlib.sha256(data).hexdigest() == content["weights_sha256"]
        need(whole, f"{WEIGHTS} is not the file that {JSON} was written with (cut off or altered); copy both again")
        weights = _tensors(data)
        check_weights(weights, content)
        policy = _policy(content, weights)
        if env is not None:
            policy.require_observation(env.metadata.get("policy", {}).get("observation", {}))
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    return policy


def _bytes(path: Path) -> bytes:
    try:
        return read_regular(path, MOST_BYTES if path.name == WEIGHTS else JSON_BYTES)
    except OSError as error:
        problem = error.strerror or "it can't be read"
        raise ValueError(f"no policy, {path.name}: {problem}; give the folder 'policy' of a run") from error


def _content(data: bytes) -> dict[str, Any]:
    try:
        content: dict[str, Any] = parse_json(data)
    except ValueError as error:
        raise ValueError(f"{JSON} is not JSON (cut off or altered); copy it again") from error
    need(isinstance(content, dict), f"{JSON} is no policy (no JSON object); give the folder 'policy' of a run")
    written = content.get("format")
    again = "train again with this version or use the version that wrote it"
    need(written == POLICY_FORMAT, f"{JSON} has format {written!r}, this version reads {POLICY_FORMAT}; {again}")
    need("weights" in content, f"{JSON} names no weights: agent {content.get('agent')!r} learns nothing; train another")
    check_content(content, WEIGHTS)
    return content


def _tensors(data: bytes) -> dict[str, torch.Tensor]:
    try:
        return safetensors.torch.load(data)
    except Exception as error:  # safetensors raises its own, and torch's for sizes that make no sense
        raise ValueError(f"{WEIGHTS} is not a safetensors file; save the policy again") from error


def _policy(content: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> Policy:
    observation, network = content["observation"], content["network"]
    return Policy(
        agent=content["agent"],
        agent_class=content["agent_class"],
        episodes=content["episodes"],
        hidden=tuple(network["hidden"]),
        actor_layers=tuple(network["actor_layers"]),
        layout=observation["layout"],
        layout_version=observation["version"],
        features=tuple(observation["features"]),
        action=content["action"],
        budget={key: value for key, value in content.items() if key.startswith("budget")},
        trained_on=content.get("trained_on", {}),
        weights=weights,
    )


def _replace(path: Path, data: bytes) -> None:
    """Replaces ``path`` atomically: readers see the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
