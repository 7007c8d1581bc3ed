"""Checks of a policy's JSON and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

ALTERED = "the file was altered; copy it again or train again"

# Entry → its required type.
ENTRIES: dict[str, dict[str, type]] = {
    "": {
        "agent": str, "agent_class": str, "episodes": int, "observation": dict, "action": dict, "network": dict,
        "weights": str, "weights_sha256": str,
    },
    "observation": {"layout": str, "version": int, "features": list},
    "action": {"meaning": str},
    "network": {"hidden": list, "activation": str, "actor_layers": list, "shapes": dict},
}  # fmt: skip


def need(holds: bool, problem: str) -> None:
    """Raises ``ValueError`` with ``problem`` unless ``holds``."""
    if not holds:
        raise ValueError(problem)


def check_content(content: Mapping[str, Any], weights_file: str) -> None:
    """Checks the JSON's entries by themselves.

    Raises:
        ValueError: one is missing, of another type, or has a value that no agent writes.
    """
    for where, entries in ENTRIES.items():
        part = content[where] if where else content
        for key, kind in entries.items():
            name = f"{where}.{key}" if where else key
            need(key in part, f"policy.json lacks '{name}'; {ALTERED}")
            need(type(part[key]) is kind, f"policy.json: '{name}' is no {kind.__name__}; {ALTERED}")
    need(content["weights"] == weights_file, f"policy.json: 'weights' must be {weights_file}; {ALTERED}")
    _check_training(content)
    need(content["episodes"] >= 0, f"policy.json: 'episodes' is negative; {ALTERED}")
    network, features = content["network"], content["observation"]["features"]
    need(network["activation"] == "relu", f"policy.json: 'network.activation' must be relu; {ALTERED}")
    _check_list("network.hidden", network["hidden"], int)
    _check_list("network.actor_layers", network["actor_layers"], str)
    _check_list("observation.features", features, str)
    _check_layers(network, len(features))


def _check_training(content: Mapping[str, Any]) -> None:
    """What the policy was trained on, which is shown and passed on, and the meaning of its action."""
    trained = content.get("trained_on", {})
    need(type(trained) is dict, f"policy.json: 'trained_on' is no dict; {ALTERED}")
    models, accuracy = trained.get("models"), trained.get("accuracy")
    named = models is None or (type(models) is list and all(type(name) is str for name in models))
    need(named, f"policy.json: 'trained_on.models' must be a list of str; {ALTERED}")
    for entry in (accuracy or {}).values() if type(accuracy or {}) is dict else (None,):
        fits = type(entry) is dict and all(is_number(entry.get(key), 0, 1) for key in ("uncut", "best"))
        need(fits, f"policy.json: 'trained_on.accuracy' must hold fractions 'uncut' and 'best'; {ALTERED}")
    smallest, keep = content["action"].get("min_keep", 0.5), content.get("budget_keep")
    need(is_number(smallest, 0, 1), f"policy.json: 'action.min_keep' is no fraction; {ALTERED}")
    need(keep is None or is_number(keep, 0, 1), f"policy.json: 'budget_keep' is no fraction; {ALTERED}")


def is_number(value: object, low: float, high: float) -> bool:
    """Whether ``value`` is a number in [``low``, ``high``]."""
    return isinstance(value, (int, float)) and type(value) is not bool and low <= value <= high


def _check_list(name: str, values: list[Any], kind: type) -> None:
    fits = len(values) > 0 and all(type(value) is kind for value in values)
    need(fits, f"policy.json: '{name}' must be a list of {kind.__name__}, not empty; {ALTERED}")


def _check_layers(network: Mapping[str, Any], features: int) -> None:
    """The actor leads from the features over the hidden layers to one action."""
    layers, widths = network["actor_layers"], [features, *network["hidden"], 1]
    need(len(layers) == len(widths) - 1, f"policy.json: actor_layers and hidden do not fit each other; {ALTERED}")
    for i, layer in enumerate(layers):
        for part, shape in (("weight", [widths[i + 1], widths[i]]), ("bias", [widths[i + 1]])):
            name = f"actor.{layer}.{part}"
            found = network["shapes"].get(name)
            need(found == shape, f"policy.json: '{name}' has shape {found}, not {shape}; {ALTERED}")


def check_weights(weights: Mapping[str, torch.Tensor], content: Mapping[str, Any]) -> None:
    """Checks the weights against the JSON's ``network``.

    Raises:
        ValueError: other names or shapes than the JSON's, another type than float32, or not all finite.
    """
    shapes = content["network"]["shapes"]
    for name in sorted({*weights, *shapes}):
        found = list(weights[name].shape) if name in weights else None
        expected = shapes.get(name)
        need(found == expected, f"weights '{name}': shape {found}, by policy.json {expected}; {ALTERED}")
        known = name.startswith(("actor.", "critic."))
        need(known, f"weights '{name}': neither the actor's nor the critic's; {ALTERED}")
        need(weights[name].dtype == torch.float32, f"weights '{name}': not float32; {ALTERED}")
        finite = bool(weights[name].isfinite().all())
        need(finite, f"weights '{name}': not all finite, the agent had diverged; train again with smaller rates")
