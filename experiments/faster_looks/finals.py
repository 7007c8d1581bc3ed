"""What does judging a search's best plans again, on all validation images, bring?

    python -m experiments.faster_looks.finals --data … --checkpoint … runs/does_rl_help/resnet20-0.5-400/ddpg-seed?

Reads finished searches, ``<runs>/<network>-<keep>-<evaluations>/<agent>-seed<n>``, and scores on all validation images
and on the test images each one's five best plans, and five unlike each other, as :mod:`amc.search.finals` chooses them.
Writes ``finals.csv`` beside itself, where what earlier calls found is kept, and draws ``finals.md`` from it: what the
plan was worth that the search alone would have taken, and what those are worth that finals take.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from amc.core.files import read_json
from amc.search.finals import best_different
from amc.tracking.plans import different, episodes_in
from experiments.common.lines import Line, grouped, merge
from experiments.common.networks import inputs, judges, load
from experiments.common.runs import name_and_seed
from experiments.common.stats import p_value, publish, spread, table

Searches = dict[tuple[str, str, int], list[Line]]  # task, agent, seed
HERE = Path(__file__).parent
SEARCH = ("task", "agent", "seed")
KEYS = (*SEARCH, "choice", "rank")
COLUMNS = (*KEYS, "search_accuracy", "val_accuracy", "test_accuracy")
WAYS = (("best", 1), ("best", 5), ("unlike", 5))  # the first is the search's own
TITLES = ("the search alone", "finals of the five best", "of five unlike each other")


def scored(folder: Path, name: Line, data: str, checkpoint: str) -> Iterator[Line]:
    network, splits = load(name["task"].partition("-")[0], data, checkpoint)
    val, test = judges(network, splits, seed=read_json(folder / "config.json")["seed"])
    played = episodes_in(folder / "episodes.csv", network.groups)
    for choice, episodes in {"best": different(played)[:5], "unlike": best_different(played, 5)}.items():
        for rank, episode in enumerate(episodes, start=1):
            own = {"search_accuracy": episode.metrics.score, "choice": choice, "rank": rank}
            scores = {"val_accuracy": val(episode.plan).score, "test_accuracy": test(episode.plan).score}
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


def table_of(rows: list[Line]) -> str:
    """A row for each task and agent, then what finals bring over all searches."""
    searches: Searches = grouped(rows, *SEARCH)
    return table(("task", "agent", "seeds", *TITLES), task_rows(searches)) + summary(searches)


def task_rows(searches: Searches) -> Iterator[tuple[object, ...]]:
    for task, agent in dict.fromkeys(key[:2] for key in searches):
        own = [search for key, search in searches.items() if key[:2] == (task, agent)]
        cells = (spread((taken(search, *way)["test_accuracy"] for search in own), 100) for way in WAYS)
        yield task, agent, len(own), *cells


def summary(searches: Searches) -> str:
    """The table's last rows, over all searches."""
    every, ahead = list(searches.values()), [pairs(searches, way) for way in WAYS]
    gains = [
        [100 * (taken(s, *way)["test_accuracy"] - taken(s, *WAYS[0])["test_accuracy"]) for s in every]
        for way in WAYS[1:]
    ]
    promises = [
        [100 * (taken(s, *way)[seen] - taken(s, *way)["test_accuracy"]) for s in every]
        for way, seen in zip(WAYS, ("search_accuracy", "val_accuracy", "val_accuracy"), strict=True)
    ]
    rows = (
        f"| all: gained | | {len(every)} | | {' | '.join(map(tested, gains))} |",
        f"| all: searches with a plan that is | | {len(every)} | | {' | '.join(map(moved, gains))} |",
        f"| all: promised beyond test | | {len(every)} | {' | '.join(spread(p, sign='+') for p in promises)} |",
        f"| cma_es minus ddpg | | {len(ahead[0])} | {' | '.join(map(tested, ahead))} |",
    )
    return "\n".join(rows) + "\n"


def tested(points: list[float]) -> str:
    return f"{spread(points, sign='+')}, p = {p_value(points):.2g}"


def moved(gains: list[float]) -> str:
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    return f"{better} better, {gains.count(0)} the same, {worse} worse"


def main() -> None:
    parser = inputs(__doc__, "the network", required=False)
    parser.add_argument("searches", type=Path, nargs="*", help="<network>-<keep>-<evaluations>/<agent>-seed<n>")
    arguments = parser.parse_args()
    rows = merge(HERE / "finals.csv", COLUMNS, KEYS, [])
    for folder in arguments.searches:
        name: Line = dict(zip(SEARCH, (folder.parent.name, *name_and_seed(folder)), strict=True))
        if tuple(name.values()) not in grouped(rows, *SEARCH):
            found = list(scored(folder, name, arguments.data, arguments.checkpoint))
            rows = merge(HERE / "finals.csv", COLUMNS, KEYS, found)
            print(name, flush=True)
    publish(HERE / "finals.md", table_of(rows))


if __name__ == "__main__":
    main()
