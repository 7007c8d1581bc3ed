from __future__ import annotations

import pytest
import torch

from amc.core.errors import AmcError
from amc.training.augment import augment

SIZE = 8


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dots(count: int = 200) -> torch.Tensor:
    """Images with one bright pixel at (4, 2) and a channel index in another value; [n, 3, 8, 8]."""
    images = torch.zeros(count, 3, SIZE, SIZE, dtype=torch.uint8)
    images[:, :, 4, 2] = torch.tensor([10, 20, 30], dtype=torch.uint8)
    return images


def places(images: torch.Tensor) -> set[tuple[int, int]]:
    return {(int(r), int(c)) for _, r, c in images[:, 0].nonzero()}


def test_none_changes_nothing() -> None:
    images = dots()
    assert augment(images, "none", generator()) is images


def test_shift_moves_by_up_to_an_eighth_in_every_direction() -> None:
    moved = augment(dots(), "shift", generator())
    assert places(moved) == {(r, c) for r in (3, 4, 5) for c in (1, 2, 3)}
    assert (moved.shape, moved.dtype) == ((200, 3, SIZE, SIZE), torch.uint8)


def test_channels_and_images_stay_together() -> None:
    images = dots()
    images[7] = 0
    moved = augment(images, "flip_shift", generator())
    assert moved.amax((2, 3)).tolist() == images.amax((2, 3)).tolist()
    r, c = (moved[0, 0] == 10).nonzero()[0]
    assert moved[0, :, r, c].tolist() == [10, 20, 30]


def test_flip_mirrors_about_half() -> None:
    moved = augment(dots(), "flip_shift", generator())
    # Column 2 moves to 1 … 3; mirrored it is column 5 and moves to 4 … 6.
    assert {c for _, c in places(moved)} == {1, 2, 3, 4, 5, 6}
    mirrored = int((moved[:, 0].nonzero()[:, 2] >= 4).sum())
    assert 70 <= mirrored <= 130


def test_what_moves_in_is_zero() -> None:
    white = torch.full((50, 1, SIZE, SIZE), 255, dtype=torch.uint8)
    moved = augment(white, "shift", generator())
    assert set(moved.unique().tolist()) == {0, 255}
    assert {int((image == 0).sum()) for image in moved} == {0, 8, 15}  # nothing, one edge, an edge in each direction


def test_same_seed_same_images() -> None:
    images = torch.rand(10, 3, SIZE, SIZE)
    first = augment(images, "flip_shift", generator(1))
    assert torch.equal(first, augment(images, "flip_shift", generator(1)))
    assert not torch.equal(first, augment(images, "flip_shift", generator(2)))


def test_unknown_name_is_one_line() -> None:
    with pytest.raises(AmcError, match=r"training\.augment=rotate"):
        augment(dots(1), "rotate", generator())
