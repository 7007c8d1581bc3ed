"""Run folders as searches leave them, written by hand: three episodes on two groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "command": "search", "model": {"name": "net"}, "dataset": {"name": "digits"}, "agent": {"name": "ddpg"},
    "reward": {"name": "accuracy"}, "budget": {"name": "macs", "cost": "macs", "keep": 0.5}, "episodes": 3, "seed": 0,
}  # fmt: skip
HEADER = (
    "episode,reward,accuracy,loss,images,macs,macs_ratio,params,params_ratio,latency_ms,within_budget,seconds,"
    "cut_seconds,recovery_seconds,forward_seconds,agent_seconds"
)
ROWS = (
    "0,0.70,0.70,1.0,100,500,0.5,60,0.6,,1,1.0,0.1,0.2,0.3,0.1,{a},1.0",
    "1,0.80,0.80,1.0,100,400,0.4,50,0.5,,1,1.0,0.1,0.2,0.3,0.1,{a},0.5",
    "2,0.90,0.90,1.0,50,450,0.45,40,0.4,,1,1.0,0.1,0.2,0.3,0.1,{a},0.25",  # racing stopped it early
)
SUMMARY: dict[str, Any] = {
    "model": "net", "dataset": "digits", "agent": "ddpg", "seed": 0, "episodes": 3, "wall_seconds": 4.0,
    "baseline": {"val": {"accuracy": 0.95}, "test": {"accuracy": 0.94}, "macs": 1000, "params": 100, "latency_ms": 2.0},
    "best": {
        "val": {"accuracy": 0.80}, "test": {"accuracy": 0.79}, "macs": 400, "params": 50, "latency_ms": 1.0,
        "reward": 0.8,
    },
    "forward_seconds": 3.0, "agent_seconds": 0.5, "versions": {"torch": "2"},
}  # fmt: skip


def search_folder(
    folder: Path,
    *,
    names: tuple[str, str] = ("layer1.conv1", "layer2.conv1"),
    finished: bool = True,
    groups: bool = True,
    seed: int = 0,
    **config: Any,
) -> Path:
    """A search's folder; ``groups=False``: of an earlier version, ``finished=False``: without a summary."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "config.json", {**CONFIG, "seed": seed, **config})
    header = f'{HEADER},"keep_ratio/{names[0]}","keep_ratio/{names[1]}"'
    rows = [row.format(a=0.5) for row in ROWS]
    (folder / "episodes.csv").write_text("\n".join([header, *rows]) + "\n")
    kept = {names[0]: {"keep": 4, "of": 8}, names[1]: {"keep": 2, "of": 4}, "fc": {"keep": 10, "of": 10}}
    _write(folder / "plan.json", {"format": 1, "groups": kept})
    if finished:
        _write(folder / "summary.json", {**SUMMARY, "seed": seed})
    if groups:
        facts = [
            {"name": names[0], "kind": "conv3x3", "channels": 8, "residual": True, "macs": 600, "params": 30},
            {"name": names[1], "kind": "conv1x1", "channels": 4, "residual": False, "macs": 300, "params": 20},
            {"name": "fc", "kind": "linear", "channels": 10, "residual": False, "macs": 100, "params": 50},
        ]
        frozen = (None, None, "the network's output")
        entries = [{**fact, "frozen": reason} for fact, reason in zip(facts, frozen, strict=True)]
        _write(folder / "groups.json", {"format": 1, "macs": 1000, "params": 100, "groups": entries})
    return folder


def _write(path: Path, data: object) -> None:
    path.write_text(json.dumps(data))
