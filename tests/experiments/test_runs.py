from __future__ import annotations

from pathlib import Path

import pytest

from amc.core.errors import AmcError
from experiments.common.runs import finished, name_and_seed, scores, summary_of


def test_runs_without_a_summary_are_not_finished(tmp_path: Path) -> None:
    for name in ("b-seed0", "a-seed1", "a-seed0"):
        (tmp_path / name).mkdir()
    for name in ("b-seed0", "a-seed1"):
        (tmp_path / name / "summary.json").write_text('{"seed": 0}')
    assert finished(tmp_path) == [tmp_path / "a-seed1", tmp_path / "b-seed0"]
    assert finished(tmp_path, "b-*") == [tmp_path / "b-seed0"]
    assert summary_of(tmp_path / "b-seed0") == {"seed": 0}
    with pytest.raises(AmcError, match="a-seed0"):
        summary_of(tmp_path / "a-seed0")


def test_a_name_may_have_dashes() -> None:
    assert name_and_seed(Path("runs/random-clip-seed12")) == ("random-clip", 12)


def test_costs_are_fractions_of_the_uncut_network() -> None:
    uncut = {"macs": 200, "params": 50}
    found = {"macs": 100, "params": 20, "val": {"accuracy": 0.8}, "test": {"accuracy": 0.7}}
    assert scores(uncut, found) == {
        "val_accuracy": 0.8, "test_accuracy": 0.7, "macs_ratio": 0.5, "params_ratio": 0.4,
    }  # fmt: skip
