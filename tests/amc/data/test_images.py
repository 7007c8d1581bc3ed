from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from amc.core.errors import AmcError
from amc.data import ImageSet

PIXELS = torch.tensor([[[[0, 255]]], [[[51, 102]]], [[[255, 255]]]], dtype=torch.uint8)  # [3, 1, 1, 2]
LABELS = torch.tensor([0, 1, 1])


def test_normalises_by_arithmetic() -> None:
    images = ImageSet(PIXELS, LABELS, 2, mean=(0.2,), std=(0.4,))
    # (0/255 − 0.2) / 0.4 = −0.5, (255/255 − 0.2) / 0.4 = 2, (51/255 − 0.2) / 0.4 = 0, (102/255 − 0.2) / 0.4 = 0.5
    expected = torch.tensor([[[[-0.5, 2.0]]], [[[0.0, 0.5]]], [[[2.0, 2.0]]]])
    torch.testing.assert_close(images.normalised(), expected)


def test_float_images_are_taken_as_they_are() -> None:
    raw = torch.randn(3, 2, 4, 4)
    assert torch.equal(ImageSet(raw, LABELS, 2, mean=(9.0,), std=(9.0,)).normalised(), raw)


def test_batches_cover_everything_in_order() -> None:
    images = ImageSet(PIXELS, LABELS, 2)
    batches = list(images.batches(2, torch.bfloat16))
    assert [len(y) for _, y in batches] == [2, 1]
    assert torch.equal(torch.cat([y for _, y in batches]), LABELS)
    assert {x.dtype for x, _ in batches} == {torch.bfloat16}
    assert torch.equal(torch.cat([x for x, _ in batches]), images.normalised(torch.bfloat16))


def test_batches_are_channels_last_when_asked() -> None:
    images = ImageSet(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), LABELS[:2], 2)
    for wanted in (True, False):
        x, _ = next(images.batches(2, channels_last=wanted))
        assert x.is_contiguous(memory_format=torch.channels_last) is wanted


def test_take_is_a_prefix() -> None:
    images = ImageSet(PIXELS, LABELS, 2)
    assert torch.equal(images.take(2).images, PIXELS[:2])
    assert images.take(99) is images is images.take(None)
    assert (len(images), images.shape) == (3, (1, 1, 2))


def test_loader_gives_all_images_with_their_labels() -> None:
    raw = torch.arange(10.0).view(10, 1, 1, 1).expand(10, 1, 2, 2)
    images = ImageSet.from_loader(DataLoader(TensorDataset(raw, torch.arange(10) % 5), batch_size=3))
    values = images.images[:, 0, 0, 0]
    assert sorted(values.tolist()) == list(range(10))
    assert values.tolist() != list(range(10))  # mixed, so that a prefix holds all classes
    assert torch.equal(values.long() % 5, images.labels)
    assert images.num_classes == 5


def test_fingerprint_tells_sets_apart() -> None:
    images = ImageSet(PIXELS, LABELS, 2)
    assert images.fingerprint() == ImageSet(PIXELS.clone(), LABELS.clone(), 2).fingerprint()
    others = [
        ImageSet(PIXELS.flip(0), LABELS, 2),
        ImageSet(PIXELS, LABELS.flip(0), 2),
        ImageSet(PIXELS, LABELS, 3),
        ImageSet(PIXELS, LABELS, 2, mean=(0.5,)),
    ]
    assert images.fingerprint() not in {other.fingerprint() for other in others}


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (PIXELS[:0], LABELS[:0], "the set is empty"),
        (torch.tensor([0.0, float("nan")]).view(2, 1, 1, 1), LABELS[:2], "image 1 holds NaN"),
        (PIXELS[0], LABELS[:1], r"give \[n, c, h, w\]"),
        (PIXELS, LABELS[:2], "one int64 class index per image"),
        (PIXELS, LABELS + 1, "1 … 2 for 2 classes"),
    ],
)
def test_wrong_images_are_one_line(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(AmcError, match=message) as caught:
        ImageSet(images, labels, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], "the set is empty"),
        ([torch.zeros(2)], "must yield"),
        ([(torch.zeros(1, 1, 2, 2), LABELS[:1]), (torch.zeros(1, 1, 3, 3), LABELS[:1])], "several shapes"),
    ],
)
def test_wrong_loaders_are_one_line(loader: list[object], message: str) -> None:
    with pytest.raises(AmcError, match=message):
        ImageSet.from_loader(loader)  # type: ignore[arg-type]
