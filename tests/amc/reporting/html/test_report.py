"""The page of a run: what is read, what is drawn, and that nothing in a run folder can do harm."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects
import pytest

from amc.core.errors import AmcError
from amc.reporting.html import leave_report, read_run, report_page, write_report
from amc.reporting.html.page import as_script
from tests.support.run_folders import search_folder


class Page(HTMLParser):
    """The elements of a page with their attributes, the text of its scripts, and what is to be read."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._in: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._in = None

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self._in != "style":
            self.text += data

    def charts(self) -> dict[str, dict[str, Any]]:
        (found,) = (text for attributes, text in self.scripts if attributes.get("id") == "charts")
        return {chart["name"].partition("-")[2]: chart for chart in json.loads(found)}


def page_of(folder: Path) -> Page:
    return Page(report_page(read_run(folder)))


def test_a_finished_search_has_everything(tmp_path: Path) -> None:
    page = page_of(search_folder(tmp_path / "run"))
    assert list(page.charts()) == ["plan", "curves", "heat", "progress", "scatter", "seconds"]
    assert "79.00%" in page.text
    assert "dense 94.00%, -15.00 points" in page.text
    assert "× 0.400" in page.text  # 400 of 1,000 MACs
    assert "Not finished" not in page.text


def test_every_figure_is_plotlys(tmp_path: Path) -> None:
    for groups in (True, False):
        for chart in page_of(search_folder(tmp_path / str(groups), groups=groups)).charts().values():
            plotly.graph_objects.Figure(chart["data"], chart["layout"])  # refuses what it doesn't know
            for choice in (choice for row in chart["choices"].values() for choice in row):
                figure = plotly.graph_objects.Figure(chart["data"], chart["layout"])
                figure.update_layout({key.replace(".", "_"): value for key, value in choice["relayout"].items()})
                places = choice["traces"] or range(len(figure.data))
                for key, values in choice["restyle"].items():
                    for place, value in zip(places, values, strict=True):
                        figure.data[place].update({key.replace(".", "_"): value})


def test_pointing_at_a_bar_tells_all_that_is_known(tmp_path: Path) -> None:
    bars = page_of(search_folder(tmp_path / "run")).charts()["plan"]["data"][1]
    assert bars["x"] == [0.5, 0.5, 1.0]
    assert bars["hovertext"][0] == (
        "<b>layer1.conv1</b><br>conv3x3, residual stream<br>4 of 8 channels kept (50%)<br>"
        "60.0 % of the dense MACs (600)<br>30.0 % of its parameters (30)"
    )
    assert bars["hovertext"][2].endswith("can't be pruned: the network's output")


def test_colours_are_switched_between_kind_and_depth(tmp_path: Path) -> None:
    charts = page_of(search_folder(tmp_path / "run")).charts()
    assert [choice["label"] for choice in charts["plan"]["choices"]["colour"]] == ["by kind", "by depth"]
    labels = [choice["label"] for choice in charts["curves"]["choices"]["colour"]]
    assert labels == ["by depth", "by kind", "mean of each kind"]
    by_kind = charts["curves"]["choices"]["colour"][1]["restyle"]
    assert by_kind["line.color"] == ["#D55E00", "#0072B2"]
    assert by_kind["legendgroup"] == ["3×3 convolution", "1×1 convolution"]


def test_the_heat_map_has_a_row_for_each_group(tmp_path: Path) -> None:
    cells = page_of(search_folder(tmp_path / "run")).charts()["heat"]["data"][0]
    assert (cells["y"], cells["x"]) == (["layer1.conv1", "layer2.conv1"], [0, 1, 2])
    assert cells["z"] == [[0.5, 0.5, 0.5], [1.0, 0.5, 0.25]]


def test_the_front_leaves_out_what_racing_stopped_early(tmp_path: Path) -> None:
    data = {trace["name"]: trace for trace in page_of(search_folder(tmp_path / "run")).charts()["scatter"]["data"]}
    # MACs 0.4 at 80 % beats 0.5 at 70 %; 0.45 at 90 % is an estimate from half of the images
    assert (data["Pareto front"]["x"], data["Pareto front"]["y"]) == ([0.4], [0.8])
    assert (data["stopped early: an estimate"]["x"], data["stopped early: an estimate"]["y"]) == ([0.45], [0.9])
    assert data["best plan"]["x"] == [0.4]


def test_the_best_reward_so_far_counts_what_can_be_the_result(tmp_path: Path) -> None:
    data = {trace["name"]: trace for trace in page_of(search_folder(tmp_path / "run")).charts()["progress"]["data"]}
    assert data["reward"]["y"] == [0.7, 0.8, 0.9]
    assert data["best reward so far"]["y"] == [0.7, 0.8, 0.8]


def test_a_run_of_an_earlier_version_shows_what_it_knows(tmp_path: Path) -> None:
    page = page_of(search_folder(tmp_path / "run", groups=False))
    assert "without the layers' kinds" in page.text
    plan = page.charts()["plan"]
    assert plan["data"][1]["hovertext"][0] == "<b>layer1.conv1</b><br>4 of 8 channels kept (50%)"
    assert list(plan["choices"]) == ["length"]
    assert page.charts()["curves"]["choices"] == {}


def test_a_run_that_is_not_finished_shows_the_best_so_far(tmp_path: Path) -> None:
    page = page_of(search_folder(tmp_path / "run", finished=False, episodes=400))
    assert "Not finished: 3 of 400 episodes so far" in page.text
    # the episodes' parts: 3 × (0.1, 0.2, 0.3, 0.1)
    seconds = page.charts()["seconds"]["data"][0]
    assert dict(zip(seconds["y"], seconds["x"], strict=True)) == {
        "forward": 0.9, "recovery": 0.6, "cut": 0.3, "agent": 0.3,
    }  # fmt: skip


def test_a_run_over_several_networks_has_each_and_a_page_of_each(tmp_path: Path) -> None:
    for name in ("b", "a"):
        search_folder(tmp_path / "run" / "networks" / name, command="joint")
        summary = tmp_path / "run" / "networks" / name / "summary.json"
        summary.write_text(json.dumps({**json.loads(summary.read_text()), "model": name}))
    (tmp_path / "run" / "config.json").write_text(json.dumps({"command": "search", "agent": "ddpg"}))
    (tmp_path / "run" / "summary.json").write_text(json.dumps({"models": ["b", "a"], "wall_seconds": 9.0}))
    assert write_report(tmp_path / "run") == tmp_path / "run" / "report.html"
    text = (tmp_path / "run" / "report.html").read_text()
    assert re.findall("<h2>([ab])</h2>", text) == ["b", "a"]  # in the run's order
    assert text.count('class="chart"') == 12
    for name in ("a", "b"):
        assert f"<h1>{name}: joint</h1>" in (tmp_path / "run" / "networks" / name / "report.html").read_text()


def test_a_transfer_has_its_plan_and_result(tmp_path: Path) -> None:
    folder = search_folder(tmp_path / "run", command="transfer")
    (folder / "episodes.csv").unlink()
    summary = json.loads((folder / "summary.json").read_text())
    scores = {"uncut": summary.pop("baseline"), "policy": summary.pop("best")}
    (folder / "summary.json").write_text(json.dumps({**summary, **scores}))
    page = page_of(folder)
    assert list(page.charts()) == ["plan", "seconds"]
    assert "dense 94.00%, -15.00 points" in page.text


HOSTILE = '</script><img src=x onerror="alert(1)"><b>%{x}'


def test_a_hostile_name_is_text_and_nothing_else(tmp_path: Path) -> None:
    folder = search_folder(tmp_path / "run", names=(HOSTILE.replace('"', "'"), "layer2"), agent={"name": HOSTILE})
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "model": HOSTILE, "agent": HOSTILE}))
    clean, page = page_of(search_folder(tmp_path / "clean")), page_of(folder)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in clean.tags]
    assert HOSTILE in page.text
    names = page.charts()["plan"]["data"][1]["y"]
    assert names[0] == "&lt;/script&gt;&lt;img src=x onerror='alert(1)'&gt;&lt;b&gt;%{x}"


def test_data_can_not_end_its_script() -> None:
    written = as_script({"a": "</script><!--", "b": float("nan")})
    assert "<" not in written
    assert json.loads(written) == {"a": "</script><!--", "b": None}


def test_nothing_is_fetched(tmp_path: Path) -> None:
    page = page_of(search_folder(tmp_path / "run"))
    assert not [(tag, found) for tag, found in page.tags if {"src", "href", "srcset", "action"} & set(found)]
    assert "@import" not in (style := report_page(read_run(tmp_path / "run")))
    assert "url(" not in style.partition("</style>")[0]
    policy = [found["content"] for tag, found in page.tags if found.get("http-equiv") == "Content-Security-Policy"]
    assert policy[0] is not None
    assert policy[0].startswith("default-src 'none';")
    assert "http" not in policy[0]


def test_plotlys_script_is_inside(tmp_path: Path) -> None:
    page = page_of(search_folder(tmp_path / "run"))
    (packed,) = (text for attributes, text in page.scripts if attributes.get("id") == "plotly")
    assert b"plotly.js v" in gzip.decompress(base64.b64decode(packed))[:200]
    assert len(packed) < 2_500_000


def test_no_folder_of_the_machine_is_in_the_page(tmp_path: Path) -> None:
    folder = search_folder(tmp_path / "run", dataset={"name": "imagenet", "root": "/home/somebody/imagenet"})
    text = report_page(read_run(folder))
    assert str(tmp_path) not in text
    assert "/home" not in text
    assert "…/imagenet" in text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"run: holds no run \(no episodes\.csv, no plan\.json\)"),
        ({"config.json": '{"command": "train"}'}, "run: holds a run of train without a plan"),
        ({"config.json": "{"}, r"config\.json: no valid JSON"),
        ({"plan.json": '{"groups": {"a": 1}}'}, r"plan\.json: no plan"),
        ({"episodes.csv": "episode,reward\n0,x\n"}, r"episodes\.csv: no table"),
        ({"episodes.csv": "a,b\n0,1\n"}, r"episodes\.csv: no column 'episode'"),
    ],
)
def test_what_is_no_run_is_one_line(tmp_path: Path, files: dict[str, str], message: str) -> None:
    (tmp_path / "run").mkdir()
    for name, content in files.items():
        (tmp_path / "run" / name).write_text(content)
    with pytest.raises(AmcError, match=message) as error:
        write_report(tmp_path / "run")
    assert "\n" not in str(error.value)


def test_a_report_that_can_not_be_drawn_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    leave_report(tmp_path / "nothing")
    assert "the report is not drawn" in caplog.text
