"""Who may have a folder: the one rule for a second run where there is one already.

Three things can be found: something finished, which is refused; a checkpoint, which the run goes on from; neither,
because the run was killed before it got anywhere, which is replaced.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from amc.core.errors import AmcError
from amc.core.files import plain, read_json, remove_leftovers, write_error
from amc.tracking.seal import CHECKPOINT, check_sealed

CONFIG = "config.json"
EPISODES = "episodes.csv"
FINISHED = ("summary.json", "train.json")  # written last
# A folder with one of these holds a run; Hydra's own files and a lock alone do not count.
TRACES = (*FINISHED, CONFIG, EPISODES, CHECKPOINT, "plan.json", "pruned/model.json")
RESUMABLE = ("search", "finetune", "sensitivity")  # commands that go on from a checkpoint
COMMANDS = (*RESUMABLE, "transfer", "train")
WRITTEN_TO = ("", CHECKPOINT, "policy", "pruned")  # in which a killed run can leave temporary files


def claim(folder: Path, results: Collection[str] = (), same: Mapping[str, Any] | None = None) -> bool:
    """Makes room for a new run in a locked folder, or finds the one that is to go on.

    Args:
        folder: locked by this process.
        results: further files that the run is going to write and must not find.
        same: the resolved configuration: a killed run that was started with exactly this one is gone on with.

    Returns:
        Whether a killed run is to go on from its checkpoint.

    Raises:
        AmcError: the folder holds what must not be lost, or a killed run's files can't be removed.
    """
    found = [name for name in (*TRACES, *results) if (folder / name).exists()]
    if not found:
        return False
    command = _killed(folder)
    if command is None:
        raise AmcError(f"{folder}: holds a run already ({found[0]}); give another folder by {_ways_on(folder)}")
    goes_on = command in RESUMABLE and _has_checkpoint(folder)
    if goes_on:
        _require_same(folder, same)
    else:
        _remove(folder, found)
    clean(folder)
    return goes_on


def clean(folder: Path) -> None:
    """Removes the temporary files of a killed run; the folder is locked."""
    for name in WRITTEN_TO:
        remove_leftovers(folder / name)


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration that a run was started with. Raises ``AmcError`` if the file is missing, damaged or altered."""
    check_sealed(folder, CONFIG)
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise AmcError(f"{folder / CONFIG}: holds no configuration; the file is damaged")
    return config


def difference(folder: Path, config: Mapping[str, Any], ignore: Collection[str] = ()) -> str | None:
    """The first setting in which a run was started with another value than now, in words; ``None`` if there is none.

    Args:
        folder: of the run.
        config: the resolved configuration of this process.
        ignore: dotted keys that may differ, with everything below them (``"verbose"``, ``"dataset.root"``).
    """
    before, now = _flat(read_config(folder)), _flat(plain(config))
    for key in [*before, *(key for key in now if key not in before)]:
        if any(key == name or key.startswith(f"{name}.") for name in ignore):
            continue
        if before.get(key, "not set") != now.get(key, "not set"):
            return f"started with {key}={_show(before, key)}, now it is {_show(now, key)}"
    return None


def _killed(folder: Path) -> str | None:
    """The command whose run was stopped before its end; ``None`` if it ended, or the files are of no known run."""
    if any((folder / name).exists() for name in FINISHED):
        return None
    try:
        command = read_config(folder).get("command")
    except AmcError:
        return None
    return command if command in COMMANDS else None


def _require_same(folder: Path, same: Mapping[str, Any] | None) -> None:
    other = None if same is None else difference(folder, same)
    if same is None or other is not None:
        why = "" if other is None else f"; it was {other}"
        raise AmcError(
            f"{folder}: holds a run that was stopped{why}; go on with it by resume={folder}, or give another folder by "
            "hydra.run.dir="
        )


def _has_checkpoint(folder: Path) -> bool:
    inside = folder / CHECKPOINT
    return inside.is_dir() and any(not file.name.startswith(".") for file in inside.iterdir())


def _ways_on(folder: Path) -> str:
    try:
        command = read_config(folder).get("command")
    except AmcError:
        command = None
    alone = command in COMMANDS and command not in RESUMABLE
    return "hydra.run.dir=" if alone else f"hydra.run.dir=, or go on with a search by resume={folder}"


def _remove(folder: Path, names: Sequence[str]) -> None:
    """Removes what a killed run left, the configuration last: killed meanwhile, it is still known for what it is."""
    try:
        for name in sorted(names, key=lambda name: name == CONFIG):
            if name == CHECKPOINT:
                remove_leftovers(folder / name)
                (folder / name).rmdir()
            else:
                (folder / name).unlink()
    except OSError as error:
        raise write_error(folder, error) from error


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _show(flat: Mapping[str, Any], key: str) -> str:
    return repr(flat[key]) if key in flat else "not set"
