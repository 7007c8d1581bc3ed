"""Boxes from COCO's JSON files of instances."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from amc.core.checks import number, text, whole
from amc.core.errors import AmcError, damaged
from amc.core.files import read_bytes
from amc.core.memory import require_memory
from amc.core.reading import parse_json
from amc.data.parts import Rule, divide, given_folder, listing, role_of
from amc.data.readers.boxes import Boxed, as_boxes, boxed_splits
from amc.data.readers.common import ExampleSplits, Look, Work

NAME = "coco"
LAYOUT = (
    "It needs a JSON file of instances for each part, such as annotations/instances_train2017.json with the images in "
    "train2017/, or one file whose images are divided."
)
TIMES = 30  # memory that parsed JSON takes, in sizes of its file
WORDS = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Instances:
    """A file of instances: names of the classes 1 … K, by ascending category id, and the images."""

    classes: Mapping[int, str]
    images: Sequence[Boxed]


def read_coco(
    path: str | Path, rule: Rule | None = None, look: Look | None = None, work: Work | None = None
) -> ExampleSplits:
    """Reads files of instances; images are looked for beside them.

    Category ids are mapped to 1 … K in ascending order. Boxes (x, y, width, height) become (x, y, x + width,
    y + height); crowds (``iscrowd``) are left out. Masks and key points are not read.

    Args:
        path: a folder whose JSON files (or those in ``annotations/``, or ``_annotations.coco.json`` in the folders of
            the parts) have ``train``, ``val`` or ``test`` in their names, or that has one such file; or that file.
        rule: how examples are divided.
        look: how images are shown to the network, see :func:`amc.data.readers.boxes.boxed_splits`.
        work: cache and progress.

    Raises:
        AmcError: no such file, damaged JSON, an image that isn't there or lies elsewhere, parts of other categories, an
            image in two parts, or what division and decoding refuse.
    """
    given = given_folder(path, NAME, LAYOUT, file=True)
    parts = {role: _read(file, given) for role, file in _files(given).items()}
    first = next(iter(parts.values())).classes
    for part in parts.values():
        if dict(part.classes) != dict(first):
            sources = " and ".join(str(p.images[0].source) for p in (next(iter(parts.values())), part) if p.images)
            raise AmcError(f"{sources}: categories differ; give all parts the same ids and names")
    _check_apart({role: part.images for role, part in parts.items()})
    division = divide({role: part.images for role, part in parts.items()}, rule or Rule())
    return boxed_splits(NAME, division, list(first.values()), look or Look(), work or Work())


def _check_apart(parts: Mapping[str, Sequence[Boxed]]) -> None:
    seen: dict[Path, str] = {}
    for role, images in parts.items():
        for one in images:
            if one.image in seen:
                raise AmcError(f"image {one.image}: is in {seen[one.image]} and in {role}, or twice; leave one")
            seen[one.image] = role


def _files(given: Path) -> Mapping[str, Path]:
    """Role → its JSON file; a sole file is ``train``."""
    if given.is_file():
        return {"train": given}
    folders = [given, given / "annotations", *(p for p in listing(given) if p.is_dir() and role_of(p.name))]
    files = [p for folder in folders if folder.is_dir() for p in listing(folder) if p.suffix.lower() == ".json"]
    found: dict[str, Path] = {}
    for file in files:
        own = file.stem if role_of(file.parent.name) is None else file.parent.name
        roles = {role for word in WORDS.findall(own.lower()) if (role := role_of(word))}
        if "keypoints" in own or "captions" in own or len(roles) != 1:
            continue
        (role,) = roles
        if role in found:
            raise AmcError(f"dataset.path={given}: both {found[role].name} and {file.name} are for {role}; leave one")
        found[role] = file
    if not found and len(files) == 1:
        return {"train": files[0]}
    if not found:
        raise AmcError(f"dataset.path={given}: no JSON file with train, val or test in its name. {LAYOUT}")
    return found


def _read(file: Path, given: Path) -> Instances:
    content = read_bytes(file)
    require_memory(str(file), TIMES * len(content), "give a file of fewer images")
    try:
        data = parse_json(content)
    except ValueError as error:
        raise AmcError(f"{file}: no valid JSON ({error}); the file is damaged") from error
    with damaged(file, "no COCO instances", "it needs images, annotations and categories"):
        classes = {whole(entry["id"]): text(entry["name"]) for entry in data["categories"]}
        numbers = {key: place for place, key in enumerate(sorted(classes), 1)}
        names = {whole(entry["id"]): text(entry["file_name"]) for entry in data["images"]}
        boxes: dict[int, list[tuple[list[float], int]]] = {key: [] for key in names}
        for entry in data["annotations"]:
            if not entry.get("iscrowd", 0):
                boxes[whole(entry["image_id"])].append((_corners(entry["bbox"]), numbers[entry["category_id"]]))
    places = _places(file, given)
    images = [
        Boxed(_image(name, places, file), as_boxes([b for b, _ in boxes[key]]), tuple(n for _, n in boxes[key]), file)
        for key, name in names.items()
    ]
    if not images:
        raise AmcError(f"{file}: has no images; {LAYOUT}")
    return Instances({numbers[key]: classes[key] for key in sorted(classes)}, images)


def _corners(box: Any) -> list[float]:
    """(x, y, width, height) → (x1, y1, x2, y2)."""
    x, y, width, height = (number(value, -1e9, 1e9) for value in box)
    return [x, y, x + width, y + height]


def _places(file: Path, given: Path) -> list[Path]:
    """Folders in which the images of ``file`` may lie."""
    root = given if given.is_dir() else given.parent
    tops = [file.parent, root] if file.parent.name != "annotations" else [file.parent.parent, root]
    names = [file.stem, file.stem.removeprefix("instances_")]
    found = [top / name for top in tops for name in names]
    found += [top / "images" / name for top in tops for name in names]
    found += [folder for top in tops for folder in (top / "images", top)]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def _image(name: str, places: Sequence[Path], file: Path) -> Path:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\\" in name or "\0" in name:
        raise AmcError(f"{file}: the image {name!r} lies outside its folder; give names relative to it")
    for place in places:
        if (place / relative).is_file():
            return place / relative
    raise AmcError(f"{file}: image {name!r} is in none of {', '.join(map(str, places))}; put it there")
