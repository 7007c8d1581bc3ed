"""Reading files that may come from anywhere: regular ones only, of limited size, and JSON that can't do harm."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

MIB = 1 << 20
JSON_BYTES = 16 * MIB  # a plan of a thousand groups has 50 KB
DEPTH = 50  # of nested objects and lists; what is written here has ten


def read_regular(path: str | Path, most_bytes: int | None = None) -> bytes:
    """The content of a regular file, never of a device, a pipe or a socket, which may have no end.

    Args:
        path: a link to a regular file is one.
        most_bytes: a larger file is refused before it is read.

    Raises:
        OSError: it can't be read, is no regular file, or is too large; ``strerror`` says so.
    """
    with _open_regular(path) as file:
        if most_bytes is None:
            return file.read()
        size = os.fstat(file.fileno()).st_size
        content = file.read(most_bytes + 1) if size <= most_bytes else b""
        if max(size, len(content)) > most_bytes:  # files of the kernel claim no size
            allowed = f"more than the {most_bytes / MIB:.0f} allowed"
            raise OSError(errno.EFBIG, f"it has {max(size, len(content)) / MIB:.0f} MiB, {allowed}", str(path))
        return content


def read_end(path: str | Path, most_bytes: int) -> bytes:
    """The last bytes of a regular file, all if it has no more. Raises ``OSError``."""
    with _open_regular(path) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most_bytes))
        return file.read(most_bytes)


def _open_regular(path: str | Path) -> BinaryIO:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without writer: no wait
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise OSError(errno.EINVAL, f"it is {'a folder' if stat.S_ISDIR(mode) else 'a device or pipe'}", str(path))
    return open(handle, "rb")


def parse_json(content: bytes) -> Any:
    """The JSON in ``content``: no key twice, all numbers finite, all text printable as UTF-8, nested 50 deep at most.

    Raises:
        ValueError: anything else.
    """
    try:
        data = json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_number
        )
    except RecursionError as error:
        raise ValueError(f"nested more than {DEPTH} deep") from error
    level = [data]
    for _ in range(DEPTH):
        level = [entry for value in level for entry in _entries(value)]
        if not level:
            return data
    raise ValueError(f"nested more than {DEPTH} deep")


def _entries(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, str):
        value.encode()  # half of a surrogate pair is a ValueError
    return value if isinstance(value, list) else []


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name!r} is there twice")
        found[name] = value
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no finite number")
