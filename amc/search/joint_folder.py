"""Run folder of a joint search: a folder per network, and one checkpoint for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from amc.core.errors import damaged
from amc.core.files import remove_leftovers, write_error
from amc.tracking import RunDir

NETWORKS = "networks"


def network_folders(run_dir: RunDir, names: Iterable[str]) -> dict[str, NetworkFolder]:
    """A folder in the run's per network, created if missing; they share the run's checkpoint."""
    shared = SharedCheckpoint(run_dir)
    return {name: NetworkFolder(run_dir, name, shared) for name in names}


class SharedCheckpoint:
    """One file for the agent and every network's progress, so that they can't get out of step."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        state = run_dir.load_checkpoint() or {}
        with damaged(run_dir.path, "no checkpoint of several networks", "start a new run"):
            self._agent: Any = state.get("agent")
            self._networks: dict[str, dict[str, Any]] = {n: dict(s) for n, s in state.get("networks", {}).items()}

    def load(self, name: str) -> dict[str, Any] | None:
        """One network's checkpoint, as of a single search; ``None`` before its first finished episode."""
        own = self._networks.get(name)
        return None if own is None else {**own, "agent": self._agent}

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Replaces the agent's state and one network's; the others' stay."""
        networks = {**self._networks, name: {key: value for key, value in state.items() if key != "agent"}}
        self._run_dir.save_checkpoint({"networks": networks, "agent": state["agent"]})
        self._networks, self._agent = networks, state["agent"]


class NetworkFolder(RunDir):
    """One network's folder in the run's, for its recorder; the run holds the lock and the checkpoint."""

    def __init__(self, run_dir: RunDir, name: str, shared: SharedCheckpoint) -> None:
        self.path = run_dir.path / NETWORKS / name
        self._lock = None
        self._name, self._shared, self._run_dir = name, shared, run_dir
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error
        remove_leftovers(self.path)

    def kept_file(self, name: str) -> Path:
        """As the run's own; removed with the run's if it fails before its first checkpoint."""
        return self._run_dir.kept_file(f"{NETWORKS}/{self._name}/{name}")

    def seal(self, name: str, lines: int, digest: str) -> None:
        """The run's checkpoint knows it."""
        self._run_dir.seal(f"{NETWORKS}/{self._name}/{name}", lines, digest)

    def check_sealed(self, name: str) -> None:
        """By the run's checkpoint."""
        self._run_dir.check_sealed(f"{NETWORKS}/{self._name}/{name}")

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Saves it as this network's part of the shared checkpoint."""
        self._shared.save(self._name, state)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """This network's part of the shared checkpoint; ``None`` before its first episode."""
        return self._shared.load(self._name)
