"""The list of learned policies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from amc.core.errors import AmcError
from amc.policies.__main__ import main
from amc.policies.listing import find_policies
from tests.support.small import saved_policy

TRAINED = {"models": ["resnet20"], "dataset": "digits", "accuracy": {"resnet20": {"best": 0.9125, "uncut": 0.95}}}


def policy(folder: Path, age: int, **entries: Any) -> None:
    """A policy in ``folder`` that is ``age`` seconds old, with further entries in its JSON."""
    file = saved_policy(folder) / "policy.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))
    os.utime(file, (1_000_000_000 - age,) * 2)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    policy(tmp_path / "runs" / "old" / "policy", 30, trained_on=TRAINED)
    policy(tmp_path / "runs" / "deep" / "er" / "policy", 20)
    policy(tmp_path / "runs" / "new" / "policy", 10)
    return tmp_path / "runs"


def test_the_newest_first(runs: Path) -> None:
    found = find_policies(runs)
    assert [str(entry.folder.relative_to(runs)) for entry in found] == ["new/policy", "deep/er/policy", "old/policy"]
    assert all(entry.policy is not None and entry.policy.hidden == (4, 4) for entry in found)


def test_only_what_was_learned_here(runs: Path) -> None:
    (runs / "uniform" / "policy").mkdir(parents=True)
    (runs / "uniform" / "policy" / "policy.json").write_text('{"format": 2, "agent": "uniform"}')
    policy(runs / "new" / "start", 0)  # the copy that a search started from
    assert len(find_policies(runs)) == 3


def test_damaged_ones_are_listed_with_the_reason(runs: Path) -> None:
    (runs / "new" / "policy" / "policy.safetensors").write_bytes(b"short")
    policy(runs / "deep" / "er" / "policy", 20, trained_on={"accuracy": {"resnet20": {"best": "x"}}})
    (runs / "old" / "policy" / "policy.json").write_text("{")
    problems = {entry.folder.parent.name: entry.problem for entry in find_policies(runs) if entry.policy is None}
    assert "cut off or altered" in problems["new"]
    assert "'trained_on' or the budget can't be read" in problems["er"]
    assert "not JSON" in problems["old"]


def test_the_table(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "new" / "policy" / "policy.safetensors").unlink()
    main([])
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if "old/policy" in line)
    for text in ("ddpg", "portable 1", "resnet20 (digits)", "macs 0.5, clip", "91.25 / 95.00 %"):
        assert text in row
    assert "damaged" in next(line for line in lines if "new/policy" in line)


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tmp_path)])
    assert "no learned policies" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["a", "b"], "unrecognized arguments: b; python -m amc.policies --help"),
    ],
)
def test_wrong_input(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {says}")
    assert error.count("\n") == 1
    with pytest.raises(AmcError, match="no such folder"):
        find_policies("nowhere")
