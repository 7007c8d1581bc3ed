from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amc.analysis.curves import Curves
from amc.analysis.heuristics.hints import Hints, prior_of
from amc.core.files import read_json, write_json


def curves(*losses: float) -> Curves:
    """Groups of 10 channels whose loss is 1 uncut and ``losses`` with 5 channels."""
    return Curves(
        names=tuple("abc"[: len(losses)]),
        channels=(10,) * len(losses),
        keep_ratios=(0.5,),
        kept=np.full((len(losses), 1), 5),
        score=np.full((len(losses), 1), 0.5),
        loss=np.array(losses)[:, None],
        dense_score=0.9,
        dense_loss=1.0,
        images=100,
    )


def test_the_prior_is_a_half_for_the_median_group() -> None:
    # Increases 0.1, 0.2, 0.6, median 0.2: 0.1 / 0.3, 0.2 / 0.4, 0.6 / 0.8.
    assert prior_of(curves(1.1, 1.2, 1.6)) == pytest.approx({"a": 1 / 3, "b": 1 / 2, "c": 3 / 4})


def test_what_loses_nothing_has_no_prior() -> None:
    assert prior_of(curves(0.9, 1.0)) == {"a": 0.0, "b": 0.0}


def test_hints_come_back_from_a_file(tmp_path: Path) -> None:
    hints = Hints({"threshold": {"a": 3}}, {"a": 0.25}, 9, 1.5)
    write_json(tmp_path / "hints.json", hints.to_json())
    assert Hints(**read_json(tmp_path / "hints.json")) == hints
