"""Damage to files, drawn by hypothesis: bytes, JSON values, cells of a table, and things that are no files."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 0.5, -0.5, 1e300, 10**6, 20_000_000, 10**12, 10**30, 10**400, "", "x", "../x",
    "/dev/zero", "canary.run", "torch.hub.load", "os.system", "torchvision.models.get_model", "amc.models.build.build",
    "${oc.env:HOME}", "???", "a\nb", "\x1b[31m", "é", "auto", [], {}, [1], ["x"], [None], {"a": 1}, [[[[1]]]],
    {"_target_": "canary.run"}, [10**9] * 3, list(range(300)),
)  # fmt: skip
CELLS = ("", "x", "-0.5", "2", "nan", "inf", "-inf", "1e400", "9" * 5000, "٣", "1_0", "0x1", "0.25", "1", '"', "a\nb")


def tampered(draw: Any, folder: Path, names: list[str]) -> str:
    """Damages one of the files in ``folder``; returns its name and what was done."""
    name = draw(st.sampled_from(names))
    path = folder / name
    kinds = ["bytes", "kind"] + (
        ["json"] * 4 if path.suffix == ".json" else ["csv"] * 4 if path.suffix == ".csv" else []
    )
    kind = draw(st.sampled_from(kinds))
    done = {"bytes": _bytes, "kind": _kind, "json": _json, "csv": _csv}[kind](draw, path)
    return f"{name}: {done}"


def _bytes(draw: Any, path: Path) -> str:
    content = bytearray(path.read_bytes())
    what = draw(st.sampled_from(["flip", "flip", "cut", "insert", "empty", "nested", "append"]))
    place = draw(st.integers(0, max(len(content) - 1, 0)))
    if what == "flip":
        for offset in range(draw(st.sampled_from([1, 1, 4]))):
            content[(place + offset) % len(content)] ^= draw(st.integers(1, 255))
    elif what == "cut":
        del content[place:]
    elif what == "insert":
        content[place:place] = draw(st.binary(min_size=1, max_size=9))
    elif what == "empty":
        content = bytearray()
    elif what == "nested":
        content = bytearray(draw(st.sampled_from([b"[", b'{"a":'])) * draw(st.sampled_from([60, 3000, 100_000])))
    else:
        content += draw(st.sampled_from([b"\0" * 100, b"x", b"\n\n1,2", b"{}"]))
    path.write_bytes(bytes(content))
    return f"{what} at {place}"


def _kind(draw: Any, path: Path) -> str:
    what = draw(st.sampled_from(["none", "folder", "zero", "pipe", "dangling", "loop", "large"]))
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "zero":
        path.symlink_to("/dev/zero")
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "dangling":
        path.symlink_to("nowhere")
    elif what == "loop":
        path.symlink_to(path.name)
    elif what == "large":
        with path.open("wb") as file:
            file.truncate(1 << 40)  # takes no disk
    return what


def _json(draw: Any, path: Path) -> str:
    data = json.loads(path.read_text())
    places = list(_places(data, ()))
    place = draw(st.sampled_from(places))
    parent, key = _parent(data, place)
    what = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "deep", "nudge"]))
    old = parent[key]
    if what == "remove":
        del parent[key]
    elif what == "add" and isinstance(old, dict):
        old[draw(st.sampled_from(["x", "_target_", "weights", "a=b", "a.b", "seed", "name"]))] = draw(_value())
    elif what == "deep":
        nested: Any = old
        for _ in range(draw(st.sampled_from([5, 100, 400]))):
            nested = [nested] if draw(st.booleans()) else {"a": nested}
        parent[key] = nested
    elif what == "nudge" and type(old) in (int, float):
        parent[key] = old * draw(st.sampled_from([-1, 2, 10**6, 0])) + draw(st.sampled_from([0, 1, 0.5]))
    else:
        parent[key] = draw(_value())
    path.write_text(json.dumps(data, allow_nan=True))
    now = str(parent.get(key))[:80] if isinstance(parent, dict) else ""
    return f"{what} {'.'.join(map(str, place))}: {now}"


def _value() -> st.SearchStrategy[Any]:
    return st.sampled_from(VALUES) | st.floats() | st.integers() | st.text(max_size=4)


def _places(data: Any, at: tuple[Any, ...]) -> Any:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*at, key)
        yield from _places(value, (*at, key))


def _parent(data: Any, place: tuple[Any, ...]) -> tuple[Any, Any]:
    for key in place[:-1]:
        data = data[key]
    return data, place[-1]


def _csv(draw: Any, path: Path) -> str:
    rows = list(csv.reader(io.StringIO(path.read_text())))
    row = draw(st.integers(0, len(rows) - 1))
    column = draw(st.integers(0, len(rows[row]) - 1))
    what = draw(st.sampled_from(["cell", "cell", "cell", "digit", "row", "column", "twice", "short"]))
    if what == "cell":
        rows[row][column] = draw(st.sampled_from(CELLS))
    elif what == "digit":
        rows[row][column] = rows[row][column][:-1] + draw(st.sampled_from("0123456789"))
    elif what == "row":
        del rows[row]
    elif what == "column":
        rows = [r[:column] + r[column + 1 :] for r in rows]
    elif what == "twice":
        rows.insert(row, list(rows[row]))
    else:
        rows[row] = rows[row][:column]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    path.write_text(buffer.getvalue())
    return f"{what} row {row}, column {column}"


def fresh(source: Path, target: Path) -> Path:
    """``target`` as a new copy of ``source``, whatever was there."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    return Path(shutil.copytree(source, target))
