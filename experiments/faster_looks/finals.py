"""What does judging a search's best plans again, on all validation images, bring?

Reads finished searches, ``<runs>/<network>-<keep>-<evaluations>/<agent>-seed<n>``, and scores each one's best plans on
all validation images and on the test images, into ``finals.csv`` beside itself, where what earlier calls found is kept.
``finals.md`` then says what the plan was worth that the search alone would have taken, and the one that finals of 2 to
10 plans take.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev

from common import load, plan_of
from scipy.stats import wilcoxon

from amc.evaluate import Evaluator
from amc.problem import Network, make_cutter
from amc.tracking import read_episodes
from amc.types import PruningPlan
from experiments.kept import Line, merge

HERE = Path(__file__).parent
SEARCH = ("task", "agent", "seed")
KEYS = (*SEARCH, "rank")
COLUMNS = (*KEYS, "search_accuracy", "val_accuracy", "test_accuracy")
RATIO = "keep_ratio/"
FINALISTS = (2, 3, 5, 10)


def best_plans(folder: Path, network: Network, most: int) -> list[tuple[float, PruningPlan]]:
    """The best different plans that the search saw in full, with their accuracy there."""
    rows = read_episodes(folder / "episodes.csv")
    whole = max(row["images"] for row in rows)
    found: dict[PruningPlan, float] = {}
    for row in rows:
        if row["within_budget"] and row["images"] == whole:
            ratios = {name.removeprefix(RATIO): value for name, value in row.items() if name.startswith(RATIO)}
            found.setdefault(plan_of(network, ratios), row["accuracy"])
    return sorted(((accuracy, plan) for plan, accuracy in found.items()), key=lambda pair: -pair[0])[:most]


def scored(folder: Path, name: dict[str, object], data: str, checkpoint: str, most: int) -> Iterator[Line]:
    network, splits = load(str(name["task"]).partition("-")[0], data, checkpoint)
    seed = json.loads((folder / "config.json").read_text())["seed"]
    cutter = make_cutter(network, splits.train, "l1", "least_squares", calibration_images=512, seed=seed)
    val, test = (Evaluator(cutter, part, batch_size=250, precision="fp32") for part in (splits.val, splits.test))
    for rank, (accuracy, plan) in enumerate(best_plans(folder, network, most), start=1):
        scores = {"val_accuracy": val(plan).accuracy, "test_accuracy": test(plan).accuracy}
        yield {**name, "rank": rank, "search_accuracy": accuracy, **scores}


def taken(rows: list[Line], finalists: int) -> Line:
    """The plan that finals of so many plans take; of one, the search's own."""
    return max(rows[:finalists], key=lambda row: row["val_accuracy"])


def spread(values: list[float]) -> str:
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def table(rows: list[Line]) -> str:
    searches: dict[tuple[object, ...], list[Line]] = {}
    for row in sorted(rows, key=lambda row: row["rank"]):
        searches.setdefault(tuple(row[key] for key in SEARCH), []).append(row)
    titles = ["the search alone", *(f"finals of {n}" for n in FINALISTS)]
    text = [f"| task | agent | seeds | {' | '.join(titles)} | val, search | val, finals of 5 |", "|---" * 10 + "|"]
    for task, agent in dict.fromkeys(key[:2] for key in searches):
        own = [rows for key, rows in searches.items() if key[:2] == (task, agent)]
        deep = min(len(rows) for rows in own)
        tests = [
            spread([100 * taken(rows, n)["test_accuracy"] for rows in own]) if n <= deep else ""
            for n in (1, *FINALISTS)
        ]
        vals = [[100 * rows[0]["search_accuracy"] for rows in own], [100 * taken(r, 5)["val_accuracy"] for r in own]]
        text.append(f"| {task} | {agent} | {len(own)} | {' | '.join([*tests, *map(spread, vals)])} |")
    text += ["", "| finals of | searches | test, minus the search alone | p (Wilcoxon) |", "|---|---|---|---|"]
    for n in FINALISTS:
        own = [rows for rows in searches.values() if len(rows) >= n]
        if len(own) < 2:
            continue
        gains = [100 * (taken(rows, n)["test_accuracy"] - rows[0]["test_accuracy"]) for rows in own]
        p = f"{wilcoxon(gains).pvalue:.2g}" if any(gains) else ""
        text.append(f"| {n} | {len(own)} | {mean(gains):+.2f} ± {stdev(gains):.2f} | {p} |")
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("searches", type=Path, nargs="*", help="<network>-<keep>-<evaluations>/<agent>-seed<n>")
    parser.add_argument("--data", help="CIFAR-10")
    parser.add_argument("--checkpoint", help="the network's weights")
    parser.add_argument("--most", type=int, default=10, help="so many plans of each search")
    arguments = parser.parse_args()
    rows = merge(HERE / "finals.csv", COLUMNS, KEYS, [])
    for folder in arguments.searches:
        agent, seed = folder.name.rsplit("-seed", 1)
        name = {"task": folder.parent.name, "agent": agent, "seed": int(seed)}
        if not any(all(row[key] == value for key, value in name.items()) for row in rows):
            found = scored(folder, name, arguments.data, arguments.checkpoint, arguments.most)
            rows = merge(HERE / "finals.csv", COLUMNS, KEYS, list(found))
            print(name, flush=True)
    text = table(rows)
    (HERE / "finals.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
