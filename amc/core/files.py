"""Files: replaced atomically, so that the old one survives a crash, a kill and a full disk; read with suspicion."""

from __future__ import annotations

import contextlib
import errno
import glob
import io
import json
import math
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError

from amc.core.errors import WRONG_VALUES, AmcError, first_line
from amc.core.memory import require_memory
from amc.core.reading import JSON_BYTES, MIB, parse_json, read_regular

CACHE_VARIABLE = "AMC_CACHE"
LARGE = 64 * MIB  # smaller files fit into memory anyway
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` to write to, and moves it there when the block ends without an error.

    Readers of ``path`` see the old file or the new one, even after a crash. Raises ``OSError``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    # The process id keeps two processes that write the same cache file out of each other's way.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """Gives an empty folder beside ``path`` to write into, and moves it there when the block ends without an error.

    Readers find the whole old folder or the whole new one; for a moment, and after a crash just then, neither. Raises
    ``OSError``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    temporary, before = (path.with_name(f".{path.name}.{kind}.{os.getpid()}.tmp") for kind in ("new", "old"))
    temporary.mkdir()
    try:
        yield temporary
        for written in temporary.rglob("*"):
            if written.is_file():
                with written.open("rb") as file:
                    os.fsync(file.fileno())
        if path.is_dir():  # a folder that holds something can't be replaced in one step
            os.replace(path, before)
        try:
            os.replace(temporary, path)
        except OSError:
            if before.is_dir():
                os.replace(before, path)
            raise
    finally:
        for rest in (temporary, before):
            shutil.rmtree(rest, ignore_errors=True)


def _remove_abandoned(path: Path) -> None:
    """Deletes the temporary files and folders of ``path`` whose writers were killed; those of living ones stay."""
    for other in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        writer = other.name.split(".")[-2]
        if writer.isdigit() and not _lives(int(writer)):
            _remove(other)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def remove_leftovers(folder: str | Path) -> None:
    """Deletes the temporary files and folders of processes that were killed while writing into ``folder``."""
    for leftover in Path(folder).glob(".*.tmp"):
        _remove(leftover)


def cache_folder(given: str | Path | None = None) -> Path:
    """Folder of decoded images and trained baselines: ``given``, else ``$AMC_CACHE``, else ``~/.cache/amc``."""
    return Path(given or os.environ.get(CACHE_VARIABLE) or "~/.cache/amc").expanduser()


def write_error(path: str | Path, error: OSError) -> AmcError:
    """One-line error for a file that could not be written."""
    advice = "free some disk space" if error.errno in NO_SPACE else "check the folder and its permissions"
    return AmcError(f"{path}: can't be written ({error.strerror}); what was there before is untouched. Please {advice}")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Replaces ``path`` atomically; makes its folder if need be.

    Raises:
        AmcError: full disk, no permission …; the old file is still there, and nothing half-written is.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise write_error(path, error) from error


def plain(value: Any) -> Any:
    """``value`` as JSON types: mappings as dicts, numpy scalars as numbers, NaN and infinities as ``None``."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: str | Path, data: Any) -> None:
    """Replaces a JSON file atomically (see :func:`plain` for the conversions, :func:`write_bytes` for errors)."""
    text = json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: str | Path) -> Any:
    """The content of a JSON file, see :func:`amc.core.reading.parse_json`.

    Raises:
        AmcError: it is missing, damaged, no regular file, or larger than 16 MiB.
    """
    try:
        return parse_json(read_bytes(path, JSON_BYTES))
    except ValueError as error:
        raise AmcError(f"{path}: no valid JSON ({error}); the file is damaged") from error


def write_torch(path: str | Path, data: Any) -> None:
    """Replaces a ``torch.save`` file atomically. Only tensors and plain Python data can be read back."""
    write_bytes(path, torch_bytes(data))


def torch_bytes(data: Any) -> bytes:
    """What ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(data, buffer)
    return buffer.getvalue()


def read_torch(path: str | Path, device: str | torch.device = "cpu") -> Any:
    """Reads a file of :func:`write_torch`; runs no code from it. Raises ``AmcError`` if missing or damaged."""
    return parse_torch(path, read_bytes(path), device)


def parse_torch(path: str | Path, content: bytes, device: str | torch.device = "cpu") -> Any:
    """What :func:`torch_bytes` made. Nothing in it can take more memory than ``content`` has.

    Raises:
        AmcError: it is damaged; names ``path``.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            packed = [entry for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
        if packed or sum(entry.file_size for entry in archive.infolist()) > len(content):
            raise ValueError("an entry claims more bytes than it has")
        data = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        _check_tensors(data)
    except Exception as error:  # damaged bytes raise anything from EOFError to RuntimeError
        raise AmcError(
            f"{path}: can't be loaded ({first_line(error)}); the file is damaged or no PyTorch file"
        ) from error
    return data


def _check_tensors(data: Any) -> None:
    """Raises ``ValueError`` for a tensor that claims more values than it has, as a copy of it would take them."""
    seen: set[int] = set()
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            if value.layout != torch.strided or value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise ValueError("a tensor claims more values than it has")
        elif isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple, set)):
            waiting += value


def write_safetensors(
    path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Replaces a safetensors file atomically; tensors may be on any device, strided in any way, and shared."""
    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, safetensors.torch.save(copies, dict(metadata) if metadata else None))


def read_safetensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensor name → tensor, on the CPU. Raises ``AmcError`` if the file is missing or damaged."""
    try:
        return safetensors.torch.load(read_bytes(path))
    except (SafetensorError, *WRONG_VALUES) as error:  # torch's own for types and sizes that make no sense
        reason = first_line(error)
        raise AmcError(f"{path}: can't be loaded ({reason}); the file is damaged or no safetensors file") from error


def read_bytes(path: str | Path, most_bytes: int | None = None) -> bytes:
    """The content of a regular file.

    Args:
        path: a link to a regular file is one.
        most_bytes: how large it may be; ``None``: as large as twice of it fits into memory.

    Raises:
        AmcError: it can't be read, is no regular file, or is too large.
    """
    try:
        if most_bytes is None and (size := Path(path).stat().st_size) > LARGE:
            require_memory(str(path), 2 * size, "is it the right file?")
        return read_regular(path, most_bytes)
    except OSError as error:
        raise AmcError(f"{path}: can't be read ({error.strerror}); check the path") from error
    except ValueError as error:  # a NUL in the path
        raise AmcError(f"{path}: can't be read ({error}); check the path") from error
