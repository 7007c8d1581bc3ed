from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from amc.core.errors import AmcError
from amc.data.decode import as_images, decode
from amc.data.form import Form, statistics
from tests.support.pictures import picture

SIDES = st.integers(1, 300)


@given(width=SIDES, height=SIDES, high=SIDES, wide=SIDES, fit=st.sampled_from(("crop", "pad", "stretch")))
def test_every_image_fills_or_lies_in_the_frame(width: int, height: int, high: int, wide: int, fit: str) -> None:
    place = Form((high, wide), fit).place(width, height)
    framed = place.image(Image.new("L", (width, height), 9), Image.Resampling.NEAREST, 0)
    assert framed.size == (wide, high)
    pixels = np.asarray(framed)
    if fit == "pad":
        assert pixels[0, 0] == 9
        assert (pixels == 9).any(0).all() or (pixels == 9).any(1).all()
    else:
        assert (pixels == 9).all()


def test_boxes_go_with_their_image() -> None:
    boxes = np.array([[10, 20, 30, 40]], dtype=np.float32)
    # 100×50 into a frame of 40×40: × 0.4 when padded, × (0.4, 0.8) when stretched, × 0.8 minus (80 − 40) / 2 cropped
    for fit, expected in (("pad", [4, 8, 12, 16]), ("stretch", [4, 16, 12, 32]), ("crop", [-12, 16, 4, 32])):
        np.testing.assert_allclose(Form((40, 40), fit).place(100, 50).boxes(boxes), [expected], atol=1e-5)


def test_crops_as_torchvisions_weights_expect() -> None:
    place = Form((224, 224)).place(500, 400)  # the shorter side to 256, then the centre
    assert (place.resized, place.left, place.top) == ((320, 256), 48, 16)
    assert Form((32, 64)).place(64, 64).resized == (64, 64)  # small frames lose nothing of the side that fits


def test_square_colour_forms_keep_their_names_in_the_cache() -> None:
    assert [Form().key, Form((224, 224)).key] == ["None", "224"]
    others = [Form(channels=1), Form((2, 3)), Form((2, 2), "pad"), Form((2, 2), channels=1), Form((2, 2), "stretch")]
    assert len({form.key for form in others} | {"None", "2"}) == 7


def test_a_border_is_zero_after_normalisation(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png", 255, (8, 4))
    pixels = decode([file], Form((8, 8), "pad"))
    assert (pixels[0, :, :4] == 255).all()
    mean, std = statistics(None, None, 3)
    border = (pixels[0, :, 4:].astype(float) / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    assert np.abs(border).max() < 0.01


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    values = np.array([[0, 13107], [52428, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    pixels = decode([tmp_path / "a.png"], Form(channels=1))
    assert pixels.dtype == np.uint16
    assert (pixels[0, 0] == values).all()
    images, mean, _ = as_images(pixels, (0.2,), (0.4,))
    # (0 − 0.2) / 0.4 = −0.5; 13107 / 65535 = 0.2; (0.8 − 0.2) / 0.4 = 1.5; (1 − 0.2) / 0.4 = 2
    np.testing.assert_allclose(images[0, 0], [[-0.5, 0], [1.5, 2]], atol=1e-6)
    assert mean is None
    assert decode([tmp_path / "a.png"], Form((4, 4), channels=1)).max() > 60000


def test_depths_are_not_mixed(tmp_path: Path) -> None:
    files = [picture(tmp_path / "a.png", 1, mode="L"), picture(tmp_path / "b.png", 1, mode="I;16")]
    with pytest.raises(AmcError, match=r"b.png: has 16 bits a pixel, .*a.png has 8 bits"):
        decode(files, Form(channels=1))
    with pytest.raises(AmcError, match=r"or give dataset.channels=1"):
        decode(files[1:], Form())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": [3]}, r"dataset.image_size=\[3\]: give a list of 2, such as dataset.image_size=\[96,128\]"),
        ({"image_size": [3, 0]}, "dataset.image_size=0: give a whole number in"),
        ({"fit": "squeeze"}, "dataset.fit=squeeze: unknown"),
        ({"channels": 2}, "dataset.channels=2: give 3 for colour, or 1 for grey"),
        ({"channels": True}, "dataset.channels=true"),
    ],
)
def test_wrong_forms_are_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(AmcError, match=message):
        Form.of(**settings)  # type: ignore[arg-type]
