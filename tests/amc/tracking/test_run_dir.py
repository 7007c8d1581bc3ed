from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amc.core.errors import AmcError
from amc.core.files import parse_torch, torch_bytes
from amc.core.types import LayerGroup, PruningPlan
from amc.tracking import RunDir
from amc.tracking.seal import opened, sealed

CONFIG = {"model": {"name": "resnet20", "stem": "auto"}, "budget": {"keep": 0.5}, "seed": 0, "tags": []}

# Holds the lock and waits, as a run does; says so by a line.
HOLD = """
import sys, time
from amc.tracking import RunDir
run = RunDir.create(sys.argv[1])
run.write_config({})
print("locked", flush=True)
time.sleep(60)
"""


def started(path: Path) -> RunDir:
    run = RunDir.create(path)
    run.write_config(CONFIG)
    return run


def test_a_new_folder_and_one_with_hydras_files_are_fine(tmp_path: Path) -> None:
    RunDir.create(tmp_path / "a" / "b").close()
    (tmp_path / ".hydra").mkdir()
    (tmp_path / "search.log").write_text("")
    RunDir.create(tmp_path).close()


@pytest.mark.parametrize("trace", ["config.json", "episodes.csv", "summary.json", "plan.json"])
def test_a_folder_with_a_run_is_refused(tmp_path: Path, trace: str) -> None:
    (tmp_path / trace).write_text("keep me")
    with pytest.raises(AmcError, match=rf"holds a run already \({trace}\).*resume="):
        RunDir.create(tmp_path)
    assert (tmp_path / trace).read_text() == "keep me"


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(AmcError, match="holds no run"):
            RunDir.open(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("begun", [False, True])
def test_what_is_measured_once_goes_with_a_run_that_comes_to_nothing(tmp_path: Path, begun: bool) -> None:
    (tmp_path / "mine.json").write_text("the user's")
    with started(tmp_path) as run:
        run.kept_file("table.json").write_text("measured")
        if begun:
            run.save_checkpoint({"episode": 1})
        run.forget_unless_begun()
    assert (tmp_path / "table.json").exists() is (tmp_path / "config.json").exists() is begun
    assert (tmp_path / "mine.json").exists()


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    with started(tmp_path):
        for attempt in (RunDir.create, RunDir.open):
            with pytest.raises(AmcError, match="another process works in this folder"):
                attempt(tmp_path)
    RunDir.open(tmp_path).close()


def test_a_killed_process_leaves_no_lock(tmp_path: Path, repo: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=repo, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    with pytest.raises(AmcError, match="another process"):
        RunDir.open(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    RunDir.open(tmp_path).close()


def test_opening_removes_half_written_files(tmp_path: Path) -> None:
    started(tmp_path).close()
    (tmp_path / "checkpoint").mkdir()
    for name in (".plan.json.7.tmp", "checkpoint/.state.pt.7.tmp"):
        (tmp_path / name).write_text("half")
    RunDir.open(tmp_path).close()
    assert sorted(p.name for p in tmp_path.rglob("*")) == [".lock", "checkpoint", "config.json"]


def test_the_same_config_passes(tmp_path: Path) -> None:
    with started(tmp_path) as run:
        run.check_config({**CONFIG, "tags": ()})
        run.check_config({**CONFIG, "seed": 3, "model": {"name": "vgg"}}, ignore=("seed", "model"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": {"keep": 0.3}}, "budget.keep=0.5, now it is 0.3"),
        ({"model": {"name": "resnet20"}}, "model.stem='auto', now it is not set"),
        ({"extra": 1}, "extra=not set, now it is 1"),
        ({"seed": None}, "seed=0, now it is None"),
    ],
)
def test_another_config_is_refused_by_its_first_difference(tmp_path: Path, change: dict, message: str) -> None:
    with started(tmp_path) as run, pytest.raises(AmcError, match=message):
        run.check_config({**CONFIG, **change}, ignore=("bud", "see"))


def test_checkpoints_hold_what_resume_needs_exactly(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    python = random.Random(3)
    state = {
        "episode": 7,
        "torch": torch.get_rng_state(),
        "numpy": generator.bit_generator.state,
        "python": python.getstate(),
        "best": (0.1 + 0.2, None, "a"),
    }
    with started(tmp_path) as run:
        assert run.load_checkpoint() is None
        run.save_checkpoint({"episode": 6})
        run.save_checkpoint(state)
        loaded = run.load_checkpoint()
    assert loaded is not None
    assert torch.equal(loaded.pop("torch"), state.pop("torch"))
    assert loaded == state
    other = np.random.default_rng()
    other.bit_generator.state = loaded["numpy"]
    assert other.random() == generator.random()


@pytest.mark.parametrize("damage", [b"", b"rubbish"])
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, damage: bytes) -> None:
    with started(tmp_path) as run:
        run.save_checkpoint({"episode": 6})
        (tmp_path / "checkpoint" / "state.pt").write_bytes(damage)
        with pytest.raises(AmcError, match=r"state\.pt: can't be loaded"):
            run.load_checkpoint()


def test_the_checkpoint_before_is_kept_and_offered(tmp_path: Path) -> None:
    last = tmp_path / "checkpoint" / "state.pt"
    with started(tmp_path) as run:
        for episode in (5, 6):
            run.save_checkpoint({"episode": episode})
        whole = last.read_bytes()
        assert run.load_checkpoint() == {"episode": 6}
        damaged = bytearray(whole)
        damaged[len(whole) // 3] ^= 1  # in a tensor or a number, it would not be seen without a checksum
        last.write_bytes(damaged)
        with pytest.raises(AmcError, match=rf"is damaged; .* from there, rm {last} and resume$"):
            run.load_checkpoint()
        last.unlink()
        assert run.load_checkpoint() == {"episode": 5}
        (tmp_path / "checkpoint" / "previous.pt").write_bytes(b"x")
        last.write_bytes(damaged)
        with pytest.raises(AmcError, match="the checkpoint before it is damaged, too: start a new run"):
            run.load_checkpoint()


@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_no_changed_byte_of_a_checkpoint_changes_what_is_read(place: float, change: int) -> None:
    content = bytearray(sealed(torch_bytes({"episode": 6, "x": torch.arange(5)}), {"config.json": (None, "0")}))
    content[int(place * len(content))] ^= change
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state.pt"
        path.write_bytes(content)
        try:
            state = parse_torch(path, opened(path))
        except AmcError as error:
            assert "damaged" in str(error)  # noqa: PT017 - a harmless byte, such as a comment's, is no error
        else:
            assert state["episode"] == 6
            assert torch.equal(state["x"], torch.arange(5))


def test_a_checkpoint_knows_the_files_that_belong_to_it(tmp_path: Path) -> None:
    with started(tmp_path) as run:
        run.kept_file("table.json").write_text("{}")
        log = tmp_path / "episodes.csv"
        log.write_text("a,b\n1,2\n")
        run.seal("episodes.csv", 2, hashlib.sha256(b"a,b\n1,2\n").hexdigest())
        run.save_checkpoint({"episode": 1})
        log.write_text("a,b\n1,2\n3,4\n")  # behind the checkpoint
        for name in ("config.json", "table.json", "episodes.csv", "unknown"):
            run.check_sealed(name)
        log.write_text("a,b\n1,3\n3,4\n")
        (tmp_path / "table.json").write_text("{ }")
    with RunDir.open(tmp_path) as run:
        for name in ("table.json", "episodes.csv"):
            with pytest.raises(AmcError, match=rf"{name}: is not what the run's checkpoint was written with"):
                run.check_sealed(name)
        with pytest.raises(AmcError, match=r"table\.json: is not what"):
            run.kept_file("table.json")
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(AmcError, match=r"config\.json: is not what"):
            run.read_config()


def test_a_checkpoint_of_an_earlier_version_has_no_checksum(tmp_path: Path) -> None:
    with started(tmp_path) as run:
        (tmp_path / "checkpoint").mkdir()
        torch.save({"episode": 4}, tmp_path / "checkpoint" / "state.pt")
        run.check_sealed("config.json")
        assert run.load_checkpoint() == {"episode": 4}


def test_plan_and_summary_are_read_back_and_no_file_knows_the_folder(tmp_path: Path) -> None:
    groups = [LayerGroup("conv1", "conv3x3", 8, 1, False, 3, 8, 8, 1, 3, 100, 10)]
    plan = PruningPlan.make(groups, {"conv1": 3})
    with started(tmp_path) as run:
        run.write_plan(plan)
        run.write_summary({"best": {"accuracy": 0.5}})
        run.save_checkpoint({"episode": 0})
    assert PruningPlan.load(tmp_path / "plan.json", groups) == plan
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes()
