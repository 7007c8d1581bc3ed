"""Turns the run folders of run.sh into ``results.csv`` and ``results.md`` beside this file.

    python experiments/transfer/collect.py runs/transfer

Runs that are not finished are left out.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

COLUMNS = (
    "keep", "seed", "target", "way", "source", "evaluations", "uncut_test", "val_accuracy", "test_accuracy",
    "macs_ratio", "params_ratio",
)  # fmt: skip


def lines_of(runs: Path) -> Iterator[dict[str, Any]]:
    """A line for each network that came out of a finished run."""
    for file in sorted(runs.glob("keep-*/seed*/**/summary*.json")):
        keep, seed, target, *rest = file.relative_to(runs).parts
        if target == "several":
            continue  # a source only
        summary = json.loads(file.read_text())
        base = {"keep": float(keep.removeprefix("keep-")), "seed": int(seed.removeprefix("seed")), "target": target}
        if rest[0].startswith("scratch-"):
            found = summary["baseline"], summary["best"]
            yield {**base, "way": "scratch", "source": "", "evaluations": summary["episodes"], **scores(*found)}
        elif rest[1] == "zero-shot":
            way = {**base, "source": rest[0].removeprefix("from-")}
            yield {**way, "way": "zero-shot", "evaluations": 1, **scores(summary["uncut"], summary["policy"])}
            yield {
                **base, "source": "", "way": "uniform", "evaluations": 1,
                **scores(summary["uncut"], summary["uniform"]),
            }  # fmt: skip
        elif file.name != "summary.json":
            way = {**base, "source": rest[0].removeprefix("from-"), "way": "warm"}
            yield {**way, "evaluations": summary["episodes"], **scores(summary["baseline"], summary["best"])}


def scores(uncut: dict[str, Any], found: dict[str, Any]) -> dict[str, float]:
    return {
        "uncut_test": uncut["test"]["accuracy"],
        "val_accuracy": found["val"]["accuracy"],
        "test_accuracy": found["test"]["accuracy"],
        "macs_ratio": found["macs"] / uncut["macs"],
        "params_ratio": found["params"] / uncut["params"],
    }


def unique(lines: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the repetitions of the uniform plan, which every transfer has beside it."""
    keys = ("keep", "seed", "target", "way", "source", "evaluations")
    return list({tuple(line[key] for key in keys): line for line in lines}.values())


def spread(values: list[float]) -> str:
    """Mean ± standard deviation over seeds, in percent."""
    text = f"{100 * mean(values):.2f}"
    return f"{text} ± {100 * stdev(values):.2f}" if len(values) > 1 else text


def table(lines: list[dict[str, Any]]) -> str:
    """Test accuracy for each budget and target: a row for each way to a plan, a column for each number of plans."""
    counts = sorted({line["evaluations"] for line in lines})
    text = []
    for keep, target in sorted({(line["keep"], line["target"]) for line in lines}):
        own = [line for line in lines if (line["keep"], line["target"]) == (keep, target)]
        uncut = 100 * mean(line["uncut_test"] for line in own)
        text += [f"### {target}, {keep:g} of the MACs", "", f"Test top-1 %; uncut {uncut:.2f}.", ""]
        text += [f"| plans tried | {' | '.join(map(str, counts))} |", f"|---|{'---|' * len(counts)}"]
        cells = defaultdict(list)
        for line in own:
            way = line["way"] + (f" from {line['source']}" if line["source"] else "")
            cells[way, line["evaluations"]].append(line["test_accuracy"])
        ways = sorted({way for way, _ in cells}, key=lambda way: (way != "uniform", way != "scratch", way))
        for way in ways:
            row = [spread(cells[way, count]) if (way, count) in cells else "" for count in counts]
            text.append(f"| {way} | {' | '.join(row)} |")
        text.append("")
    return "\n".join(text)


def main() -> None:
    here, lines = Path(__file__).parent, unique(lines_of(Path(sys.argv[1])))
    if not lines:
        sys.exit(f"{sys.argv[1]}: no finished runs")
    with (here / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    (here / "results.md").write_text(table(lines))
    print(table(lines))


if __name__ == "__main__":
    main()
