"""Readers by name have the settings of conf/dataset, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from amc.core.errors import AmcError
from amc.data.readers import KINDS, NAMES, load_examples
from amc.data.readers.by_name import READERS
from tests.support.pictures import segmented

CONF = Path(__file__).resolve().parents[4] / "conf" / "dataset"


def settings_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    return found


@pytest.mark.parametrize("name", NAMES)
def test_conf_has_the_readers_settings(name: str) -> None:
    settings = settings_of(name)
    assert settings.pop("name") == name
    assert settings.pop("path") is None
    assert set(settings) == set(READERS[name][0])
    for key, value in settings.items():
        KINDS[key].check(f"dataset.{key}", value)


def test_conf_has_the_functions_defaults(tmp_path: Path) -> None:
    root = segmented(tmp_path / "data", {"train": 6, "test": 3})
    settings = settings_of("segmentation_folder") | {"path": root, "cache_dir": tmp_path / "cache"}
    plain = load_examples("segmentation_folder", root, cache_dir=tmp_path / "cache")
    assert load_examples(**settings).train.fingerprint() == plain.train.fingerprint()


@pytest.mark.parametrize("name", NAMES)
def test_every_reader_says_what_it_needs(name: str, tmp_path: Path) -> None:
    with pytest.raises(AmcError, match=rf"^dataset={name}: needs dataset.path=FOLDER.*\. It needs "):
        load_examples(name)
    with pytest.raises(AmcError, match=rf"^dataset.path={tmp_path}/no: no such folder.*\. It needs "):
        load_examples(name, tmp_path / "no")


def test_unknown_readers_are_refused() -> None:
    with pytest.raises(AmcError, match="dataset=vok: unknown; give one of segmentation_folder, voc"):
        load_examples("vok")


def test_any_examples_are_what_commands_take(tmp_path: Path) -> None:
    root = segmented(tmp_path / "data", {"train": 6, "test": 3})
    found = load_examples("segmentation_folder", root, cache_dir=tmp_path / "cache")
    splits = found.for_commands()
    assert (splits.train, splits.test, splits.origins) == (found.train, found.test, found.origins)
