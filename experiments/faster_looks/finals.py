"""What does judging a search's best plans again, on all validation images, bring?

Reads finished searches, ``<runs>/<network>-<keep>-<evaluations>/<agent>-seed<n>``, and scores on all validation images
and on the test images each one's five best plans, and five unlike each other, as :mod:`amc.finals` chooses them. Writes
``finals.csv`` beside itself, where what earlier calls found is kept, and draws ``finals.md`` from it: what the plan was
worth that the search alone would have taken, and what those are worth that finals take.
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
from amc.finals import best_different
from amc.loop import eligible
from amc.problem import Network, make_cutter
from amc.tracking import read_episodes
from amc.types import Cost, Episode, Metrics, PruningPlan
from experiments.kept import Line, merge

HERE = Path(__file__).parent
SEARCH = ("task", "agent", "seed")
KEYS = (*SEARCH, "choice", "rank")
COLUMNS = (*KEYS, "search_accuracy", "val_accuracy", "test_accuracy")
WAYS = (("best", 1), ("best", 5), ("unlike", 5))  # the first is the search's own
TITLES = ("the search alone", "finals of the five best", "of five unlike each other")
RATIO = "keep_ratio/"


def episodes_of(folder: Path, network: Network) -> Iterator[Episode]:
    """The search's, as far as the choice of finalists depends on them."""
    for row in read_episodes(folder / "episodes.csv"):
        ratios = {name.removeprefix(RATIO): value for name, value in row.items() if name.startswith(RATIO)}
        metrics = Metrics(row["accuracy"], row["loss"], int(row["images"]))
        plan, within = plan_of(network, ratios), bool(row["within_budget"])
        yield Episode(int(row["episode"]), row["reward"], plan, metrics, Cost(0, 0), 0.0, within_budget=within)


def chosen_from(episodes: list[Episode], most: int) -> dict[str, list[Episode]]:
    best: dict[PruningPlan, Episode] = {}
    for episode in sorted(eligible(episodes), key=lambda e: -e.reward):
        best.setdefault(episode.plan, episode)
    return {"best": list(best.values())[:most], "unlike": best_different(episodes, most)}


def scored(folder: Path, name: Line, data: str, checkpoint: str) -> Iterator[Line]:
    network, splits = load(name["task"].partition("-")[0], data, checkpoint)
    seed = json.loads((folder / "config.json").read_text())["seed"]
    cutter = make_cutter(network, splits.train, "l1", "least_squares", calibration_images=512, seed=seed)
    val, test = (Evaluator(cutter, part, batch_size=250, precision="fp32") for part in (splits.val, splits.test))
    for choice, episodes in chosen_from(list(episodes_of(folder, network)), 5).items():
        for rank, episode in enumerate(episodes, start=1):
            own = {"search_accuracy": episode.metrics.accuracy, "choice": choice, "rank": rank}
            scores = {"val_accuracy": val(episode.plan).accuracy, "test_accuracy": test(episode.plan).accuracy}
            yield {**name, **own, **scores}


def taken(search: list[Line], choice: str, finalists: int) -> Line:
    """The plan that finals of so many plans take."""
    rows = [row for row in search if row["choice"] == choice and row["rank"] <= finalists]
    return max(rows, key=lambda row: (row["val_accuracy"], -row["rank"]))


def spread(values: list[float], sign: str = "") -> str:
    return f"{mean(values):{sign}.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def table(rows: list[Line]) -> str:
    searches: dict[tuple[str, str, int], list[Line]] = {}
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
    tested = [f"{spread(gain, '+')}, p = {wilcoxon(gain).pvalue:.2g}" for gain in gains]
    text += [
        f"| all: gained | | {len(searches)} | | {' | '.join(tested)} |",
        f"| all: promised beyond test | | {len(searches)} | {' | '.join(spread(p, '+') for p in promises)} |",
    ]
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
