from __future__ import annotations

import json
from html import unescape
from pathlib import Path
from typing import Any

import plotly.graph_objects

from amc.reporting.html import read_run, write_comparison
from amc.reporting.html.compare import by_seed, labels
from tests.support.run_folders import search_folder


def charts(page: str) -> dict[str, dict[str, Any]]:
    data = page.partition('id="charts">')[2].partition("</script>")[0]
    return {chart["name"]: chart for chart in json.loads(data)}


def cells(page: str, title: str) -> list[list[str]]:
    table = page.partition(f"<h2>{title}</h2>")[2].partition("</table>")[0]
    rows = [row.split("<td")[1:] for row in table.split("<tr>")[2:]]
    return [[unescape(cell.partition(">")[2].partition("<")[0]) for cell in row] for row in rows]


def set_accuracy(folder: Path, accuracy: float) -> Path:
    summary = json.loads((folder / "summary.json").read_text())
    summary["best"]["val"]["accuracy"] = accuracy
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_runs_are_named_by_what_they_differ_in(tmp_path: Path) -> None:
    runs = [read_run(search_folder(tmp_path / str(seed), seed=seed)) for seed in (0, 1)]
    assert labels(runs) == ["seed 0", "seed 1"]
    transfer = read_run(search_folder(tmp_path / "transfer", finished=False, command="transfer"))
    assert labels([runs[0], transfer]) == ["0", "transfer"]
    again = [read_run(search_folder(tmp_path / name)) for name in ("a", "b")]
    assert labels(again) == ["a", "b"]
    assert labels([again[0], again[0]]) == ["a #1", "a #2"]


def test_seeds_are_averaged_where_nothing_else_differs(tmp_path: Path) -> None:
    folders = [
        set_accuracy(search_folder(tmp_path / "s0", seed=0), 0.70),
        set_accuracy(search_folder(tmp_path / "s1", seed=1), 0.80),
        search_folder(tmp_path / "other", seed=2, curves=True),
    ]
    runs = [read_run(folder) for folder in folders]
    assert [[run.name for run in family] for family in by_seed(runs)] == [["s0", "s1"], ["other"]]
    page = write_comparison(folders, tmp_path / "page.html").read_text()
    results = cells(page, "Results")
    assert [row[:3] for row in results] == [
        ["seed 0", "95.00%", "70.00%"], ["seed 1", "95.00%", "80.00%"], ["seed 2", "95.00%", "80.00%"],
    ]  # fmt: skip
    averaged = cells(page, "Mean and standard deviation over seeds")
    assert averaged[0][1:4] == ["2", "95.00% ± 0.00%", "75.00% ± 7.07%"]  # 10 points / √2
    assert averaged[1][1:4] == ["1", "95.00%", "80.00%"]


def test_figures_have_a_trace_for_each_run(tmp_path: Path) -> None:
    folders = [search_folder(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    found = charts(write_comparison(folders, tmp_path / "page.html").read_text())
    assert list(found) == ["rewards", "scatters", "plans0"]
    assert [trace["name"] for trace in found["rewards"]["data"]] == ["seed 0", "seed 1"]
    assert [trace["x"] for trace in found["plans0"]["data"]] == [[0.5, 0.5, 1.0]] * 2
    fronts = [trace["x"] for trace in found["scatters"]["data"] if trace["mode"] == "lines+markers"]
    assert fronts == [[0.4], [0.4]]
    for chart in found.values():
        plotly.graph_objects.Figure(chart["data"], chart["layout"])


def test_plans_of_other_groups_are_apart(tmp_path: Path) -> None:
    folders = [
        search_folder(tmp_path / "a"), search_folder(tmp_path / "b", names=("x", "y"), finished=False),
    ]  # fmt: skip
    page = write_comparison(folders, tmp_path / "page.html").read_text()
    assert [len(charts(page)[name]["data"]) for name in ("plans0", "plans1")] == [1, 1]
    assert cells(page, "Results")[1][-1] == "not finished"


def test_networks_of_one_run_are_compared_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        search_folder(tmp_path / "run" / "networks" / name)
    page = write_comparison([tmp_path / "run", search_folder(tmp_path / "c")], tmp_path / "page.html").read_text()
    assert [row[0] for row in cells(page, "Results")] == ["run/a", "run/b", "c"]
