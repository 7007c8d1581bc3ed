"""Any damage to a run, a policy or a pruned network: one line, or the same meaning. No code, no more than 1 GiB."""

from __future__ import annotations

import contextlib
import io
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import amc
from amc.cli.overrides import _inherited
from amc.cli.run import run
from amc.core.errors import AmcError
from amc.core.types import LayerGroup, PruningPlan
from amc.policies.listing import find_policies, policy_table
from amc.policies.start import read
from amc.report import report
from amc.search.__main__ import main_from_config
from amc.tracking import read_episodes
from amc.tracking.group_facts import read_groups
from amc.tracking.plans import best_plans
from tests.support.kept_networks import outputs
from tests.support.mutations import fresh, tampered

OLD = Path(__file__).parent / "data" / "run_0_1"
WEIGHTS = OLD / "weights.safetensors"
GIB = 1 << 30
CANARY = (
    "from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\ndef run(*args, **kwargs):\n    return 1\n"
)
few = settings(max_examples=60, suppress_health_check=list(HealthCheck))
FILES = {
    "run": ("config.json", "episodes.csv", "plan.json", "summary.json", "groups.json", "prices.json"),
    "resumed": ("config.json", "episodes.csv", "checkpoint/state.pt", "plan.json", "groups.json", "prices.json"),
    "policy": ("policy/policy.json", "policy/policy.safetensors"),
    "pruned": ("pruned/model.json", "pruned/plan.json", "pruned/weights.safetensors"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of this version, with everything that one leaves, and a module that must never be imported."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(OLD, folder)
    resume(folder, "episodes=6")
    (folder / "canary.py").write_text(CANARY)
    for large in (*folder.glob("*.html"), *folder.glob("*.png"), *folder.glob("events*"), folder / WEIGHTS.name):
        large.unlink()
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def resume(folder: Path, *more: str) -> None:
    run("search", main_from_config, [f"resume={folder}", f"model.checkpoint={WEIGHTS}", "verbose=false", *more])


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """1 GiB may be taken beyond what the process has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + GIB, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def outcome(folder: Path, action: Callable[[Path], Any]) -> Any:
    """What ``action`` gives on ``folder``; ``None`` if it was refused in one line. Never anything else, never code."""
    errors, line, code, found = io.StringIO(), None, None, None
    try:
        with limited(), contextlib.redirect_stderr(errors):
            found = action(folder)
    except AmcError as error:
        line = f"{error}\n"
    except SystemExit as stopped:
        line, code = errors.getvalue(), stopped.code
    if line is not None:
        assert line.count("\n") == 1, line
        assert code is None or (code == 2 and line.startswith("error: ")), line
    assert not (folder / "canary.ran").exists()
    assert "canary" not in sys.modules
    return found


def resumed(folder: Path) -> Any:
    """The episodes and the plan of a resumed run."""
    resume(folder, "episodes=6")
    rows = [{k: v for k, v in row.items() if "seconds" not in k} for row in read_episodes(folder / "episodes.csv")]
    return rows, (folder / "plan.json").read_bytes()


def looked_at(folder: Path) -> Any:
    """What a report, a listing of the plans and a fine-tuning read of a run."""
    report([folder])
    inherited = _inherited("finetune", [f"plan={folder}"])
    facts = read_groups(folder / "groups.json")
    groups = [
        LayerGroup(g.name, g.kind, g.channels, 1, g.residual, 1, 1, 1, 1, 1, g.macs, g.params, frozen=g.frozen)
        for g in facts.groups
    ]
    return inherited, best_plans(folder / "episodes.csv", groups, 3), PruningPlan.load(folder / "plan.json", groups)


def acted(folder: Path) -> Any:
    """The actions of a policy."""
    found = find_policies(folder)
    policy_table(found, folder)
    policy = read(folder)
    return [policy.act(torch.full((len(policy.features),), x)) for x in (0.0, 0.5, 1.0)], policy.layout, policy.hidden


def loaded(folder: Path) -> Any:
    return outputs(amc.load(folder / "pruned")).tolist()


ACTIONS: dict[str, Callable[[Path], Any]] = {"run": looked_at, "policy": acted, "pruned": loaded, "resumed": resumed}
SEALED = ("resumed", "pruned")  # they have checksums: if nothing is refused, nothing is different


def check(data: st.DataObject, what: str, whole: Path, place: Path, expected: Any = None) -> str:
    """One damage; returns what came of it."""
    folder = fresh(whole, place)
    done = tampered(data.draw, folder, list(FILES[what]))
    found = outcome(folder, ACTIONS[what])
    if found is None:
        return "refused"
    if what in SEALED and expected is not None and not done.startswith(("pruned/model.json", "plan.json")):
        assert found == expected, done
    return "same"


@pytest.mark.parametrize("what", ACTIONS)
@few
@given(data=st.data())
def test_damage_is_one_line_or_none(data: st.DataObject, what: str, whole: Path, place: Path) -> None:
    check(data, what, whole, place)
