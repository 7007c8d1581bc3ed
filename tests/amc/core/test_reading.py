from __future__ import annotations

import os
from pathlib import Path

import pytest

from amc.core.errors import AmcError, damaged
from amc.core.files import parse_torch, read_bytes, read_json, torch_bytes
from amc.core.reading import DEPTH, parse_json, read_end, read_regular


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[" * 100_000, "nested more than 50 deep"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "nested more than 50 deep"),
        (b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1), "nested more than 50 deep"),
        (b'{"a": 1, "a": 2}', "the key 'a' is there twice"),
        (b"[NaN]", "no finite number"),
        (b"-Infinity", "no finite number"),
        (b"1e999", "no finite number"),
        (b"9" * 10_000, "limit"),
        (b'"\\ud800"', "surrogates"),
        (b"\xff\xfe", "decode"),
        (b"{", "property name"),
        (b"", "Expecting value"),
    ],
)
def test_json_that_could_do_harm_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_json(content)


def test_all_other_json_is_read() -> None:
    assert parse_json('{"é": [1, 2.5, true, null, "x", {}], "n": -3}'.encode()) == {
        "é": [1, 2.5, True, None, "x", {}], "n": -3,
    }  # fmt: skip
    assert parse_json(b"[" * (DEPTH - 1) + b"7" + b"]" * (DEPTH - 1)) is not None
    assert parse_json(b"7") == 7


def not_files(folder: Path) -> dict[str, Path]:
    os.mkfifo(folder / "pipe")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "loop").symlink_to("loop")
    with (folder / "large").open("wb") as file:
        file.truncate(1 << 43)  # takes no disk
    return {name: folder / name for name in ("pipe", "zero", "loop", "large")} | {"folder": folder}


def test_only_regular_files_of_some_size_are_read(tmp_path: Path) -> None:
    says = {
        "pipe": "a device or pipe",
        "zero": "a device or pipe",
        "loop": "oo many",
        "folder": "a folder",
        "large": "GiB",
    }
    for name, path in not_files(tmp_path).items():
        with pytest.raises(AmcError, match=says[name]):
            read_bytes(path)
        with pytest.raises(AmcError, match="can't be read"):
            read_json(path)
    with pytest.raises(AmcError, match="can't be read"):
        read_json("a\0b")
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 5) == b"12345"
    assert read_end(tmp_path / "link", 2) == b"45"
    assert read_end(tmp_path / "link", 99) == b"12345"
    with pytest.raises(OSError, match="more than the 0 allowed"):
        read_regular(tmp_path / "link", 4)


def test_a_kernel_file_that_claims_no_size_is_limited() -> None:
    with pytest.raises(OSError, match="allowed"):
        read_regular("/proc/self/smaps", 10)


def test_tensors_that_claim_more_than_they_have_are_refused() -> None:
    import torch

    huge = torch.zeros(1).expand(10**12)
    with pytest.raises(AmcError, match="claims more values"):
        parse_torch("x", torch_bytes({"a": [huge]}))
    whole = {"a": [torch.arange(6).reshape(2, 3).T, (1, 2.5, None, "x")]}
    assert torch.equal(parse_torch("x", torch_bytes(whole))["a"][0], whole["a"][0])


def test_an_archive_that_unpacks_to_more_is_refused(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10**7)
    with pytest.raises(AmcError, match="claims more bytes"):
        parse_torch("bomb", (tmp_path / "bomb").read_bytes())


def test_what_a_file_gives_cannot_break_the_line() -> None:
    assert str(AmcError("a\nb\x1b[31m é …")) == "a\\nb\\x1b[31m é …"
    with pytest.raises(AmcError, match=r"^x\.json: no table \(KeyError\('a'\)\); the file is damaged$"):  # noqa: SIM117
        with damaged("x.json", "no table"):
            _ = {}["a"]
