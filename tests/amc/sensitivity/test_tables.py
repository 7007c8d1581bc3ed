from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console

from amc.sensitivity.tables import csv_text, sensitivity_table
from tests.support import toys

MODEL = toys.chain([10, 10], inputs=1, classes=1)  # 10 + 100 + 10 MACs
CURVES = toys.curves(MODEL, [[0.01, 0.25], [0.5, 0.75]], [0.5, 0.1])


def test_a_row_for_each_group_and_ratio() -> None:
    uncut, *rows = csv.DictReader(io.StringIO(csv_text(CURVES, MODEL)))
    assert (uncut["group"], uncut["keep_ratio"], uncut["accuracy"], uncut["macs_ratio"]) == ("", "1.0", "1.0", "1.0")
    assert [(row["group"], row["keep_ratio"], row["kept"]) for row in rows] == [
        ("l0", "0.5", "5"), ("l0", "0.1", "1"), ("l1", "0.5", "5"), ("l1", "0.1", "1"),
    ]  # fmt: skip
    assert float(rows[3]["accuracy"]) == 0.25
    assert float(rows[3]["loss"]) == 0.75
    # l1 with 5: 10 + 50 + 5 of 120
    assert float(rows[2]["macs_ratio"]) == pytest.approx(65 / 120)


def test_what_a_point_of_accuracy_buys() -> None:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(sensitivity_table(CURVES, MODEL))
    lines = {line.split()[0]: line for line in captured.get().splitlines() if line.split()}
    # l0 loses a point at 5 channels, which saves 5 + 50 of 120 MACs; l1 can't spare one channel
    assert lines["l0"].split() == ["l0", "10", "91.7", "%", "91.7", "%", "0.50", "45.8", "%", "75.00", "%"]
    assert lines["l1"].split()[6:9] == ["1.00", "0.0", "%"]
