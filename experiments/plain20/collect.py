"""Table of the finished ways: ``python -m experiments.plain20.collect runs/plain20``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from experiments.common.runs import scores, summary_of
from experiments.common.stats import publish, table

HERE = Path(__file__).parent
WAYS = ("deep", "shallow", "uniform", "ddpg")
HEADS = ("way", "evaluations", "MACs", "parameters", "cut and recovered", "fine-tuned", "AMC's paper (reported)")
REPORTED = {"deep": "79.2 → 88.3", "shallow": "82.9 → 89.2", "uniform": "83.9 → 89.7", "ddpg": "86.0 → 90.2"}


def row_of(way: str, search: Path, tuning: Path) -> tuple[object, ...]:
    run = summary_of(tuning)
    tuned = scores(run["baseline"], run["tuned"])
    macs, params = (f"× {tuned[key]:.3f}" for key in ("macs_ratio", "params_ratio"))
    cut, after = (f"{100 * run[stage]['test']['accuracy']:.2f}" for stage in ("cut", "tuned"))
    return way, summary_of(search)["episodes"], macs, params, cut, after, REPORTED[way]


def main() -> None:
    runs = Path(sys.argv[1])
    rows = []
    for way in WAYS:
        search, tuning = runs / way, runs / f"{way}-finetuned"
        if not (tuning / "summary.json").exists():
            continue
        rows.append(row_of(way, search, tuning))
        shutil.copy(tuning / "summary.json", HERE / f"{way}-finetuned.json")
        shutil.copy(search / "plan.json", HERE / f"{way}-plan.json")
    publish(HERE / "results.md", table(HEADS, rows))


if __name__ == "__main__":
    main()
