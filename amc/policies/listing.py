"""List of the learned policies below a folder. ``python -m amc.policies [runs]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from agents.policy.files import JSON, read_policy
from agents.policy.policy import Policy
from amc.core.errors import AmcError
from amc.core.files import read_json
from amc.core.scores import Scale
from amc.policies.start import START

RUNS = "runs"
COLUMNS = ("policy", "agent", "observation", "trained on", "budget", "episodes", "best / dense")


@dataclass(frozen=True)
class Found:
    """A policy's folder, with the policy in it or the problem with it."""

    folder: Path
    policy: Policy | None
    problem: str = ""


def find_policies(folder: str | Path) -> list[Found]:
    """All policies below ``folder``, the newest first.

    Left out are policies of agents that don't learn, and the copies of policies that searches started from.

    Raises:
        AmcError: no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AmcError(f"{folder}: no such folder; give one with runs in it")
    files = [file for file in folder.rglob(JSON) if file.parent.name != START and _learned(file)]
    return [_found(file.parent) for file in sorted(files, key=lambda file: (-file.lstat().st_mtime, file))]


def _learned(file: Path) -> bool:
    try:
        content = read_json(file)
    except AmcError:
        return True  # listed as damaged
    return not isinstance(content, dict) or "weights" in content or "format" not in content


def _found(folder: Path) -> Found:
    try:
        policy = read_policy(folder)
    except ValueError as error:
        return Found(folder, None, str(error).removeprefix(f"{folder}: "))
    try:
        _cells(policy)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Found(folder, None, f"{JSON}: 'trained_on' or the budget can't be read ({error}); the file was altered")
    return Found(folder, policy)


def policy_table(found: Sequence[Found], below: str | Path) -> Table:
    """A row per policy, with its path relative to ``below``."""
    table = Table(box=box.SIMPLE_HEAD)
    for header in COLUMNS:
        table.add_column(header, overflow="fold")
    for entry in found:
        path = str(entry.folder.relative_to(below))
        if entry.policy is None:
            table.add_row(Text(path), Text("damaged"), Text(entry.problem), style="dim")
        else:
            table.add_row(*map(Text, (path, *_cells(entry.policy))))
    return table


def _cells(policy: Policy) -> tuple[str, ...]:
    trained, budget = policy.trained_on, policy.budget
    on = f"{', '.join(map(str, trained.get('models') or ['?']))} ({trained.get('dataset') or '?'})"
    keep = "none" if budget.get("budget_keep") is None else f"{budget['budget_keep']:g}"
    cost = f"{budget.get('budget_cost', '?')} {keep}, {budget.get('budget_rule', '?')}"
    layout = f"{policy.layout} {policy.layout_version}"
    return policy.agent, layout, on, cost, str(policy.episodes), _accuracies(trained)


def _accuracies(trained: Mapping[str, Any]) -> str:
    found = trained.get("accuracy") or {}
    scale = Scale.from_json(trained.get("scale"))
    if not scale.is_fraction:
        return ", ".join(f"{scale.text(a['best'])} / {scale.text(a['uncut'])}" for a in found.values())
    return ", ".join(f"{100 * a['best']:.2f} / {100 * a['uncut']:.2f} %" for a in found.values())
