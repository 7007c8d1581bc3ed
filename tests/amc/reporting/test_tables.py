from __future__ import annotations

import io

import pytest

from amc.core.types import Cost, LayerGroup, Metrics, Scored
from amc.reporting.console import count, show
from amc.reporting.tables import group_table, networks_table, print_result

LONG = "features.denseblock4.denselayer16.with.a.name.that.no.terminal.has.room.for.conv2"


def group(name: str, frozen: str | None = None, residual: bool = False) -> LayerGroup:
    return LayerGroup(name, "conv3x3", 64, 2, residual, 3, 8, 8, 1, 3, 31_400_000, 1_728, (), frozen)


def printed(content: object) -> str:
    out = io.StringIO()
    show(content, out)
    return out.getvalue()


def test_group_table_in_a_pipe_cuts_nothing_off() -> None:
    groups = [group("conv1", residual=True), group(LONG, "shuffled [b]"), group("fc", "output"), group("x", "output")]
    text = printed(group_table(groups, Cost(314_000_000, 10_000)))
    assert "4 layer groups, 1 can be pruned" in text
    assert f"{LONG} (1)" in text
    row = next(line for line in text.splitlines() if line.startswith(" conv1"))
    assert row.split() == ["conv1", "conv3x3", "+", "64", "2", "31.4", "M", "10.0", "%", "1.73", "k"]
    assert "fc (2)" in text
    assert "x (2)" in text
    assert "(1) can't be pruned: shuffled [b]" in text
    assert "(2) can't be pruned: output" in text
    assert "(3)" not in text
    assert "whole network: 314 M MACs, 10.0 k parameters" in text


def test_networks_side_by_side_literally() -> None:
    def scored(val: float, test: float, macs: int) -> Scored:
        return Scored(Metrics(val, 0.1, 100), Metrics(test, 0.1, 100), Cost(macs, macs // 2))

    rows = {"a": (scored(0.9, 0.8, 1000), scored(0.5, 0.4, 500), scored(0.6, 0.55, 400))}
    row = next(line for line in printed(networks_table(rows)).splitlines() if line.startswith("  a"))
    assert row.split() == [
        "a", "90.00", "%", "50.00", "%", "60.00", "%", "80.00", "%", "40.00", "%", "55.00", "%",
        "×", "0.400", "×", "0.400",
    ]  # fmt: skip


def test_print_result_literally() -> None:
    baseline = Scored(Metrics(0.98, 0.1, 100), Metrics(0.97, 0.1, 100), Cost(4_000_000_000, 25_000_000, 10.0))
    best = Scored(Metrics(0.96, 0.1, 100), Metrics(0.9725, 0.1, 100), Cost(2_000_000_000, 10_000_000, 6.25))
    out = io.StringIO()
    print_result(baseline, best, 100.0, {"agent": 20.0, "forward": 50.0}, "run folder: outputs/a", out)
    rows = [line.split() for line in out.getvalue().splitlines() if line.strip() and "──" not in line]
    assert rows == [
        ["baseline", "best", "plan", "change"],
        ["validation", "accuracy", "98.00", "%", "96.00", "%", "-2.00", "points"],
        ["test", "accuracy", "97.00", "%", "97.25", "%", "+0.25", "points"],
        ["MACs", "4.00", "G", "2.00", "G", "×", "0.500"],
        ["parameters", "25.0", "M", "10.0", "M", "×", "0.400"],
        ["latency", "10", "ms", "6.25", "ms", "×", "0.625"],
        ["time", "0:01:40", "share"],
        ["forward", "50.0", "s", "50", "%"],
        ["agent", "20.0", "s", "20", "%"],
        ["other", "30.0", "s", "30", "%"],
        ["run", "folder:", "outputs/a"],
    ]


def test_what_was_not_measured_is_left_out() -> None:
    scored = Scored(Metrics(0.5, 0.1, 100), None, Cost(10, 10))
    out = io.StringIO()
    print_result(scored, scored, 1.0, {}, "x", out)
    assert "test accuracy" not in out.getvalue()
    assert "latency" not in out.getvalue()
    assert scored.to_json() == {
        "val": {"accuracy": 0.5, "loss": 0.1, "images": 100},
        "test": None,
        "macs": 10,
        "params": 10,
        "latency_ms": None,
    }


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (999.6, "1.00 k"), (1_000, "1.00 k"), (25_557_032, "25.6 M"), (999_600_000, "1.00 G"),
     (4_089_184_256, "4.09 G"), (99_960, "100 k"), (9_996, "10.0 k"), (3e12, "3000 G")],
)  # fmt: skip
def test_count(number: float, text: str) -> None:
    assert count(number) == text
