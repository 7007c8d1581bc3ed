from __future__ import annotations

from pathlib import Path

import pytest

from experiments.common.stats import p_value, publish, spread, table


def test_spread_is_mean_and_sample_deviation() -> None:
    assert spread([1, 3]) == "2.00 ± 1.41"  # √(((1 − 2)² + (3 − 2)²) / 1)
    assert spread([0.9, 0.9], 100) == "90.00 ± 0.00"
    assert spread(value for value in (0.5, 1.5, 2.5)) == "1.50 ± 1.00"


def test_spread_of_one_seed_has_no_deviation_and_of_none_is_empty() -> None:
    assert spread([0.1234], 100) == "12.34"
    assert spread([]) == ""


def test_spread_shows_the_sign_of_the_mean() -> None:
    assert spread([0.01, 0.03], 100, "+") == "+2.00 ± 1.41"
    assert spread([-0.01], 100, "+") == "-1.00"


def test_p_value_of_six_differences_to_one_side() -> None:
    assert p_value([1, 2, 3, 4, 5, 6]) == pytest.approx(2 / 2**6)  # all signs alike: 2 of 2⁶ outcomes


def test_p_value_of_symmetric_differences() -> None:
    assert p_value([-1.0, 1.5, -2.0, 2.5, -3.5, 3.0]) == pytest.approx(1)


def test_table_is_markdown() -> None:
    assert table(("agent", "seeds"), [("ddpg", 3), ("random", "")]) == (
        "| agent | seeds |\n|---|---|\n| ddpg | 3 |\n| random |  |\n"
    )


def test_publish_writes_and_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path / "results.md", "a table\n")
    assert (tmp_path / "results.md").read_text() == "a table\n"
    assert capsys.readouterr().out == "a table\n\n"
