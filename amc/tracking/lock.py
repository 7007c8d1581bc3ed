"""The lock of a run folder: the kernel's (``flock``), so a killed process leaves none behind."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from amc.core.errors import AmcError
from amc.core.files import write_error

LOCK = ".lock"


def lock(folder: Path) -> int:
    """The handle of a folder's lock, which is held until the handle is closed.

    Raises:
        AmcError: another process holds it, or the folder can't be written or locked.
    """
    while True:
        handle = _open(folder)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if isinstance(error, BlockingIOError):
                raise AmcError(
                    f"{folder}: another process works in this folder; wait for it or give another folder"
                ) from None
            raise AmcError(f"{folder}: can't be locked ({error.strerror}); give a folder on a local disk") from error
        if holds(handle, folder):
            return handle
        os.close(handle)  # a refused process removed the file in between


def holds(handle: int, folder: Path) -> bool:
    """Whether the lock is still the one of ``folder``, which was neither deleted, moved nor replaced since."""
    try:
        return os.path.samestat(os.fstat(handle), (folder / LOCK).stat())
    except OSError:
        return False


def remove_unused(folder: Path) -> None:
    """Removes the lock of a folder that holds nothing else, unless a process that has yet to write something has it.

    Raises:
        OSError: there is no such folder, or it may not be written to.
    """
    if [entry.name for entry in folder.iterdir()] != [LOCK]:
        return
    with suppress(AmcError):
        handle = lock(folder)
        try:
            (folder / LOCK).unlink()
        finally:
            os.close(handle)


def _open(folder: Path, tries: int = 3) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and tries > 1:  # the folder, too, can have been removed in between
            return _open(folder, tries - 1)
        raise write_error(folder / LOCK, error) from error
