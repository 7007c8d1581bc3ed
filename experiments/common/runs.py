"""The run folders that studies read: which are finished, what they are called, what came out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amc.core.files import read_json


def finished(runs: Path, pattern: str = "*") -> list[Path]:
    """The folders of finished runs that match the pattern below ``runs``, sorted."""
    return [file.parent for file in sorted(runs.glob(f"{pattern}/summary.json"))]


def summary_of(folder: Path) -> dict[str, Any]:
    """A run's ``summary.json``. Raises ``AmcError`` if it is missing or damaged."""
    summary: dict[str, Any] = read_json(folder / "summary.json")
    return summary


def name_and_seed(folder: Path) -> tuple[str, int]:
    """What ``<name>-seed<n>`` says."""
    name, _, seed = folder.name.rpartition("-seed")
    return name, int(seed)


def scores(uncut: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, float]:
    """Accuracies of a network in a summary, and its cost as fractions of the uncut network's."""
    return {
        "val_accuracy": found["val"]["accuracy"],
        "test_accuracy": found["test"]["accuracy"],
        "macs_ratio": found["macs"] / uncut["macs"],
        "params_ratio": found["params"] / uncut["params"],
    }
