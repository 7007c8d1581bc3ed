"""Boxes from Pascal VOC's XML files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from amc.core.errors import AmcError, damaged
from amc.core.files import read_bytes
from amc.core.reading import MIB
from amc.data.parts import ROLES, Division, Rule, divide, given_folder, listing
from amc.data.readers.boxes import Boxed, as_boxes, boxed_splits
from amc.data.readers.common import ExampleSplits, Look, Work
from amc.data.sources import SUFFIXES

NAME = "voc"
LAYOUT = "It needs JPEGImages/ and Annotations/ with files of the same names; lists are in ImageSets/Main/."
XML_BYTES = 16 * MIB  # an image of a hundred objects has 40 KB
FORBIDDEN = ("<!DOCTYPE", "<!ENTITY")  # entities can grow without end, and name other files


@dataclass(frozen=True)
class Annotated:
    """What an annotation file says: boxes (x1, y1, x2, y2) in pixels, with the names of their classes."""

    file: Path
    image: Path
    boxes: tuple[tuple[float, float, float, float], ...]
    names: tuple[str, ...]


def read_voc(
    path: str | Path,
    rule: Rule | None = None,
    look: Look | None = None,
    difficult: bool = True,
    work: Work | None = None,
) -> ExampleSplits:
    """Reads ``JPEGImages/`` and ``Annotations/``, divided as ``ImageSets/Main/`` says if it is there.

    Classes are numbered from 1 in the order of their names. VOC counts pixels from 1, and both ends belong to a box:
    (xmin, ymin, xmax, ymax) becomes (xmin − 1, ymin − 1, xmax, ymax).

    Args:
        path: the folder that holds them, such as ``VOC2007``.
        rule: how examples are divided.
        look: how images are shown to the network, see :func:`amc.data.readers.boxes.boxed_splits`.
        difficult: whether boxes marked as difficult are kept.
        work: cache and progress.

    Raises:
        AmcError: a missing folder, an image without annotation or the other way round, damaged or forbidden XML, an
            image in two lists, or what division and decoding refuse.
    """
    folder = given_folder(path, NAME, LAYOUT)
    _check_folder(folder)
    found = {role: [_read(folder, stem, difficult) for stem in stems] for role, stems in _lists(folder).items()}
    classes = sorted({name for part in found.values() for one in part for name in one.names})
    numbers = {name: number for number, name in enumerate(classes, 1)}
    division = divide(found, rule or Rule())
    examples = {role: [_boxed(one, numbers) for one in division.examples[role]] for role in ROLES}
    whole = Division(examples, division.val_from, division.origins, division.parts)
    return boxed_splits(NAME, whole, classes, look or Look(), work or Work())


def _boxed(one: Annotated, numbers: Mapping[str, int]) -> Boxed:
    return Boxed(one.image, as_boxes(one.boxes), tuple(numbers[name] for name in one.names), one.file)


def _check_folder(folder: Path) -> None:
    for needed in ("JPEGImages", "Annotations"):
        if not (folder / needed).is_dir():
            inside = [path.name for path in listing(folder) if (path / "Annotations").is_dir()]
            hint = f" (there is one in {inside[0]}/: give dataset.path={folder / inside[0]})" if inside else ""
            raise AmcError(f"dataset.path={folder}: no folder {needed!r}{hint}. {LAYOUT}")


def _lists(folder: Path) -> Mapping[str, list[str]]:
    """Role → names of its images, from ``ImageSets/Main/``; all under ``train`` if there is none."""
    lists = folder / "ImageSets" / "Main"
    found = {role: _names(lists / f"{role}.txt") for role in ROLES if (lists / f"{role}.txt").is_file()}
    if "train" not in found and (lists / "trainval.txt").is_file():
        found["train"] = _names(lists / "trainval.txt")
        found.pop("val", None)  # its images are in trainval, too
    if not found:
        stems = [path.stem for path in listing(folder / "Annotations") if path.suffix.lower() == ".xml"]
        if not stems:
            raise AmcError(f"{folder / 'Annotations'}: no XML files. {LAYOUT}")
        return {"train": stems}
    seen: dict[str, str] = {}
    for role, stems in found.items():
        for stem in stems:
            if stem in seen:
                where = f"{seen[stem]}.txt and {role}.txt" if seen[stem] != role else f"{role}.txt twice"
                raise AmcError(f"{lists}: image {stem} is in {where}; each may be in one part, once")
            seen[stem] = role
    return found


def _names(file: Path) -> list[str]:
    """The first word of each line: lists of one class have a second, whether it is in the image."""
    try:
        lines = read_bytes(file, XML_BYTES).decode().splitlines()
    except ValueError as error:
        raise AmcError(f"{file}: is no UTF-8 text; give one image's name a line") from error
    stems = [line.split()[0] for line in lines if line.strip()]
    for stem in stems:
        if Path(stem).name != stem or stem in (".", ".."):
            raise AmcError(f"{file}: {stem!r} is no image's name; give names without folders and suffix")
    return stems


def _read(folder: Path, stem: str, difficult: bool) -> Annotated:
    file = folder / "Annotations" / f"{stem}.xml"
    images = folder / "JPEGImages"
    image = next((p for suffix in sorted(SUFFIXES) if (p := images / f"{stem}{suffix}").is_file()), None)
    if image is None:
        raise AmcError(f"annotation {file}: no image of this name in {images}; add it or remove the annotation")
    root = parse_xml(file)
    boxes, names = [], []
    with damaged(file, "no Pascal VOC annotation", "repair or remove it"):
        for entry in root.iter("object"):
            if not difficult and (entry.findtext("difficult") or "0").strip() == "1":
                continue
            box = entry.find("bndbox")
            name = (entry.findtext("name") or "").strip()
            if box is None or not name:
                raise ValueError("an object without name or bndbox")
            x1, y1, x2, y2 = (float(box.findtext(key) or "") for key in ("xmin", "ymin", "xmax", "ymax"))
            boxes.append((x1 - 1, y1 - 1, x2, y2))
            names.append(name)
        as_boxes(boxes)
    return Annotated(file, image, tuple(boxes), tuple(names))


def parse_xml(file: Path) -> ElementTree.Element:
    """The root of an XML file without a document type, so that nothing in it can grow or name other files.

    Raises:
        AmcError: it can't be read, is no UTF-8, declares a type or an entity, or is damaged.
    """
    try:
        # As text: what a file says of its own encoding could hide a declaration from the look at it.
        text = read_bytes(file, XML_BYTES).decode("utf-8-sig")
    except ValueError as error:
        raise AmcError(f"{file}: is no UTF-8 text; save it as such") from error
    if any(word in text for word in FORBIDDEN):
        raise AmcError(f"{file}: declares a document type or entities, which are not read; remove the declaration")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise AmcError(f"{file}: no valid XML ({error}); repair or remove it") from error
