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
RUN = ("observation", "keep", "target", "way", "source", "seed")
COLUMNS = (
    *RUN, "evaluations", "uncut_test", "test_accuracy", "val_accuracy",
    "macs_ratio", "params_ratio", *(f"best_{mark}" for mark in MARKS), "reached",
)  # fmt: skip
WAYS = ("uniform", "zero-shot", "unlabelled", "five-looks", "scratch", "warm")


def lines_of(runs: Path) -> Iterator[Line]:
    """A line for each network that came out of a finished run."""
    for file in sorted(runs.glob("*/keep-*/seed*/*/**/summary.json")):
        observation, keep, seed, target, *rest = file.relative_to(runs).parts
        if target == "several":
            continue  # a source only
        summary = json.loads(file.read_text())
        base = {
            "observation": observation,
            "keep": float(keep.removeprefix("keep-")),
            "seed": int(seed.removeprefix("seed")),
            "target": target,
        }
        if rest[0] == "scratch":
            yield {**base, "way": "scratch", "source": "", **searched(file.parent, summary)}
            continue
        base["source"] = rest[0].removeprefix("from-")
        if rest[1] == "warm":
            yield {**base, "way": "warm", **searched(file.parent, summary)}
        else:
            looks = len(summary["strengths"])
            yield {**base, "way": rest[1], "evaluations": looks, **scores(summary["uncut"], summary["policy"])}
            if rest[1] == "five-looks":  # a walk at full strength is among them; nothing was chosen by its accuracy
                uncut = summary["uncut"]["test"]["accuracy"]
                one = {"evaluations": 1, "uncut_test": uncut, "val_accuracy": summary["strengths"]["1"]}
                yield {**base, "way": "zero-shot", **one}
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


def spread(values: list[float], sign: str = "") -> str:
    """Mean ± standard deviation over seeds, in percent; nothing without values."""
    if not values:
        return ""
    text = f"{100 * mean(values):{sign}.2f}"
    return f"{text} ± {100 * stdev(values):.2f}" if len(values) > 1 else text


def matrix(lines: list[Line], way: str, score: str, title: str) -> str:
    """For each observation and budget what such a way to a plan is above the uniform plan, source by target."""
    text = []
    for observation, keep in sorted({(line["observation"], line["keep"]) for line in lines}):
        own = [line for line in lines if (line["observation"], line["keep"]) == (observation, keep)]
        uniform = {(r["target"], r["seed"]): r[score] for r in own if r["way"] == "uniform"}
        shots = [r for r in own if r["way"] == way and (r["target"], r["seed"]) in uniform]
        if not shots:
            continue
        targets, sources = ([*dict.fromkeys(sorted(r[side] for r in shots))] for side in ("target", "source"))
        text += [
            f"### `observation={observation}`, {keep:g} of the MACs: {title} minus uniform, points",
            "",
            f"| from | {' | '.join(f'on {target}' for target in targets)} | above uniform |",
            "|---" * (len(targets) + 2) + "|",
        ]
        for source in sources:
            cells: list[str] = []
            every: list[float] = []
            for target in targets:
                pairs = [r for r in shots if (r["source"], r["target"]) == (source, target)]
                gains = [r[score] - uniform[target, r["seed"]] for r in pairs]
                cells.append(spread(gains, "+"))
                every += gains
            text.append(f"| {source} | {' | '.join(cells)} | {sum(g > 0 for g in every)} of {len(every)} |")
        text.append("")
    return "\n".join(text) + "\n"


def table(lines: list[Line]) -> str:
    """For each observation, budget and target a row for each way to a plan."""
    text = []
    after = " | ".join(f"val after {mark}" for mark in MARKS)
    for observation, keep, target in sorted({(r["observation"], r["keep"], r["target"]) for r in lines}):
        own = [r for r in lines if (r["observation"], r["keep"], r["target"]) == (observation, keep, target)]
        text += [
            f"### {target}, {keep:g} of the MACs, `observation={observation}`",
            "",
            f"Uncut: test top-1 {100 * mean(line['uncut_test'] for line in own):.2f} %.",
            "",
            f"| way | seeds | test top-1 % | val top-1 % | plans | {after} | scratch's end after |",
            "|---" * (len(MARKS) + 6) + "|",
        ]
        ways = {(line["way"], line["source"]): None for line in own}
        for way, source in sorted(ways, key=lambda way: (WAYS.index(way[0]), way[1])):
            runs = [line for line in own if (line["way"], line["source"]) == (way, source)]
            row = (
                f"{way} from {source}" if source else way,
                str(len(runs)),
                spread([r["test_accuracy"] for r in runs if "test_accuracy" in r]),
                spread([r["val_accuracy"] for r in runs]) if "best_1" not in runs[0] else "",
                str(max(r["evaluations"] for r in runs)),
                *(spread([r[f"best_{m}"] for r in runs if f"best_{m}" in r]) for m in MARKS),
                ", ".join(str(r["reached"]) for r in runs if "reached" in r),
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
    walks = matrix(lines, "zero-shot", "val_accuracy", "one walk, validation images,")
    unlabelled = matrix(lines, "unlabelled", "test_accuracy", "strength by divergence, test images,")
    looks = matrix(lines, "five-looks", "test_accuracy", "five looks, test images,")
    text = walks + unlabelled + looks + table(lines)
    (here / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
