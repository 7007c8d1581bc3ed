"""What does judging a search's best plans again, on all validation images, bring?

Reads finished searches, ``<runs>/<network>-<keep>-<evaluations>/<agent>-seed<n>``, and scores on all validation images
and on the test images each one's five best plans, and five unlike each other, as :mod:`amc.search.finals` chooses them.
Writes ``finals.csv`` beside itself, where what earlier calls found is kept, and draws ``finals.md`` from it: what the
plan was worth that the search alone would have taken, and what those are worth that finals take.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev

from common import load
from scipy.stats import wilcoxon

from amc.evaluation.evaluator import Evaluator
from amc.search.finals import best_different
from amc.task.problem import make_pruner
from amc.tracking.plans import different, episodes_in
from experiments.kept import Line, merge

Searches = dict[tuple[str, str, int], list[Line]]  # task, agent, seed
HERE = Path(__file__).parent
SEARCH = ("task", "agent", "seed")
KEYS = (*SEARCH, "choice", "rank")
COLUMNS = (*KEYS, "search_accuracy", "val_accuracy", "test_accuracy")
WAYS = (("best", 1), ("best", 5), ("unlike", 5))  # the first is the search's own
TITLES = ("the search alone", "finals of the five best", "of five unlike each other")


def scored(folder: Path, name: Line, data: str, checkpoint: str) -> Iterator[Line]:
    network, splits = load(name["task"].partition("-")[0], data, checkpoint)
    seed = json.loads((folder / "config.json").read_text())["seed"]
    pruner = make_pruner(network, splits.train, "l1", "least_squares", calibration_images=512, seed=seed)
    val, test = (Evaluator(pruner, part, batch_size=250, precision="fp32") for part in (splits.val, splits.test))
    played = episodes_in(folder / "episodes.csv", network.groups)
    for choice, episodes in {"best": different(played)[:5], "unlike": best_different(played, 5)}.items():
        for rank, episode in enumerate(episodes, start=1):
            own = {"search_accuracy": episode.metrics.accuracy, "choice": choice, "rank": rank}
            scores = {"val_accuracy": val(episode.plan).accuracy, "test_accuracy": test(episode.plan).accuracy}
            yield {**name, **own, **scores}


def taken(search: list[Line], choice: str, finalists: int) -> Line:
    """The plan that finals of so many plans take."""
    rows = [row for row in search if row["choice"] == choice and row["rank"] <= finalists]
    return max(rows, key=lambda row: (row["val_accuracy"], -row["rank"]))


def pairs(searches: Searches, way: tuple[str, int]) -> list[float]:
    """What CMA-ES is ahead of DDPG, in points of test accuracy, on each task and seed that both have."""
    found = []
    for (task, agent, seed), rows in searches.items():
        other = searches.get((task, "ddpg", seed))
        if agent == "cma_es" and other is not None:
            found.append(100 * (taken(rows, *way)["test_accuracy"] - taken(other, *way)["test_accuracy"]))
    return found


def spread(values: list[float], sign: str = "") -> str:
    return f"{mean(values):{sign}.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def table(rows: list[Line]) -> str:
    searches: Searches = {}
    for row in rows:
        searches.setdefault((row["task"], row["agent"], row["seed"]), []).append(row)
    text = [f"| task | agent | seeds | {' | '.join(TITLES)} |", "|---" * 6 + "|"]
    for task, agent in dict.fromkeys(key[:2] for key in searches):
        own = [search for key, search in searches.items() if key[:2] == (task, agent)]
        cells = [spread([100 * taken(search, *way)["test_accuracy"] for search in own]) for way in WAYS]
        text.append(f"| {task} | {agent} | {len(own)} | {' | '.join(cells)} |")
    gains = [
        [100 * (taken(s, *way)["test_accuracy"] - taken(s, *WAYS[0])["test_accuracy"]) for s in searches.values()]
        for way in WAYS[1:]
    ]
    promises = [
        [100 * (taken(s, *way)[seen] - taken(s, *way)["test_accuracy"]) for s in searches.values()]
        for way, seen in zip(WAYS, ("search_accuracy", "val_accuracy", "val_accuracy"), strict=True)
    ]
    moved = [
        f"{sum(g > 0 for g in gain)} better, {gain.count(0)} the same, {sum(g < 0 for g in gain)} worse"
        for gain in gains
    ]
    tested = [f"{spread(gain, '+')}, p = {wilcoxon(gain).pvalue:.2g}" for gain in gains]
    ahead = [
        f"{spread(ahead, '+')}, p = {wilcoxon(ahead).pvalue:.2g}" for ahead in (pairs(searches, way) for way in WAYS)
    ]
    text += [
        f"| all: gained | | {len(searches)} | | {' | '.join(tested)} |",
        f"| all: searches with a plan that is | | {len(searches)} | | {' | '.join(moved)} |",
        f"| all: promised beyond test | | {len(searches)} | {' | '.join(spread(p, '+') for p in promises)} |",
    ]
    text.append(f"| cma_es minus ddpg | | {len(pairs(searches, WAYS[0]))} | {' | '.join(ahead)} |")
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("searches", type=Path, nargs="*", help="<network>-<keep>-<evaluations>/<agent>-seed<n>")
    parser.add_argument("--data", help="CIFAR-10")
    parser.add_argument("--checkpoint", help="the network's weights")
    arguments = parser.parse_args()
    rows = merge(HERE / "finals.csv", COLUMNS, KEYS, [])
    for folder in arguments.searches:
        agent, seed = folder.name.rsplit("-seed", 1)
        name: Line = {"task": folder.parent.name, "agent": agent, "seed": int(seed)}
        if not any(all(row[key] == value for key, value in name.items()) for row in rows):
            found = list(scored(folder, name, arguments.data, arguments.checkpoint))
            rows = merge(HERE / "finals.csv", COLUMNS, KEYS, found)
            print(name, flush=True)
    text = table(rows)
    (HERE / "finals.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
