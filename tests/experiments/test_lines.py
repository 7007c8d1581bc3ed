from __future__ import annotations

from pathlib import Path

from experiments.common.lines import grouped, merge, read_lines, write_lines


def test_numbers_come_back_as_numbers_and_empty_cells_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    write_lines(file, [{"agent": "ddpg", "seed": 1}, {"agent": "", "seed": 2, "top1": 0.5}])
    assert file.read_text() == "agent,seed,top1\nddpg,1,\n,2,0.5\n"
    assert read_lines(file) == [{"agent": "ddpg", "seed": 1}, {"seed": 2, "top1": 0.5}]
    assert read_lines(file, keys=["agent"])[1] == {"agent": "", "seed": 2, "top1": 0.5}


def test_a_missing_file_has_no_lines(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "none.csv") == []


def test_only_the_columns_are_written(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.csv", [{"a": 1, "b": 2}], ("b", "c"))
    assert (tmp_path / "a.csv").read_text() == "b,c\n2,\n"


def test_merge_replaces_lines_of_the_same_name_keeps_the_others_and_sorts(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    merge(file, ("seed", "top1"), ("seed",), [{"seed": 2, "top1": 0.2}, {"seed": 1, "top1": 0.1}])
    lines = merge(file, ("seed", "top1"), ("seed",), [{"seed": 2, "top1": 0.3}, {"seed": 0, "top1": 0.0}])
    assert lines == [{"seed": 0, "top1": 0.0}, {"seed": 1, "top1": 0.1}, {"seed": 2, "top1": 0.3}]
    assert read_lines(file) == lines


def test_several_lines_of_one_name_are_replaced_together(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    merge(file, ("run", "step"), ("run",), [{"run": "a", "step": 1}, {"run": "a", "step": 2}])
    assert merge(file, ("run", "step"), ("run",), [{"run": "a", "step": 3}]) == [{"run": "a", "step": 3}]


def test_grouped_keeps_the_order_of_coming() -> None:
    lines = [{"a": 2, "b": 0}, {"a": 1, "b": 0}, {"a": 2, "b": 1}]
    assert list(grouped(lines, "a").items()) == [(2, [lines[0], lines[2]]), (1, [lines[1]])]
    assert list(grouped(lines, "a", "b")) == [(2, 0), (1, 0), (2, 1)]
