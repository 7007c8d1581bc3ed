"""Image files → one array of whole numbers, decoded in parallel and cached on disk."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from amc.core.errors import AmcError, first_line
from amc.core.files import read_bytes, replacing
from amc.core.memory import require_memory
from amc.data.examples import Triple
from amc.data.form import BORDER, Form

Pixels = npt.NDArray[np.unsignedinteger[Any]]  # uint8, or uint16 of images of 16 bits
Progress = Callable[[int, int], None]

CACHE_FORMAT = 1
FILES_PER_TASK = 128
BATCH = 125  # images that go through a network at once
DEEP = ("I", "F")  # Pillow's modes of 16 and 32 bits, which it would clip to 8
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoded:
    """An image file's content that lies in a larger file; ``name`` says where, in errors."""

    name: str
    content: bytes = field(repr=False)

    def __str__(self) -> str:
        return self.name


Picture = Path | Encoded


def decode_cached(files: Sequence[Picture], form: Form, cache_dir: Path, progress: Progress | None = None) -> Pixels:
    """Same as :func:`decode`, from ``cache_dir`` if these very files were decoded before.

    "These very files" means the same bytes in the same order, wherever they lie: names, sizes and modification times
    can be those of other images (CIFAR-10's folders of training and test images are numbered alike). Hashing 60,000
    small files takes half a second, large ones go at 1 GB/s. A damaged cache file is replaced; one that can't be
    written is logged and skipped.

    Raises:
        AmcError: see :func:`decode`.
    """
    path = cache_dir / "images" / f"{_key(files, form)}.npy"
    cached = _read(path, len(files), form)
    if cached is not None:
        return cached
    pixels = decode(files, form, progress)
    try:
        with replacing(path) as temporary, temporary.open("wb") as out:
            np.save(out, pixels, allow_pickle=False)
    except OSError as error:
        log.warning("decoded images are not cached: %s can't be written (%s)", path, error.strerror)
    return pixels


def decode(files: Sequence[Picture], form: Form, progress: Progress | None = None) -> Pixels:
    """Pixels of every file, ``[n, c, h, w]``: uint8, or uint16 if the files are grey images of 16 bits.

    Args:
        files: in the order of the result.
        form: what each becomes.
        progress: called with (files decoded, files) now and then.

    Raises:
        AmcError: a file that is missing, no image, or of another size or depth, by name.
    """
    first = _load(files[0], form)
    _check_memory(len(files), first, form)
    height, width, channels = first.shape
    pixels = np.empty((len(files), channels, height, width), dtype=first.dtype)

    def work(row: int) -> None:
        image = _load(files[row], form)
        _check_alike(image, files[row], first, files[0])
        pixels[row] = image.transpose(2, 0, 1)

    for_each(len(files), work, progress)
    return pixels


def for_each(n: int, work: Callable[[int], None], progress: Progress | None = None) -> None:
    """Calls ``work`` with 0 … n − 1 on all cores; the first error ends it. ``progress``: see :func:`decode`."""

    def several(start: int) -> int:
        rows = range(start, min(start + FILES_PER_TASK, n))
        for row in rows:
            work(row)
        return len(rows)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tasks = [pool.submit(several, start) for start in range(0, n, FILES_PER_TASK)]
        done = 0
        try:
            for task in as_completed(tasks):
                done += task.result()
                if progress is not None:
                    progress(done, n)
        finally:
            pool.shutdown(cancel_futures=True)


def _check_memory(n: int, first: Pixels, form: Form) -> None:
    """Refuses images that, all in memory and a batch of them as float32, take more memory than there is."""
    height, width, channels = first.shape
    setting = f"{n} images of {width}×{height} pixels" if form.size is None else form.named
    # Those of 16 bits end as float32.
    each = channels * height * width * (1 if first.dtype == np.uint8 else 2 + 4)
    batch = 4 * channels * height * width * min(n, BATCH)
    require_memory(setting, each * n + batch, "give a smaller dataset.image_size, or fewer")


def check_like(pixels: Pixels, file: Picture, like: Picture, form: Form) -> None:
    """Raises ``AmcError`` unless ``pixels`` ``[n, c, h, w]``, the first of them ``file``, are as the image ``like``."""
    _check_alike(pixels[0].transpose(1, 2, 0), file, _load(like, form), like)


def _check_alike(image: Pixels, file: Picture, first: Pixels, first_file: Picture) -> None:
    if image.shape[:2] != first.shape[:2]:
        size, expected = (f"{one.shape[1]}×{one.shape[0]}" for one in (image, first))
        raise AmcError(f"image {file}: {size} pixels, {first_file} has {expected}; give dataset.image_size")
    if image.dtype != first.dtype:
        bits, expected = (f"{8 * one.dtype.itemsize} bits" for one in (image, first))
        raise AmcError(f"image {file}: has {bits} a pixel, {first_file} has {expected}; convert all to the same")


def opened(file: Picture) -> Image.Image:
    """The image, decoded. Raises ``AmcError`` naming the file if it is none, or damaged."""
    try:
        image: Image.Image = Image.open(_source(file))
        with image:
            image.load()
        return image
    except Exception as error:  # a damaged file may raise anything
        raise _unreadable(file, error) from error


def size_of(file: Picture) -> tuple[int, int]:
    """(width, height), from the file's head. Raises ``AmcError`` naming the file if it is no image."""
    try:
        with Image.open(_source(file)) as image:
            width, height = image.size
            return width, height
    except Exception as error:  # a damaged file may raise anything
        raise _unreadable(file, error) from error


def _source(file: Picture) -> Any:
    return io.BytesIO(file.content) if isinstance(file, Encoded) else file


def _unreadable(file: Picture, error: Exception) -> AmcError:
    return AmcError(f"image {file}: can't be read ({first_line(error)}); repair or remove it")


def _load(file: Picture, form: Form) -> Pixels:
    """``[h, w, c]``."""
    image = opened(file)
    placement = form.place(*image.size)
    if image.mode.startswith(DEEP):
        return _deep(image, file, form)
    image = image.convert("RGB" if form.channels == 3 else "L")
    framed = placement.image(image, Image.Resampling.BILINEAR, BORDER[form.channels])
    pixels: Pixels = np.asarray(framed).reshape(framed.height, framed.width, form.channels)
    return pixels


def _deep(image: Image.Image, file: Picture, form: Form) -> Pixels:
    """A grey image of 16 bits, ``[h, w, 1]`` uint16."""
    if form.channels != 1 or image.mode == "F":
        hint = "" if image.mode == "F" else ", or give dataset.channels=1"
        raise AmcError(f"image {file}: has more than 8 bits a colour (mode {image.mode}); convert it to 8 bits{hint}")
    values = np.asarray(image).astype(np.float32)
    if values.min() < 0 or values.max() > 65535:
        raise AmcError(f"image {file}: has more than 16 bits a pixel; convert it to 16 or 8 bits")
    border = BORDER[1] * 257  # 255 × 257 = 65535
    framed = form.place(*image.size).image(Image.fromarray(values), Image.Resampling.BILINEAR, border)
    pixels: Pixels = np.rint(np.asarray(framed)).astype(np.uint16)[..., None]
    return pixels


def _key(files: Sequence[Picture], form: Form) -> str:
    def work(start: int) -> bytes:
        return b"".join(hashlib.sha256(_content(file)).digest() for file in files[start : start + FILES_PER_TASK])

    digest = hashlib.sha256(f"{CACHE_FORMAT} {form.key}".encode())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(work, range(0, len(files), FILES_PER_TASK)):
            digest.update(part)
    return digest.hexdigest()


def _content(file: Picture) -> bytes:
    if isinstance(file, Encoded):
        return file.content
    try:
        return read_bytes(file)
    except AmcError as error:
        raise AmcError(f"image {error}; repair or remove it") from error


def _read(path: Path, n: int, form: Form) -> Pixels | None:
    """The cached array, or ``None`` if there is none that can be used."""
    try:
        pixels = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        log.warning("decoded images in %s are damaged and are decoded again", path)
        return None
    fits = pixels.dtype in (np.uint8, np.uint16) and pixels.ndim == 4 and pixels.shape[:2] == (n, form.channels)
    if not fits or (form.size is not None and pixels.shape[2:] != form.size):
        return None
    return np.asarray(pixels)


def as_images(pixels: Pixels, mean: Triple, std: Triple) -> tuple[torch.Tensor, Triple | None, Triple | None]:
    """Decoded images as a set holds them: ``[n, c, h, w]`` with what is still to be subtracted and divided by.

    Of 8 bits they stay as they are; of 16 bits they become float32 in [0, 1], normalised at once.
    """
    if pixels.dtype == np.uint8:
        return torch.from_numpy(pixels), mean, std
    images = torch.empty(pixels.shape, dtype=torch.float32)
    means, deviations = (np.array(values, dtype=np.float32).reshape(-1, 1, 1) for values in (mean, std))
    for row, image in enumerate(pixels):  # one by one: whole copies in between would take as much memory again
        images[row] = torch.from_numpy((image.astype(np.float32) / 65535 - means) / deviations)
    return images, None, None
