"""The checksum of a checkpoint, and of the files that belong to it, inside the checkpoint's own file.

A checkpoint is a zip archive; its *seal* is the archive's comment. So checkpoint and checksum are replaced together,
atomically, and a reader of another file of the run needs only the checkpoint's last bytes to know if it is whole.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amc.core.errors import AmcError, damaged
from amc.core.files import read_bytes
from amc.core.reading import parse_json, read_end

CHECKPOINT, LAST, PREVIOUS = "checkpoint", "state.pt", "previous.pt"
NETWORKS = "networks"  # folders of a search over several
END = b"PK\x05\x06"  # of the record that ends a zip archive; its comment's length is the last two bytes before it
RECORD = 22  # bytes of that record
LONGEST = 60_000  # a comment may have 65,535 bytes


def sealed(content: bytes, files: Mapping[str, Any]) -> bytes:
    """A zip archive without comment → the same with its checksum, and with those of other files."""
    digest = hashlib.sha256(content).hexdigest()
    seal = json.dumps({"sha256": digest, "files": dict(files)}).encode()
    if len(seal) > LONGEST:  # of hundreds of networks
        seal = json.dumps({"sha256": digest, "files": {}}).encode()
    return content[:-2] + struct.pack("<H", len(seal)) + seal


def opened(path: Path) -> bytes:
    """The archive in a file that :func:`sealed` made, without the seal; as it is if there is none.

    Raises:
        AmcError: the file can't be read, or isn't what it was when it was written.
    """
    whole = read_bytes(path)
    content, seal = _apart(path, whole)
    if seal and seal["sha256"] != hashlib.sha256(content).hexdigest():
        raise AmcError(f"{path}: can't be loaded (its checksum is another); the file is damaged")
    return content


def check_sealed(folder: Path, name: str) -> None:
    """Checks a run's file against the last checkpoint's seal, if there is one that knows the file.

    Args:
        folder: of the run.
        name: of the file, relative to it. Of a log the lines that belong to the checkpoint are looked at.

    Raises:
        AmcError: the file isn't what it was at the checkpoint.
    """
    path = folder / name
    if (
        folder.parent.name == NETWORKS and not (folder / CHECKPOINT).exists()
    ):  # one of several, with one checkpoint for all
        return check_sealed(folder.parent.parent, f"{NETWORKS}/{folder.name}/{name}")
    expected = files_of(folder).get(name)
    if expected is None or not path.exists():
        return None
    content = read_bytes(path)
    with damaged(folder / CHECKPOINT, "no checksum of a file"):
        lines, digest = expected
        if lines is not None:
            content = b"".join(content.splitlines(keepends=True)[:lines])
    if hashlib.sha256(content).hexdigest() != digest:
        raise AmcError(
            f"{path}: is not what the run's checkpoint was written with; the file is damaged or was altered: copy the "
            "folder again, or start a new run"
        )
    return None


def files_of(folder: Path) -> dict[str, Any]:
    """Name → (lines, SHA-256) of the files that the last checkpoint knows; empty without one, or without a seal."""
    for name in (LAST, PREVIOUS):
        path = folder / CHECKPOINT / name
        try:
            files = _apart(path, read_end(path, LONGEST + RECORD))[1].get("files", {})
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise AmcError(f"{path}: can't be read ({error.strerror}); check the path") from error
        return files if isinstance(files, dict) else {}
    return {}


def _apart(path: Path, whole: bytes) -> tuple[bytes, dict[str, Any]]:
    place = whole.rfind(END, -RECORD - LONGEST) if len(whole) >= RECORD else -1
    if place < 0 or place + RECORD == len(whole):
        return whole, {}
    with damaged(path, "can't be loaded"):
        seal = parse_json(whole[place + RECORD :])
        if not isinstance(seal, dict) or not isinstance(seal.get("sha256"), str):
            raise ValueError("no checksum at its end")
    return whole[: place + RECORD - 2] + b"\0\0", seal


def digest_of(content: bytes, lines: int | None = None) -> tuple[int | None, str]:
    """The entry of a file in a seal."""
    return lines, hashlib.sha256(content).hexdigest()
