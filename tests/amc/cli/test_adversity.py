"""Full disks, read-only folders, folders that vanish, and races: one line or success, and nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from amc.tracking.claim import FINISHED, RESUMABLE
from tests.support.fork_server import Ended, ForkServer, Job
from tests.support.moments import START, Moment
from tests.support.whole_runs import Whole, results

pytestmark = pytest.mark.slow
RESUME = ["resume=run", "verbose=false"]
FIVE = (0, 0.2, 0.4, 0.6, 1)  # how many of a run's files fit on a disk, as a share of them, but for one byte


def ended_well(ended: Ended) -> bool:
    """Success, maybe with warnings, or one line."""
    return ended.refused or (ended.code == 0 and "Traceback" not in ended.error)


def succeed(server: ForkServer, cwd: Path, command: str, *arguments: str) -> None:
    ended = server.one(cwd, command, *arguments)
    assert (ended.code, ended.error) == (0, "")


def finished(cwd: Path) -> bool:
    return any((cwd / "run" / name).exists() for name in FINISHED)


def prepared(whole: Whole, command: str, cwd: Path) -> Path:
    """A folder with what the command works on, and with the baseline that it needs."""
    cwd.mkdir(exist_ok=True)
    whole.prepare(command, cwd)
    if (whole.folder / command / "cache").is_dir():
        shutil.copytree(whole.folder / command / "cache", cwd / "cache", dirs_exist_ok=True)
    return cwd


@pytest.mark.parametrize(
    ("command", "shares"),
    [
        ("search", FIVE),
        *((name, (0, 0.4, 1)) for name in ("finetune", "sensitivity", "transfer", "train")),
        ("export", (0.8, 1)),
        ("report", (0, 1)),
    ],
)
def test_a_full_disk(server: ForkServer, whole: Whole, tmp_path: Path, command: str, shares: tuple[float, ...]) -> None:
    sizes = sorted({path.stat().st_size for path in (whole.folder / command / "run").rglob("*") if path.is_file()})
    cwd, arguments, refused = prepared(whole, command, tmp_path / "first"), whole.arguments(command), 0
    for share in shares:
        size = sizes[round(share * (len(sizes) - 1))]
        ended = server.one(cwd, command, *arguments, most_bytes=max(0, size - 1))
        assert ended_well(ended), (size, ended)
        refused += ended.refused
        assert not list(cwd.rglob("*.tmp"))
        if finished(cwd) and command in RESUMABLE:
            arguments = RESUME
        elif finished(cwd) and command != "report":
            cwd = prepared(whole, command, tmp_path / str(size))
    assert refused >= len(shares) // 2
    succeed(server, cwd, command, *arguments)
    assert results(cwd / "run") == whole.results(command)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """``folder`` and everything in it."""
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.parametrize("command", ["search", "finetune", "sensitivity", "transfer", "train", "export", "report"])
def test_a_read_only_folder(server: ForkServer, whole: Whole, tmp_path: Path, command: str) -> None:
    cwd = prepared(whole, command, tmp_path)
    (cwd / "run").mkdir(exist_ok=True)
    before = results(cwd / "run")
    with read_only(cwd / "run"):
        ended = server.one(cwd, command, *whole.arguments(command), unprivileged=True)
    assert ended.refused, ended
    assert "Permission denied" in ended.error
    assert results(cwd / "run") == before


def test_a_run_that_becomes_read_only(server: ForkServer, whole: Whole, tmp_path: Path) -> None:
    assert server.one(tmp_path, "search", *whole.arguments("search"), moment=Moment("learning", "write", 1)).killed
    before = results(tmp_path / "run")
    with read_only(tmp_path / "run"):
        for arguments in (RESUME, whole.arguments("search")):
            assert server.one(tmp_path, "search", *arguments, unprivileged=True).refused
    assert results(tmp_path / "run") == before
    succeed(server, tmp_path, "search", *RESUME)
    assert results(tmp_path / "run") == whole.results("search")


@pytest.mark.parametrize(
    ("act", "phase"),
    [
        ("delete", "loading"),
        ("delete", "learning"),
        ("delete", "results"),
        ("delete", "report"),
        ("move", "responses"),
        ("move", "learning"),
        ("move", "finals"),
    ],
)
def test_a_folder_that_vanishes(server: ForkServer, whole: Whole, tmp_path: Path, phase: str, act: str) -> None:
    kind = "write" if phase == "report" else "compute"
    ended = server.one(tmp_path, "search", *whole.arguments("search"), moment=Moment(phase, kind, 2, act))
    assert ended_well(ended), ended
    assert ended.refused == (phase != "report")
    if act == "move":
        assert not (tmp_path / "run" / "config.json").exists()
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        (tmp_path / "moved").rename(tmp_path / "run")
        succeed(server, tmp_path, "search", *RESUME)
        assert results(tmp_path / "run") == whole.results("search")


@pytest.mark.parametrize("command", ["finetune", "sensitivity", "transfer", "train"])
def test_other_commands_folders_that_vanish(server: ForkServer, whole: Whole, tmp_path: Path, command: str) -> None:
    cwd, late = prepared(whole, command, tmp_path), whole.counts[command][START]["compute"] * 3 // 4
    ended = server.one(cwd, command, *whole.arguments(command), moment=Moment(START, "compute", late, "delete"))
    assert ended.refused, ended
    assert not (tmp_path / "run" / "summary.json").exists()


def race(server: ForkServer, whole: Whole, cwd: Path, command: str) -> None:
    """Of three processes for one folder, one has it; the others get one line each, and change nothing."""
    jobs = [Job(cwd, command, whole.arguments(command)) for _ in range(3)]
    ended = server.run(*jobs)
    assert sorted(job.code for job in ended) == [0, 2, 2], ended
    for job in ended:
        assert job.code == 0 or (job.refused and ("another process" in job.error or "holds a run" in job.error)), job
    assert results(cwd / "run") == whole.results(command)


@pytest.mark.parametrize(
    ("command", "killed"),
    [("search", None), ("search", 0.9), ("transfer", 0.3), ("train", None), ("train", 0.9)],
    ids=["search", "search killed late", "transfer killed early", "train", "train killed late"],
)
def test_a_race_for_a_folder(
    server: ForkServer, whole: Whole, tmp_path: Path, command: str, killed: float | None
) -> None:
    if killed is not None:
        phase = "learning" if command == "search" and killed > 0.5 else START
        number = max(1, int(killed * whole.counts[command][phase]["write"]))
        moment = Moment(phase, "write", number)
        assert server.one(tmp_path, command, *whole.arguments(command), moment=moment).killed
    race(server, whole, tmp_path, command)


def test_a_race_for_a_baseline(server: ForkServer, whole: Whole, tmp_path: Path) -> None:
    base = whole.arguments("search")[:-1]
    jobs = [Job(tmp_path, "search", [*base, f"hydra.run.dir={name}"]) for name in "ab"]
    assert [(job.code, job.error) for job in server.run(*jobs)] == [(0, "")] * 2
    assert results(tmp_path / "a") == results(tmp_path / "b") == whole.results("search")
    suffixes = sorted(path.suffix for path in (tmp_path / "cache" / "baselines").iterdir())
    assert suffixes == [".json", ".safetensors"]
