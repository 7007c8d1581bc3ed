"""Every command run to its end, to compare killed ones with."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.fork_server import NETWORK, SEARCH, ForkServer

UNTIMED = re.compile("seconds|latency|_ms$")
CUT = [*NETWORK, "evaluate.images=30", "evaluate.calibration_images=32"]
TUNE = ["schedule=iterative", "stages=[0.75]", "refine.plans=2", "refine.epochs=1", "epochs=3", "calibration_images=32"]
# What two runs of the same command need not have in common: moments, and what they are compressed or printed from.
DIFFER = re.compile(r"events\.out|\.lock$|checkpoint/|report\.html$|\.pt2$")


@dataclass(frozen=True)
class Whole:
    """Uninterrupted runs, each in ``folder/<command>/run``.

    Attributes:
        folder: of them all.
        counts: command → phase → kind → number of moments.
    """

    folder: Path
    counts: dict[str, dict[str, dict[str, int]]]

    def arguments(self, command: str) -> list[str]:
        """Of the command line; the run folder is ``run``."""
        search = self.folder / "search" / "run"
        own: dict[str, Sequence[str]] = {
            "search": SEARCH,
            "finetune": [f"plan={search / 'plan.json'}", *TUNE, "device=cpu", "cache_dir=cache", "verbose=false"],
            "sensitivity": [*CUT, "keep_ratios=[0.6,0.2]", "rule=threshold", "interactions.pairs=2"],
            "transfer": [*CUT, f"policy={search}", "strengths=[0,1]", "budget.channel_round=1"],
            "train": [*NETWORK, "training.epochs=2"],
        }
        if command == "export":
            return ["run=run", "format=torch_export", "verbose=false"]
        return ["run"] if command == "report" else [*own[command], "hydra.run.dir=run"]

    def prepare(self, command: str, cwd: Path) -> None:
        """Puts into ``cwd`` what a command works on."""
        search = self.folder / "search" / "run"
        if command == "export":
            shutil.copytree(search / "pruned", cwd / "run" / "pruned")
        elif command == "report":
            shutil.copytree(search, cwd / "run", ignore=shutil.ignore_patterns("report.html", ".lock"))

    def results(self, command: str) -> dict[str, Any]:
        """See :func:`results`."""
        return results(self.folder / command / "run")


def whole_runs(server: ForkServer, folder: Path) -> Whole:
    """Runs every command."""
    whole = Whole(folder, {})
    for command in ("search", "finetune", "sensitivity", "transfer", "train", "export", "report"):
        cwd, counts = folder / command, folder / f"{command}.json"
        cwd.mkdir()
        whole.prepare(command, cwd)
        ended = server.one(cwd, command, *whole.arguments(command), counts=counts)
        assert (ended.code, ended.error) == (0, ""), command
        whole.counts[command] = json.loads(counts.read_text())
    return whole


def results(folder: Path) -> dict[str, Any]:
    """File → content, of everything in a run folder that the same call gives each time, but for seconds."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert not [path for path in files if path.suffix == ".tmp"], "leftovers"
    return {str(path.relative_to(folder)): _content(path, str(path.relative_to(folder))) for path in files
            if "events.out" not in path.name and path.name != ".lock"}  # fmt: skip


def _content(path: Path, name: str) -> Any:
    if DIFFER.search(name):
        return None
    readers: dict[str, Callable[[str], Any]] = {
        ".json": lambda text: _untimed(json.loads(text)),
        ".csv": lambda text: [_untimed(row) for row in csv.DictReader(text.splitlines())],
    }
    return readers[path.suffix](path.read_text()) if path.suffix in readers else path.read_bytes()


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _untimed(v) for k, v in value.items() if not UNTIMED.search(k)}
    if isinstance(value, list):
        return [_untimed(entry) for entry in value]
    # A killed run may have trained the baseline that its second part finds.
    return value.replace("trained baseline", "cached baseline") if isinstance(value, str) else value
