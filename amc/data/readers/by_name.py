"""Readers by name, with their settings as on the command line: ``dataset=NAME dataset.path=…``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from amc.core.checks import one_of, refuse_unknown
from amc.core.values import Flag, Kind, Text, check_all
from amc.data.decode import Progress
from amc.data.form import KINDS as LOOKS
from amc.data.parts import KINDS as RULES
from amc.data.parts import Rule
from amc.data.readers import arrays, coco, huggingface, segmentation, tables, texts, voc
from amc.data.readers.arrays import Named, read_npz
from amc.data.readers.coco import read_coco
from amc.data.readers.common import ExampleSplits, Look, Work
from amc.data.readers.huggingface import read_hf_images, read_hf_segmentation, read_hf_text
from amc.data.readers.segmentation import Masks, read_segmentation
from amc.data.readers.tables import Columns, read_table
from amc.data.readers.texts import read_text
from amc.data.readers.voc import read_voc

Settings = Mapping[str, Any]
T = TypeVar("T")
KINDS: dict[str, Kind] = {
    "path": Text(also=(None,), what="a folder or file"),
    **RULES,
    **LOOKS,
    **segmentation.KINDS,
    "difficult": Flag(),
    **texts.KINDS,
    **arrays.KINDS,
    **tables.KINDS,
    **huggingface.KINDS,
}


def load_examples(
    name: str,
    path: str | Path | None = None,
    *,
    imported_weights: bool = False,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> ExampleSplits:
    """Loads a data set of :data:`NAMES` into memory, with settings as on the command line.

    Args:
        name: which reader.
        path: the folder or file that it reads.
        imported_weights: whether the weights to be judged were trained elsewhere, see
            :class:`amc.data.parts.Rule`.
        cache_dir: see :func:`amc.core.files.cache_folder`.
        progress: called with (files decoded, files) while image files are read.
        **settings: of the reader, see ``conf/dataset/NAME.yaml``; default: as there.

    Raises:
        AmcError: an unknown name or setting, a value that can't be, or what the reader refuses.
    """
    one_of("dataset", name, NAMES)
    own, reader = READERS[name]
    refuse_unknown("dataset", settings, own)
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}
    check_all("dataset", settings, KINDS)
    rule = _made(Rule, {**settings, "imported_weights": imported_weights})
    found: ExampleSplits = reader(path, rule, settings, Work(cache_dir, progress))
    return found


def _made(kind: Callable[..., T], settings: Settings) -> T:
    """A dataclass of those settings that it has."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{key: value for key, value in settings.items() if key in known})


def _look(settings: Settings) -> Look:
    size = settings.get("image_size")
    more = {} if size is None or isinstance(size, int) else {"image_size": tuple(size)}
    return _made(Look, {**settings, **more})


def _some(settings: Settings, **names: str) -> dict[str, Any]:
    """Arguments by settings of other names, of those that were given."""
    return {argument: settings[key] for argument, key in names.items() if key in settings}


def _hf_segmentation(path: Any, rule: Rule, settings: Settings, work: Work) -> ExampleSplits:
    columns = settings.get("image_column", "image"), settings.get("mask_column", "mask")
    return read_hf_segmentation(path, rule, _look(settings), _made(Masks, settings), work, columns)


def _hf_images(path: Any, rule: Rule, settings: Settings, work: Work) -> ExampleSplits:
    columns = _some(settings, image="image_column", label="label_column")
    return read_hf_images(path, rule, _look({"fit": "crop", **settings}), work=work, **columns)


def _hf_text(path: Any, rule: Rule, settings: Settings, _: Work) -> ExampleSplits:
    more = _some(settings, length="length", column="text_column")
    return read_hf_text(path, settings.get("tokenizer"), rule=rule, **more)


def _text(path: Any, rule: Rule, settings: Settings, _: Work) -> ExampleSplits:
    more = _some(settings, length="length", boundary="boundary")
    return read_text(path, settings.get("tokenizer"), rule=rule, **more)


_IMAGES = tuple(LOOKS)
_TOKENS = ("tokenizer", "length")
# Name → the settings it has beside path and those of the rule, and the function.
_OWN: dict[str, tuple[tuple[str, ...], Callable[[Any, Rule, Settings, Work], ExampleSplits]]] = {
    segmentation.NAME: (
        (*_IMAGES, *segmentation.KINDS),
        lambda path, rule, s, work: read_segmentation(path, rule, _look(s), _made(Masks, s), work),
    ),
    voc.NAME: (
        (*_IMAGES, "difficult"),
        lambda path, rule, s, work: read_voc(path, rule, _look(s), s.get("difficult", True), work),
    ),
    coco.NAME: (_IMAGES, lambda path, rule, s, work: read_coco(path, rule, _look(s), work)),
    texts.NAME: ((*_TOKENS, "boundary"), _text),
    tables.NAME: (tuple(tables.KINDS), lambda path, rule, s, work: read_table(path, _made(Columns, s), rule)),
    arrays.NAME: (
        (*arrays.KINDS, "mean", "std"),
        lambda path, rule, s, work: read_npz(path, _made(Named, s), rule),
    ),
    huggingface.IMAGES: ((*_IMAGES, "image_column", "label_column"), _hf_images),
    huggingface.MASKS: ((*_IMAGES, *segmentation.KINDS, "image_column", "mask_column"), _hf_segmentation),
    huggingface.TEXTS: ((*_TOKENS, "text_column"), _hf_text),
}
READERS = {name: ((*RULES, *own), reader) for name, (own, reader) in _OWN.items()}
NAMES = tuple(READERS)
