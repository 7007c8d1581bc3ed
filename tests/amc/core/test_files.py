from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch

from amc.core.errors import AmcError
from amc.core.files import (
    cache_folder,
    plain,
    read_json,
    read_safetensors,
    read_torch,
    remove_leftovers,
    replacing,
    replacing_folder,
    write_bytes,
    write_json,
    write_safetensors,
    write_torch,
)

FullDisk = Callable[[int], AbstractContextManager[None]]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_bytes(tmp_path / "new" / "a", b"one")
    write_bytes(tmp_path / "new" / "a", b"two")
    assert (tmp_path / "new" / "a").read_bytes() == b"two"
    assert names(tmp_path / "new") == ["a"]


def test_an_error_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with contextlib.suppress(KeyboardInterrupt), replacing(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with replacing_folder(tmp_path / "new" / "a") as temporary:
            (temporary / content).mkdir()
            (temporary / content / "file").write_text(content)
    with contextlib.suppress(KeyboardInterrupt), replacing_folder(tmp_path / "new" / "a") as temporary:
        (temporary / "half").write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path / "new") == ["a"]
    assert names(tmp_path / "new" / "a") == ["two"]


def test_a_folder_in_a_files_place_keeps_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(OSError, match="a"), replacing_folder(tmp_path / "a"):
        pass
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_others_may_read_what_the_user_lets_them_read(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("AMC_CACHE", raising=False)
    assert cache_folder() == Path("/home/me/.cache/amc")
    monkeypatch.setenv("AMC_CACHE", "~/big")
    assert cache_folder() == Path("/home/me/big")
    assert cache_folder("/tmp/x") == Path("/tmp/x")


@pytest.mark.parametrize("write", [write_torch, write_safetensors])
def test_full_disk_keeps_the_old_file(tmp_path: Path, write, full_disk: FullDisk) -> None:
    path = tmp_path / "state"
    write(path, {"w": torch.ones(2)})
    before = path.read_bytes()
    with (
        full_disk(10_000),
        pytest.raises(AmcError, match=r"state: can't be written \(File too large\).*space"),
    ):
        write(path, {"w": torch.ones(100_000)})
    assert path.read_bytes() == before
    assert names(tmp_path) == ["state"]


def test_a_file_in_the_folders_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(AmcError, match=r"b: can't be written .*check the folder") as caught:
        write_bytes(tmp_path / "a" / "b", b"")
    assert "\n" not in str(caught.value)


def test_leftovers_of_killed_writers_go(tmp_path: Path) -> None:
    for name in (".state.pt.123.tmp", "state.pt", ".lock", "x.tmp"):
        (tmp_path / name).write_text("")
    (tmp_path / ".folder.new.123.tmp" / "inside").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".lock", "state.pt", "x.tmp"]


def test_a_writer_removes_what_a_killed_one_left_of_its_file(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    for name in (f".a.{gone.pid}.tmp", f".a.{os.getppid()}.tmp", f".b.{gone.pid}.tmp", ".a.mine.tmp"):
        (tmp_path / name).write_text("half")
    (tmp_path / f".a.new.{gone.pid}.tmp").mkdir()
    write_bytes(tmp_path / "a", b"whole")
    assert names(tmp_path) == sorted([f".a.{os.getppid()}.tmp", f".b.{gone.pid}.tmp", ".a.mine.tmp", "a"])


def test_plain() -> None:
    tree = {"a": (1, np.float64(0.5)), "b": MappingProxyType({"c": float("nan")}), "d": np.float32("inf"), 3: True}
    assert plain(tree) == {"a": [1, 0.5], "b": {"c": None}, "d": None, "3": True}


def test_json_round_trip_is_exact(tmp_path: Path) -> None:
    data = {"x": 0.1 + 0.2, "name": "3×3", "list": [1, None]}
    write_json(tmp_path / "a.json", data)
    assert read_json(tmp_path / "a.json") == data
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == data


def test_safetensors_takes_any_layout(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    write_safetensors(tmp_path / "a", {"w": weight.T, "same": weight.T})
    loaded = read_safetensors(tmp_path / "a")
    assert loaded["w"].tolist() == [[0, 3], [1, 4], [2, 5]] == loaded["same"].tolist()


@pytest.mark.parametrize("read", [read_json, read_torch, read_safetensors])
@pytest.mark.parametrize("content", [None, b"", b"\x80\x02 rubbish \xff", b"PK\x03\x04"])
def test_missing_and_damaged_files_are_one_line(tmp_path: Path, read, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "f").write_bytes(content)
    with pytest.raises(AmcError, match="f: can't be read" if content is None else "f: .*damaged") as caught:
        read(tmp_path / "f")
    assert "\n" not in str(caught.value)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('ran code from a file')",)


def test_loading_runs_no_code(tmp_path: Path) -> None:
    torch.save({"a": Bomb()}, tmp_path / "f")
    with pytest.raises(AmcError, match="can't be loaded"):
        read_torch(tmp_path / "f")


def test_a_cut_off_torch_file_is_refused(tmp_path: Path) -> None:
    write_torch(tmp_path / "f", {"w": torch.ones(1000)})
    content = (tmp_path / "f").read_bytes()
    for length in (1, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "f").write_bytes(content[:length])
        with pytest.raises(AmcError, match="damaged"):
            read_torch(tmp_path / "f")
