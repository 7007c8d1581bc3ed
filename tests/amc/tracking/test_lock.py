"""The lock of a run folder, and who may remove it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from amc.core.errors import AmcError
from amc.tracking import lock as locking
from amc.tracking.lock import LOCK, holds, lock, remove_unused


def test_a_lock_that_another_process_has_stays(tmp_path: Path) -> None:
    handle = lock(tmp_path)
    remove_unused(tmp_path)
    assert holds(handle, tmp_path)
    os.close(handle)
    remove_unused(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_more_than_a_lock_is_left_alone(tmp_path: Path) -> None:
    os.close(lock(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    remove_unused(tmp_path)
    assert (tmp_path / LOCK).exists()


def test_a_lock_removed_before_it_was_had_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, flock = tmp_path / "run", locking.fcntl.flock

    def removed_meanwhile(handle: int, how: int) -> None:
        monkeypatch.setattr(locking.fcntl, "flock", flock)
        (folder / LOCK).unlink()
        folder.rmdir()
        flock(handle, how)

    monkeypatch.setattr(locking.fcntl, "flock", removed_meanwhile)
    handle = lock(folder)
    assert holds(handle, folder)
    with pytest.raises(AmcError, match="another process"):
        lock(folder)
    os.close(handle)


def test_a_folder_that_can_not_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / LOCK).symlink_to(tmp_path / "nowhere" / "file")
    with pytest.raises(AmcError, match=r"\.lock: can't be written"):
        lock(tmp_path)
