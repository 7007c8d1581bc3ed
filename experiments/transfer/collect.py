"""Reads the run folders of run.sh into ``results.csv`` beside this file and draws ``results.md`` from it.

    python -m experiments.transfer.collect runs/transfer

Runs that are not finished are left out; what earlier calls found is kept.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from amc.tracking import read_episodes
from experiments.kept import Line, merge

MARKS = (1, 25, 50, 100, 400)
RUN = ("keep", "seed", "target", "way", "source")
COLUMNS = (
    *RUN, "evaluations", "uncut_test", "test_accuracy", "val_accuracy",
    "macs_ratio", "params_ratio", *(f"best_{mark}" for mark in MARKS), "reached",
)  # fmt: skip
WAYS = ("uniform", "zero-shot", "five-looks", "scratch", "warm")


def lines_of(runs: Path) -> Iterator[Line]:
    """A line for each network that came out of a finished run."""
    for file in sorted(runs.glob("keep-*/seed*/*/**/summary.json")):
        keep, seed, target, *rest = file.relative_to(runs).parts
        if target == "several":
            continue  # a source only
        summary = json.loads(file.read_text())
        base = {"keep": float(keep.removeprefix("keep-")), "seed": int(seed.removeprefix("seed")), "target": target}
        if rest[0] == "scratch":
            yield {**base, "way": "scratch", "source": "", **searched(file.parent, summary)}
            continue
        base["source"] = rest[0].removeprefix("from-")
        if rest[1] == "warm":
            yield {**base, "way": "warm", **searched(file.parent, summary)}
        else:
            looks = len(summary["strengths"])
            yield {**base, "way": rest[1], "evaluations": looks, **scores(summary["uncut"], summary["policy"])}
            base["source"] = ""
            yield {**base, "way": "uniform", "evaluations": 1, **scores(summary["uncut"], summary["uniform"])}


def searched(folder: Path, summary: Line) -> Line:
    best = best_so_far(folder)
    marks = {f"best_{mark}": float(best[mark - 1]) for mark in MARKS if mark <= len(best)}
    found = scores(summary["baseline"], summary["best"])
    return {"evaluations": summary["episodes"], **found, **marks, "curve": best}


def best_so_far(folder: Path) -> np.ndarray:
    """The best accuracy on the search's validation images after each evaluation."""
    return np.maximum.accumulate([row["accuracy"] for row in read_episodes(folder / "episodes.csv")])


def scores(uncut: Line, found: Line) -> dict[str, float]:
    return {
        "uncut_test": uncut["test"]["accuracy"],
        "test_accuracy": found["test"]["accuracy"],
        "val_accuracy": found["val"]["accuracy"],
        "macs_ratio": found["macs"] / uncut["macs"],
        "params_ratio": found["params"] / uncut["params"],
    }


def unique(lines: Iterator[Line]) -> list[Line]:
    """Without the repetitions of the uniform plan, which every transfer has beside it."""
    return list({tuple(line[key] for key in RUN): line for line in lines}.values())


def add_reached(lines: list[Line]) -> None:
    """After how many evaluations each search had what the one from scratch has at its end."""
    goals = {(r["keep"], r["seed"], r["target"]): r["val_accuracy"] for r in lines if r["way"] == "scratch"}
    for line in lines:
        goal = goals.get((line["keep"], line["seed"], line["target"]))
        if goal is not None and "curve" in line:
            there = np.flatnonzero(line["curve"] >= goal)
            line["reached"] = int(there[0]) + 1 if len(there) else "not"


def spread(values: list[float]) -> str:
    """Mean ± standard deviation over seeds, in percent."""
    text = f"{100 * mean(values):.2f}"
    return f"{text} ± {100 * stdev(values):.2f}" if len(values) > 1 else text


def table(lines: list[Line]) -> str:
    """For each budget and target a row for each way to a plan."""
    text = []
    after = " | ".join(f"val after {mark}" for mark in MARKS)
    for keep, target in sorted({(line["keep"], line["target"]) for line in lines}):
        own = [line for line in lines if (line["keep"], line["target"]) == (keep, target)]
        text += [
            f"### {target}, {keep:g} of the MACs",
            "",
            f"Uncut: test top-1 {100 * mean(line['uncut_test'] for line in own):.2f} %.",
            "",
            f"| way | seeds | test top-1 % | plans | {after} | scratch's end after |",
            "|---" * (len(MARKS) + 5) + "|",
        ]
        ways = {(line["way"], line["source"]): None for line in own}
        for way, source in sorted(ways, key=lambda way: (WAYS.index(way[0]), way[1])):
            runs = [line for line in own if (line["way"], line["source"]) == (way, source)]
            cells = [[r[f"best_{m}"] for r in runs if f"best_{m}" in r] for m in MARKS]
            reached = [str(r["reached"]) for r in runs if "reached" in r]
            row = (
                f"{way} from {source}" if source else way,
                str(len(runs)),
                spread([r["test_accuracy"] for r in runs]),
                str(max(r["evaluations"] for r in runs)),
                *(spread(cell) if cell else "" for cell in cells),
                ", ".join(reached),
            )
            text.append(f"| {' | '.join(row)} |")
        text.append("")
    return "\n".join(text)


def main() -> None:
    here, found = Path(__file__).parent, unique(lines_of(Path(sys.argv[1])))
    if not found:
        sys.exit(f"{sys.argv[1]}: no finished runs")
    lines = merge(here / "results.csv", COLUMNS, RUN, found)
    add_reached(lines)
    merge(here / "results.csv", COLUMNS, RUN, lines)
    (here / "results.md").write_text(table(lines))
    print(table(lines))


if __name__ == "__main__":
    main()
