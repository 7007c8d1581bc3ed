"""Image files → one uint8 array, decoded in parallel and cached on disk."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from amc.core.errors import AmcError, first_line
from amc.core.files import read_bytes, replacing
from amc.core.memory import require_memory

Pixels = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]

CACHE_FORMAT = 1
FILES_PER_TASK = 128
BATCH = 125  # images that go through a network at once
DEEP = ("I", "F")  # Pillow's modes of 16 and 32 bits, which it would clip to 8
log = logging.getLogger(__name__)


def decode_cached(files: Sequence[Path], size: int | None, cache_dir: Path, progress: Progress | None = None) -> Pixels:
    """Same as :func:`decode`, from ``cache_dir`` if these very files were decoded before.

    "These very files" means the same bytes in the same order, wherever they lie: names, sizes and modification times
    can be those of other images (CIFAR-10's folders of training and test images are numbered alike). Hashing 60,000
    small files takes half a second, large ones go at 1 GB/s. A damaged cache file is replaced; one that can't be
    written is logged and skipped.

    Raises:
        AmcError: see :func:`decode`.
    """
    path = cache_dir / "images" / f"{_key(files, size)}.npy"
    cached = _read(path, len(files), size)
    if cached is not None:
        return cached
    pixels = decode(files, size, progress)
    try:
        with replacing(path) as temporary, temporary.open("wb") as out:
            np.save(out, pixels, allow_pickle=False)
    except OSError as error:
        log.warning("decoded images are not cached: %s can't be written (%s)", path, error.strerror)
    return pixels


def decode(files: Sequence[Path], size: int | None, progress: Progress | None = None) -> Pixels:
    """RGB pixels of every file, ``[n, 3, h, w]``.

    Args:
        files: in the order of the result.
        size: height and width. Above 64 pixels the shorter side is resized to 8/7 of it first (256 for 224), else to
            the size itself; then the centre is cut out. ``None``: as the files are, which must then all be equal.
        progress: called with (files decoded, files) now and then.

    Raises:
        AmcError: a file that is missing, no image, or of another size, by name.
    """
    height, width = (size, size) if size is not None else _load(files[0], None).shape[:2]
    _check_memory(len(files), height, width, size)
    pixels = np.empty((len(files), 3, height, width), dtype=np.uint8)

    def work(start: int) -> int:
        part = files[start : start + FILES_PER_TASK]
        for row, file in enumerate(part, start):
            image = _load(file, size)
            if image.shape[:2] != (height, width):
                raise _other_size(file, image.shape[:2], files[0], (height, width))
            pixels[row] = image.transpose(2, 0, 1)
        return len(part)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tasks = [pool.submit(work, start) for start in range(0, len(files), FILES_PER_TASK)]
        done = 0
        try:
            for task in as_completed(tasks):
                done += task.result()
                if progress is not None:
                    progress(done, len(files))
        finally:
            pool.shutdown(cancel_futures=True)
    return pixels


def _check_memory(n: int, height: int, width: int, size: int | None) -> None:
    """Refuses images that, all in memory and a batch of them as float32, take more memory than there is."""
    setting = f"{n} images of {width}×{height} pixels" if size is None else f"dataset.image_size={size}"
    require_memory(setting, 3 * height * width * (n + 4 * min(n, BATCH)), "give a smaller dataset.image_size, or fewer")


def check_size(pixels: Pixels, file: Path, like: Path) -> None:
    """Raises ``AmcError`` unless ``pixels``, the first of them ``file``, have the size of the image ``like``."""
    expected = _load(like, None).shape[:2]
    if pixels.shape[2:] != expected:
        raise _other_size(file, pixels.shape[2:], like, expected)


def _other_size(file: Path, size: tuple[int, ...], first: Path, expected: tuple[int, ...]) -> AmcError:
    return AmcError(
        f"image {file}: {size[1]}×{size[0]} pixels, {first} has {expected[1]}×{expected[0]}; give dataset.image_size"
    )


def _load(file: Path, size: int | None) -> Pixels:
    try:
        with Image.open(file) as image:
            mode = image.mode
            rgb = image.convert("RGB")
    except Exception as error:  # a damaged file may raise anything
        raise AmcError(f"image {file}: can't be read ({first_line(error)}); repair or remove it") from error
    if mode.startswith(DEEP):
        raise AmcError(f"image {file}: has more than 8 bits a colour (mode {mode}); convert it to 8 bits")
    if size is not None and rgb.size != (size, size):
        rgb = _resize_and_crop(rgb, size)
    return np.asarray(rgb)


def _resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    """Resize 256, centre crop 224, scaled to ``size``: how torchvision's ImageNet weights expect their images."""
    shorter = round(size * 8 / 7) if size > 64 else size
    scale = shorter / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def _key(files: Sequence[Path], size: int | None) -> str:
    def work(start: int) -> bytes:
        return b"".join(hashlib.sha256(_content(file)).digest() for file in files[start : start + FILES_PER_TASK])

    digest = hashlib.sha256(f"{CACHE_FORMAT} {size}".encode())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(work, range(0, len(files), FILES_PER_TASK)):
            digest.update(part)
    return digest.hexdigest()


def _content(file: Path) -> bytes:
    try:
        return read_bytes(file)
    except AmcError as error:
        raise AmcError(f"image {error}; repair or remove it") from error


def _read(path: Path, n: int, size: int | None) -> Pixels | None:
    """The cached array, or ``None`` if there is none that can be used."""
    try:
        pixels = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        log.warning("decoded images in %s are damaged and are decoded again", path)
        return None
    fits = pixels.dtype == np.uint8 and pixels.ndim == 4 and pixels.shape[:2] == (n, 3)
    if not fits or (size is not None and pixels.shape[2:] != (size, size)):
        return None
    return np.asarray(pixels)
