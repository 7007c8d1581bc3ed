"""A policy on disk: JSON, and safetensors for weights. A shared policy must not run code when it is loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from agents.base import Env

POLICY_FORMAT = 1
WEIGHTS = "policy.safetensors"


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
        env: its ``metadata["policy"]``, what the policy reads and writes, is stored.
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
        _replace(folder / WEIGHTS, safetensors.torch.save(tensors))
        content["weights"] = WEIGHTS
    _replace(folder / "policy.json", (json.dumps(content, indent=2) + "\n").encode())


def _replace(path: Path, data: bytes) -> None:
    """Whoever reads ``path`` sees the old file or the new one, never half of one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
