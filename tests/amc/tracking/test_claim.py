"""Who may have a folder: what was finished is kept, what can go on does, the rest is replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from amc.core.errors import AmcError
from amc.tracking import RunDir, run_folder

CONFIG = {"command": "search", "seed": 0}


def left(folder: Path, command: str | None, *names: str) -> None:
    """What a killed run of a command left; names with a slash at the end are folders."""
    folder.mkdir(parents=True, exist_ok=True)
    if command is not None:
        (folder / "config.json").write_text(json.dumps({**CONFIG, "command": command}))
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_text("left")


@pytest.mark.parametrize("command", ["search", "finetune", "sensitivity", "transfer", "train"])
def test_what_came_to_nothing_is_replaced(tmp_path: Path, command: str) -> None:
    left(tmp_path, command, "episodes.csv", "plan.json", "pruned/model.json", "checkpoint/.state.pt.7.tmp", "mine.json")
    left(tmp_path, None, ".best_plan.png.7.tmp", "policy/.policy.json.7.tmp")
    RunDir.create(tmp_path).close()
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {".lock", "mine.json"}


@pytest.mark.parametrize("command", ["search", "finetune", "sensitivity"])
def test_with_a_checkpoint_the_same_call_goes_on(tmp_path: Path, command: str) -> None:
    config = {**CONFIG, "command": command}
    left(tmp_path, command, "episodes.csv", "checkpoint/state.pt")
    with run_folder(tmp_path, False, config, again=True) as folder:
        assert folder.continued
    assert {"config.json", "episodes.csv", "checkpoint"} <= {path.name for path in tmp_path.iterdir()}
    with pytest.raises(AmcError, match=rf"was stopped; it was started with seed=0, now it is 1; .*resume={tmp_path}"):
        RunDir.create(tmp_path, same={**config, "seed": 1})
    with pytest.raises(AmcError, match=rf"was stopped; go on with it by resume={tmp_path}"):
        RunDir.create(tmp_path)


@pytest.mark.parametrize(
    ("command", "names", "resume"),
    [
        ("search", ("summary.json", "checkpoint/state.pt"), True),
        ("sensitivity", ("summary.json",), True),
        ("transfer", ("summary.json", "plan.json"), False),
        ("train", ("train.json",), False),
        (None, ("train.json",), True),
        (None, ("checkpoint/",), True),
        (None, ("pruned/model.json",), True),
        ("another program's", (), True),
    ],
)
def test_what_was_finished_or_is_anothers_is_refused(
    tmp_path: Path, command: str | None, names: tuple[str, ...], resume: bool
) -> None:
    left(tmp_path, command, *names)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for same in (None, {**CONFIG, "command": command}):
        with pytest.raises(AmcError, match="holds a run already") as refused:
            RunDir.create(tmp_path, same=same)
        assert ("resume=" in str(refused.value)) == resume
    assert before == {path: path.read_bytes() for path in before}


def test_a_commands_own_results_are_a_trace(tmp_path: Path) -> None:
    left(tmp_path, None, "model.safetensors")
    RunDir.create(tmp_path).close()
    with pytest.raises(AmcError, match=r"holds a run already \(model\.safetensors\)"):
        RunDir.create(tmp_path, ("model.safetensors",))
    left(tmp_path, "train")
    RunDir.create(tmp_path, ("model.safetensors",)).close()
    assert not (tmp_path / "model.safetensors").exists()


def test_killed_while_it_makes_room_it_can_still_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left(tmp_path, "transfer", "plan.json", "pruned/model.json")
    unlink, removed = Path.unlink, []

    def killed(path: Path, **given: Any) -> None:
        if len(removed) == 2:
            raise KeyboardInterrupt
        removed.append(path.name)
        unlink(path, **given)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            RunDir.create(tmp_path)
    assert "config.json" not in removed
    RunDir.create(tmp_path).close()
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_that_was_moved_away_is_not_written_to(tmp_path: Path, replaced: bool) -> None:
    with run_folder(tmp_path / "run", False, CONFIG) as run:
        (tmp_path / "run").rename(tmp_path / "moved")
        if replaced:
            other = RunDir.create(tmp_path / "run")
            other.write_config({**CONFIG, "seed": 7})
        for write in (run.write_summary, run.save_checkpoint, run.write_config, run.kept_file):
            with pytest.raises(AmcError, match="moved, deleted or replaced"):
                write({})  # type: ignore[operator]
        run.forget_unless_begun()
    assert (tmp_path / "run" / "config.json").exists() == replaced
    assert (tmp_path / "moved" / "config.json").exists()
