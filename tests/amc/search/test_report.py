"""A search leaves a report, and a report that can't be drawn takes nothing from the search."""

from __future__ import annotations

from pathlib import Path

import pytest

from amc.reporting.html import report as module
from amc.search.joint import Task, search_jointly
from amc.tracking.group_facts import read_groups
from tests.support.own import OwnNet, run
from tests.support.small import QUICK, equal_layers, images


def test_a_search_leaves_its_report(trained: OwnNet, tmp_path: Path) -> None:
    result = run(trained, run_dir=tmp_path / "run")
    text = (tmp_path / "run" / "report.html").read_text()
    assert "<h1>OwnNet: search</h1>" in text
    assert str(tmp_path) not in text
    facts = read_groups(tmp_path / "run" / "groups.json")
    assert (facts.macs, facts.params) == (result.baseline.cost.macs, result.baseline.cost.params)
    assert [(g.name, g.channels) for g in facts.groups] == [(g.name, g.channels) for g in result.groups]


def test_a_failure_to_draw_loses_nothing(
    trained: OwnNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(run: object) -> str:
        raise KeyError("a column")

    monkeypatch.setattr(module, "report_page", fail)
    result = run(trained, run_dir=tmp_path / "run")
    assert len(result.episodes) == 5
    assert (tmp_path / "run" / "summary.json").is_file()
    assert (tmp_path / "run" / "pruned" / "model.json").is_file()
    assert not (tmp_path / "run" / "report.html").exists()
    assert "the report is not drawn" in caplog.text


def test_a_joint_search_leaves_one_for_each_network_and_one_for_all(tmp_path: Path) -> None:
    tasks = [
        Task.make(name, equal_layers(layers), images(64, 0), images(32, 1))
        for name, layers in (("two", 2), ("three", 3))
    ]
    search_jointly(tasks, episodes=2, settings=QUICK, run_dir=tmp_path / "run", verbose=False)
    assert "<h1>two, three: search</h1>" in (tmp_path / "run" / "report.html").read_text()
    for name in ("two", "three"):
        assert f"<h1>{name}: " in (tmp_path / "run" / "networks" / name / "report.html").read_text()
