"""Paths on the command line: what a file system allows arrives as it is."""

from __future__ import annotations

from pathlib import Path

import hydra
import pytest

from amc.cli.paths import KEYS, literal, path_of, with_quotes
from amc.core.conf import config_folder

NAMES = [
    "a=b", "a,b", "a b", "it's", 'say "x"', "{x}", "{", "$HOME", "é∀", "a\\b", "a\\", "x\\'y", "(p)", "[l]", "a:b",
    "#h", "~t", "50%", "a;b", "7", "true", "null ", "*", "@p", "!e", "a  b", "a'", "-x",
]  # fmt: skip
IN_QUOTES = ["'both'", '"both"', "${seed}", "a${x", "\\${seed}", "'", "''"]  # as they are only if there is such a file


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def arrived(name: str) -> set[str]:
    """What becomes of a path: in the configuration, as run folder, and read before there is a configuration."""
    given = with_quotes([f"model.checkpoint={name}", f"++hydra.run.dir={name}"], sweep=False)
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        config = hydra.compose("search", given, return_hydra_config=True)
    return {str(config.model.checkpoint), str(config.hydra.run.dir), str(path_of("model.checkpoint", given))}


@pytest.mark.parametrize("name", NAMES)
def test_any_name(name: str) -> None:
    assert arrived(name) == {name}


@pytest.mark.parametrize("name", [*IN_QUOTES, "a/b=c"])
def test_any_name_of_a_file_that_is_there(name: str) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).touch()
    assert arrived(name) == {name}


@pytest.mark.parametrize(("name", "path"), [("'a b'", "a b"), ('"a,b"', "a,b")])
def test_quotes_that_are_there_already(name: str, path: str) -> None:
    assert arrived(name) == {path}


def test_every_key_and_none() -> None:
    assert with_quotes([f"{key}=a=b" for key in KEYS], sweep=False) == [f"{key}='a=b'" for key in KEYS]
    others = ["plan=null", "plan=", "seed=1", "~plan", "model.name=a=b"]
    assert with_quotes(others, sweep=False) == others
    assert path_of("plan", ["plan=null"]) is None
    assert path_of("plan", ["seed=1"]) is None
    assert path_of("plan", ["plan='a'", "++plan='b'"]) == "b"


def test_a_comma_separates_jobs() -> None:
    assert with_quotes(["policy=a,b", "policy=a b"], sweep=True) == ["policy=a,b", "policy='a b'"]
    Path("a,b").touch()
    assert with_quotes(["policy=a,b"], sweep=True) == ["policy='a,b'"]


def test_what_looks_like_a_reference_in_stored_data() -> None:
    assert literal({"a": ["${b}", 1, None], "c": "d"}) == {"a": ["\\${b}", 1, None], "c": "d"}
