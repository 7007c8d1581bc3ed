"""Turns the runs of a network that is no classifier, trained, searched and fine-tuned, into a table.

    python -m experiments.common.tasks experiments/detection runs/detection

Reads ``<runs>/dense``, ``<runs>/searched-<agent>-seed<n>``, ``<runs>/finetuned-<plan>-seed<n>`` and
``<runs>/longer-seed<n>``, the dense network trained on; writes ``results.csv`` and ``results.md``. Runs that are not
finished are left out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amc.core.files import read_json
from experiments.common.lines import Line, grouped, write_lines
from experiments.common.runs import finished, name_and_seed, summary_of
from experiments.common.stats import publish, spread, table

SEARCHED, TUNED, LONGER = "searched-", "finetuned-", "longer-seed"


def line_of(
    network: str, seed: int, scored: Mapping[str, Any], dense: Mapping[str, Any], metric: str, **more: Any
) -> Line:
    """One network: its scores, and its cost beside the dense network's."""
    return {
        "network": network,
        "seed": seed,
        **{f"{part}_{metric}": scored[part][metric] for part in ("val", "test")},
        "macs": scored["macs"],
        "params": scored["params"],
        "macs_ratio": scored["macs"] / dense["macs"],
        "params_ratio": scored["params"] / dense["params"],
        **more,
    }


def lines_of(runs: Path) -> tuple[list[Line], str]:
    """A line for every network that came out of the runs, and the metric's name; none before a search is finished."""
    trained = read_json(runs / "dense" / "train.json")
    metric: str = trained["metric"]
    searches = {folder: summary_of(folder) for folder in finished(runs, f"{SEARCHED}*")}
    if not searches:
        return [], metric
    dense = next(iter(searches.values()))["baseline"]
    lines = [line_of("dense", trained["seed"], dense, dense, metric, **training_of(trained))]
    for file in sorted(runs.glob(f"{LONGER}*/train.json")):
        longer = read_json(file)
        lines.append(
            line_of("dense, longer", longer["seed"], {**dense, **longer}, dense, metric, **training_of(longer))
        )
    for folder, found in searches.items():
        agent, seed = name_and_seed(folder)
        more = {"evaluations": found["episodes"], "seconds": found["wall_seconds"]}
        name = f"{agent.removeprefix(SEARCHED)}, nothing trained"
        lines.append(line_of(name, seed, found["best"], found["baseline"], metric, **more))
    for folder in finished(runs, f"{TUNED}*"):
        found, (plan, seed) = summary_of(folder), name_and_seed(folder)
        more = {"epochs": found["settings"]["epochs"], "seconds": found["wall_seconds"]}
        name = f"{plan.removeprefix(TUNED)}, fine-tuned"
        lines.append(line_of(name, seed, found["tuned"], found["baseline"], metric, **more))
    return lines, metric


def training_of(trained: Mapping[str, Any]) -> Line:
    """What ``train.json`` says of the time."""
    return {"epochs": trained["recipe"]["epochs"], "seconds": trained["wall_seconds"]}


def table_of(lines: list[Line], metric: str) -> str:
    """A row for each network, over its seeds."""
    heads = ("network", "seeds", f"val {metric} %", f"test {metric} %", "MACs", "parameters", "epochs", "plans", "s")
    return table(heads, (row_of(name, own, metric) for name, own in grouped(lines, "network").items()))


def row_of(name: str, own: list[Line], metric: str) -> tuple[object, ...]:
    first = own[0]
    val, test = (spread((line[f"{part}_{metric}"] for line in own), 100) for part in ("val", "test"))
    macs, params = (f"× {first[key]:.3f}" for key in ("macs_ratio", "params_ratio"))
    seconds = f"{sum(line['seconds'] for line in own) / len(own):.0f}"
    return name, len(own), val, test, macs, params, first.get("epochs", ""), first.get("evaluations", ""), seconds


def main() -> None:
    target, runs = map(Path, sys.argv[1:])
    lines, metric = lines_of(runs)
    if not lines:
        sys.exit(f"{runs}: no finished search yet")
    write_lines(target / "results.csv", lines)
    publish(target / "results.md", table_of(lines, metric))


if __name__ == "__main__":
    main()
