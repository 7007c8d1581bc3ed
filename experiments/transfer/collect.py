"""Reads the run folders of run.sh into ``results.csv`` beside this file and draws ``results.md`` from it.

    python -m experiments.transfer.collect runs/transfer

Runs that are not finished are left out; what earlier calls found is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from amc.tracking import read_episodes
from experiments.common.lines import Line, grouped, merge
from experiments.common.runs import finished, scores, summary_of
from experiments.common.stats import publish, spread, table

MARKS = (1, 25, 50, 100, 400)
RUN = ("observation", "keep", "target", "way", "source", "seed")
COLUMNS = (
    *RUN, "evaluations", "uncut_test", "test_accuracy", "val_accuracy",
    "macs_ratio", "params_ratio", *(f"best_{mark}" for mark in MARKS), "reached",
)  # fmt: skip
WAYS = ("uniform", "zero-shot", "unlabelled", "five-looks", "scratch", "warm")


def lines_of(runs: Path) -> Iterator[Line]:
    """A line for each network that came out of a finished run."""
    for folder in finished(runs, "*/keep-*/seed*/*/**"):
        observation, keep, seed, target, *rest = folder.relative_to(runs).parts
        if target == "several":
            continue  # a source only
        summary = summary_of(folder)
        base = {
            "observation": observation,
            "keep": float(keep.removeprefix("keep-")),
            "seed": int(seed.removeprefix("seed")),
            "target": target,
        }
        if rest[0] == "scratch":
            yield {**base, "way": "scratch", "source": "", **searched(folder, summary)}
            continue
        base["source"] = rest[0].removeprefix("from-")
        if rest[1] == "warm":
            yield {**base, "way": "warm", **searched(folder, summary)}
        else:
            looks = len(summary["strengths"])
            yield {**base, "way": rest[1], "evaluations": looks, **tested(summary["uncut"], summary["policy"])}
            if rest[1] == "five-looks":  # a walk at full strength is among them; nothing was chosen by its accuracy
                uncut = summary["uncut"]["test"]["accuracy"]
                one = {"evaluations": 1, "uncut_test": uncut, "val_accuracy": summary["strengths"]["1"]}
                yield {**base, "way": "zero-shot", **one}
            base["source"] = ""
            yield {**base, "way": "uniform", "evaluations": 1, **tested(summary["uncut"], summary["uniform"])}


def searched(folder: Path, summary: Line) -> Line:
    best = best_so_far(folder)
    marks = {f"best_{mark}": float(best[mark - 1]) for mark in MARKS if mark <= len(best)}
    found = tested(summary["baseline"], summary["best"])
    return {"evaluations": summary["episodes"], **found, **marks, "curve": best}


def best_so_far(folder: Path) -> np.ndarray:
    """The best accuracy on the search's validation images after each evaluation."""
    return np.maximum.accumulate([row["accuracy"] for row in read_episodes(folder / "episodes.csv")])


def tested(uncut: Line, found: Line) -> dict[str, float]:
    return {"uncut_test": uncut["test"]["accuracy"], **scores(uncut, found)}


def unique(lines: Iterator[Line]) -> list[Line]:
    """One line for what several transfers have beside each other: the uniform plan, a walk at full strength."""
    found: dict[tuple[object, ...], Line] = {}
    for line in lines:  # where a walk was scored on the test images, too, that is kept
        name = tuple(line[key] for key in RUN)
        found[name] = found.get(name, {}) | line
    return list(found.values())


def add_reached(lines: list[Line]) -> None:
    """After how many evaluations each search had what the longest one from scratch has at its end."""
    scratch = sorted((r for r in lines if r["way"] == "scratch"), key=lambda r: r["evaluations"])
    goals = {goal_of(r): r["val_accuracy"] for r in scratch}
    for line in lines:
        goal = goals.get(goal_of(line))
        if goal is None or line["way"] not in ("scratch", "warm"):
            continue
        if line["val_accuracy"] < goal:
            line["reached"] = "not"
        elif "curve" in line:  # of a run that is still there
            line["reached"] = int(np.flatnonzero(line["curve"] >= goal)[0]) + 1


def goal_of(line: Line) -> tuple[float, str, int]:
    return line["keep"], line["target"], line["seed"]


def matrix(lines: list[Line], way: str, score: str, title: str) -> str:
    """For each observation and budget what such a way to a plan is above the uniform plan, source by target."""
    text = []
    for (observation, keep), own in sorted(grouped(lines, "observation", "keep").items(), key=first):
        uniform = {(r["target"], r["seed"]): r[score] for r in own if r["way"] == "uniform"}
        shots = [r for r in own if r["way"] == way and (r["target"], r["seed"]) in uniform]
        if not shots:
            continue
        targets = sorted({shot["target"] for shot in shots})
        heads = ("from", *(f"on {target}" for target in targets), "above uniform")
        rows = [gains_row(source, runs, targets, uniform, score) for source, runs in by_source(shots)]
        text += [
            f"### `observation={observation}`, {keep:g} of the MACs: {title} minus uniform, points",
            "",
            table(heads, rows),
        ]
    return "\n".join(text) + "\n"


def by_source(shots: list[Line]) -> list[tuple[str, list[Line]]]:
    return sorted(grouped(shots, "source").items(), key=first)


def first(pair: tuple[Any, Any]) -> Any:
    return pair[0]


def gains_row(
    source: str, shots: list[Line], targets: list[str], uniform: dict[tuple[str, int], float], score: str
) -> tuple[object, ...]:
    """What policies of one source are above uniform on each target, and how often they are."""
    gains = {
        target: [r[score] - uniform[target, r["seed"]] for r in shots if r["target"] == target] for target in targets
    }
    every = [gain for own in gains.values() for gain in own]
    cells = (spread(own, 100, "+") for own in gains.values())
    return source, *cells, f"{sum(gain > 0 for gain in every)} of {len(every)}"


def tables(lines: list[Line]) -> str:
    """For each observation, budget and target a row for each way to a plan."""
    heads = (
        "way", "seeds", "test top-1 %", "val top-1 %", "plans", *(f"val after {mark}" for mark in MARKS),
        "scratch's end after",
    )  # fmt: skip
    text = []
    for (observation, keep, target), own in sorted(grouped(lines, "observation", "keep", "target").items(), key=first):
        ways = sorted(grouped(own, "way", "source").items(), key=lambda way: (WAYS.index(way[0][0]), way[0][1]))
        text += [
            f"### {target}, {keep:g} of the MACs, `observation={observation}`",
            "",
            f"Uncut: test top-1 {100 * mean(line['uncut_test'] for line in own):.2f} %.",
            "",
            table(heads, (way_row(way, source, runs) for (way, source), runs in ways)),
        ]
    return "\n".join(text)


def way_row(way: str, source: str, runs: list[Line]) -> tuple[object, ...]:
    return (
        f"{way} from {source}" if source else way,
        len(runs),
        spread((r["test_accuracy"] for r in runs if "test_accuracy" in r), 100),
        spread((r["val_accuracy"] for r in runs), 100) if "best_1" not in runs[0] else "",
        max(r["evaluations"] for r in runs),
        *(spread((r[f"best_{mark}"] for r in runs if f"best_{mark}" in r), 100) for mark in MARKS),
        ", ".join(str(r["reached"]) for r in runs if "reached" in r),
    )


def main() -> None:
    here, found = Path(__file__).parent, unique(lines_of(Path(sys.argv[1])))
    if not found:
        sys.exit(f"{sys.argv[1]}: no finished runs")
    lines = merge(here / "results.csv", COLUMNS, RUN, found)
    add_reached(lines)
    merge(here / "results.csv", COLUMNS, RUN, lines)
    walks = matrix(lines, "zero-shot", "val_accuracy", "one walk, validation images,")
    unlabelled = matrix(lines, "unlabelled", "test_accuracy", "strength by divergence, test images,")
    looks = matrix(lines, "five-looks", "test_accuracy", "five looks, test images,")
    text = walks + unlabelled + looks + tables(lines)
    publish(here / "results.md", text)


if __name__ == "__main__":
    main()
