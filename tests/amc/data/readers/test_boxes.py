from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from amc.core.errors import AmcError
from amc.data.readers import ExampleSplits, load_examples
from tests.support.pictures import picture

VOC_OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult>"
    "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)
# Of image v: a cat over the whole 20×10 pixels, and a dog of v + 1 pixels a side in the corner.
COUNTS = {"train": 6, "val": 2, "test": 3}


def voc_folder(root: Path, lists: bool = True) -> Path:
    value = 0
    for part, count in COUNTS.items():
        for _ in range(count):
            picture(root / "JPEGImages" / f"{value:03}.png", value, (20, 10))
            objects = VOC_OBJECT.format("cat", 0, 1, 1, 20, 10) + VOC_OBJECT.format("dog", 1, 1, 1, value + 1, 1.0)
            (root / "Annotations").mkdir(exist_ok=True)
            (root / "Annotations" / f"{value:03}.xml").write_text(f"<annotation>{objects}</annotation>")
            if lists:
                (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
                with (root / "ImageSets" / "Main" / f"{part}.txt").open("a") as out:
                    out.write(f"{value:03}  1\n")
            value += 1
    return root


def coco_data(values: list[int]) -> dict[str, Any]:
    return {
        "images": [{"id": 10 + v, "file_name": f"{v}.png"} for v in values],
        "categories": [{"id": 90, "name": "dog"}, {"id": 7, "name": "cat"}],
        "annotations": [
            entry
            for v in values
            for entry in (
                {"image_id": 10 + v, "category_id": 7, "bbox": [0, 0, 20, 10], "iscrowd": 0},
                {"image_id": 10 + v, "category_id": 90, "bbox": [0, 0, v + 1, 1]},
                {"image_id": 10 + v, "category_id": 90, "bbox": [0, 0, 5, 5], "iscrowd": 1},
            )
        ],
    }


def coco_folder(root: Path) -> Path:
    value = 0
    (root / "annotations").mkdir(parents=True)
    for part, count in COUNTS.items():
        values = list(range(value, value + count))
        for v in values:
            picture(root / f"{part}2017" / f"{v}.png", v, (20, 10))
        (root / "annotations" / f"instances_{part}2017.json").write_text(json.dumps(coco_data(values)))
        (root / "annotations" / f"captions_{part}2017.json").write_text("{}")
        value += count
    return root


MAKERS: dict[str, Callable[[Path], Path]] = {"voc": voc_folder, "coco": coco_folder}


def load(name: str, root: Path, **settings: Any) -> ExampleSplits:
    return load_examples(name, root, cache_dir=root.parent / "cache", **settings)


@pytest.mark.parametrize("name", MAKERS)
def test_boxes_belong_to_their_images(tmp_path: Path, name: str) -> None:
    found = load(name, MAKERS[name](tmp_path / "data"))
    assert (found.classes, found.num_classes, found.val_from) == (("cat", "dog"), 3, "val")  # 0 is the background
    assert [len(part) for part in (found.train, found.val, found.test)] == [6, 2, 3]
    for part in (found.train, found.val, found.test):
        images: Any = part.raw
        for image, target in zip(images, part.answers, strict=True):  # type: ignore[arg-type]
            value = float(image[0, 0, 0])
            assert target["labels"].tolist() == [1, 2]
            assert target["labels"].dtype == torch.int64
            assert target["boxes"].dtype == torch.float32
            assert target["boxes"].tolist() == [[0, 0, 20, 10], [0, 0, value + 1, 1]]


@pytest.mark.parametrize("name", MAKERS)
def test_images_are_in_0_to_1_for_detectors(tmp_path: Path, name: str) -> None:
    found = load(name, MAKERS[name](tmp_path / "data"))
    pixels: Any = found.train.normalised()
    assert torch.allclose(pixels, found.train.raw.float() / 255)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(("fit", "box"), [("pad", [0, 0, 40, 20]), ("stretch", [0, 0, 40, 40])])
def test_boxes_are_resized_with_their_images(tmp_path: Path, name: str, fit: str, box: list[float]) -> None:
    found = load(name, MAKERS[name](tmp_path / "data"), image_size=40, fit=fit)
    assert found.train.what == "3×40×40 uint8"
    assert found.train.answers[0]["boxes"][0].tolist() == box  # type: ignore[index]


def test_voc_without_lists_is_divided_by_a_seed(tmp_path: Path) -> None:
    found = load("voc", voc_folder(tmp_path / "data", lists=False))
    assert [len(part) for part in (found.train, found.val, found.test)] == [7, 2, 2]
    assert found.val_from == "all"


def test_difficult_boxes_may_be_left_out(tmp_path: Path) -> None:
    found = load("voc", voc_folder(tmp_path / "data"), difficult=False)
    assert found.num_classes == 2
    assert {tuple(target["labels"].tolist()) for target in found.train.answers} == {(1,)}  # type: ignore[union-attr]


def test_boxes_are_clipped_and_empty_ones_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = voc_folder(tmp_path / "data")
    objects = VOC_OBJECT.format("cat", 0, -4, 3, 99, 5) + VOC_OBJECT.format("cat", 0, 30, 1, 40, 10)
    (root / "Annotations" / "000.xml").write_text(f"<annotation>{objects}</annotation>")
    (root / "Annotations" / "001.xml").write_text("<annotation></annotation>")
    found = load("voc", root)
    boxes = {len(t["boxes"]): t["boxes"] for t in found.train.answers}  # type: ignore[union-attr]
    assert boxes[1].tolist() == [[0, 2, 20, 5]]
    assert boxes[0].shape == (0, 4)
    assert "1 boxes without area inside their images are left out" in caplog.text


def test_a_file_of_instances_alone_is_divided(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for value in range(10):
        picture(root / "images" / f"{value}.png", value, (20, 10))
    (root / "instances.json").write_text(json.dumps(coco_data(list(range(10)))))
    for path in (root, root / "instances.json"):
        found = load("coco", path)
        assert [len(part) for part in (found.train, found.val, found.test)] == [6, 2, 2]


def xml(text: str) -> Callable[[Path], None]:
    def harm(root: Path) -> None:
        (root / "Annotations" / "003.xml").write_bytes(text.encode("utf-16" if "UTF-16" in text else "utf-8"))

    return harm


def in_two_lists(root: Path) -> None:
    with (root / "ImageSets" / "Main" / "test.txt").open("a") as out:
        out.write("000\n")


def named_outside(root: Path) -> None:
    (root / "ImageSets" / "Main" / "val.txt").write_text("../000\n")


def no_picture(root: Path) -> None:
    (root / "JPEGImages" / "003.png").unlink()


def no_annotation(root: Path) -> None:
    (root / "Annotations" / "003.xml").unlink()


BILLION = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><annotation>&d;</annotation>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;</annotation>'


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (xml(BILLION), "003.xml: declares a document type or entities, which are not read"),
        (xml(OUTSIDE), "003.xml: declares a document type"),
        (xml('<?xml version="1.0" encoding="UTF-16"?><annotation/>'), "003.xml: is no UTF-8 text"),
        (xml("<annotation>"), "003.xml: no valid XML"),
        (xml("<annotation>&b;</annotation>"), "003.xml: no valid XML"),
        (xml(f"<annotation>{VOC_OBJECT.format('', 0, 1, 1, 2, 2)}</annotation>"), "an object without name or bndbox"),
        (xml(f"<annotation>{VOC_OBJECT.format('a', 0, 'x', 1, 2, 2)}</annotation>"), "003.xml: no Pascal VOC anno"),
        (xml(f"<annotation>{VOC_OBJECT.format('a', 0, 'nan', 1, 2, 2)}</annotation>"), "NaN or infinite"),
        (in_two_lists, "image 000 is in train.txt and test.txt"),
        (named_outside, "val.txt: '../000' is no image's name"),
        (no_picture, "003.xml: no image of this name"),
        (no_annotation, "003.xml: can't be read"),
    ],
)
def test_wrong_voc_is_one_line(tmp_path: Path, harm: Callable[[Path], None], message: str) -> None:
    root = voc_folder(tmp_path / "data")
    harm(root)
    with pytest.raises(AmcError, match=message) as caught:
        load("voc", root)
    assert "\n" not in str(caught.value)


def test_an_encoding_cant_hide_a_declaration(tmp_path: Path) -> None:
    """In UTF-7 or EBCDIC the letters of DOCTYPE would be other bytes; files are read as UTF-8 whatever they say."""
    root = voc_folder(tmp_path / "data")
    hidden = b'<?xml version="1.0" encoding="cp037"?>' + BILLION[21:].encode("cp037")
    (root / "Annotations" / "003.xml").write_bytes(hidden)
    with pytest.raises(AmcError, match=r"003.xml: (is no UTF-8 text|no valid XML)"):
        load("voc", root)


def changed(change: Callable[[dict[str, Any]], object], part: str = "val") -> Callable[[Path], None]:
    def harm(root: Path) -> None:
        file = root / "annotations" / f"instances_{part}2017.json"
        data = json.loads(file.read_text())
        change(data)
        file.write_text(json.dumps(data))

    return harm


def cut_short(root: Path) -> None:
    file = root / "annotations" / "instances_val2017.json"
    file.write_bytes(file.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut_short, "instances_val2017.json: no valid JSON"),
        (changed(lambda d: d.pop("categories")), "val2017.json: no COCO instances .*'categories'"),
        (changed(lambda d: d["categories"].pop()), "val2017.json: no COCO instances"),
        (changed(lambda d: d["categories"][0].update(name="eel")), "val2017.json: categories differ"),
        (changed(lambda d: d["images"][0].update(file_name="../secret.png")), "lies outside its folder"),
        (changed(lambda d: d["images"][0].update(file_name="/secret.png")), "lies outside its folder"),
        (changed(lambda d: d["images"][0].update(file_name="gone.png")), "image 'gone.png' is in none of"),
        (changed(lambda d: d["images"][0].update(file_name="7.png")), "image .*7.png: is in val and in val, or twice"),
        (changed(lambda d: d["annotations"][0].update(bbox=[0, 0, 1])), "no COCO instances"),
        (changed(lambda d: d["annotations"][0].update(bbox=[0, 0, 1, 1e300])), "no COCO instances"),
        (changed(lambda d: d["annotations"][0].update(image_id=999)), "no COCO instances"),
    ],
)
def test_wrong_coco_is_one_line(tmp_path: Path, harm: Callable[[Path], None], message: str) -> None:
    root = coco_folder(tmp_path / "data")
    harm(root)
    with pytest.raises(AmcError, match=message) as caught:
        load("coco", root)
    assert "\n" not in str(caught.value)


def test_a_crop_would_lose_boxes(tmp_path: Path) -> None:
    with pytest.raises(AmcError, match=r"dataset.fit=crop: would cut boxes off"):
        load("voc", voc_folder(tmp_path / "data"), fit="crop", image_size=5)


def test_the_right_folder_is_named(tmp_path: Path) -> None:
    voc_folder(tmp_path / "data" / "VOC2007")
    with pytest.raises(AmcError, match=r"no folder 'JPEGImages' .there is one in VOC2007/: give dataset.path="):
        load("voc", tmp_path / "data")


def test_bccd(shared: Path, tmp_path: Path) -> None:
    """Real boxes: 364 images of blood cells."""
    import zipfile

    archive = shared / "data" / "bccd.zip"
    if not archive.is_file():
        pytest.skip("no bccd.zip in shared/data")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    found = load("voc", tmp_path / "bccd" / "BCCD", image_size=[60, 80])
    assert [len(part) for part in (found.train, found.val, found.test)] == [205, 87, 72]
    assert found.classes == ("Platelets", "RBC", "WBC")
    boxes = torch.cat([target["boxes"] for target in found.train.answers])  # type: ignore[union-attr]
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 80
    assert boxes[:, 3].max() <= 60
