"""The arrays of an ``.npz`` file, their sizes seen before they take any memory."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from amc.core.errors import AmcError, first_line
from amc.core.memory import require_memory

TIMES = 2  # an array, and the copy that becomes part of the sets
KINDS = "biuf"  # numpy's kinds of plain numbers: truth values, whole ones with and without a sign, fractions


def array_names(file: Path) -> list[str]:
    """Names of its arrays. Raises ``AmcError`` if it is no such file."""
    return list(_headers(file))


def read_arrays(file: Path, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    """Some of its arrays; nothing is unpickled.

    Raises:
        AmcError: a damaged file, an array that isn't made of numbers, or that takes more memory than there is.
    """
    headers, names = _headers(file), list(names)
    for name in names:
        shape, kind = headers[name]
        if kind.kind not in KINDS:
            raise AmcError(f"{file}: array {name!r} is {kind}; arrays of numbers are read, nothing is unpickled")
        if not shape:
            raise AmcError(f"{file}: array {name!r} is a single number; give one with an entry per example")
    needed = sum(math.prod(headers[name][0]) * headers[name][1].itemsize for name in names)
    require_memory(str(file), TIMES * needed, "give a file of fewer examples")
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except Exception as error:  # damaged bytes raise anything
        raise AmcError(f"{file}: can't be read ({first_line(error)}); the file is damaged") from error


def _headers(file: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Name → shape and type of each array."""
    found = {}
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.namelist():
                with archive.open(entry) as content:
                    version = np.lib.format.read_magic(content)
                    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else _read_2
                    shape, _, kind = read(content)
                found[entry.removesuffix(".npy")] = (shape, kind)
    except Exception as error:  # damaged bytes raise anything
        raise AmcError(f"{file}: can't be read ({first_line(error)}); the file is damaged or no .npz file") from error
    if not found:
        raise AmcError(f"{file}: holds no arrays; give another file")
    return found


def _read_2(content: Any) -> Any:
    return np.lib.format.read_array_header_2_0(content)
