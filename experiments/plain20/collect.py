"""Table of the finished ways: ``python experiments/plain20/collect.py runs/plain20``."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
WAYS = ("deep", "shallow", "uniform", "ddpg")
REPORTED = {"deep": "79.2 → 88.3", "shallow": "82.9 → 89.2", "uniform": "83.9 → 89.7", "ddpg": "86.0 → 90.2"}


def main() -> None:
    runs = Path(sys.argv[1])
    rows = [
        "| way | evaluations | MACs | parameters | cut and recovered | fine-tuned | AMC's paper (reported) |",
        "|---|---|---|---|---|---|---|",
    ]
    for way in WAYS:
        file = runs / f"{way}-finetuned" / "summary.json"
        if not file.exists():
            continue
        run, search = json.loads(file.read_text()), json.loads((runs / way / "summary.json").read_text())
        base, tuned = run["baseline"], run["tuned"]
        cut, after = (100 * run[stage]["test"]["accuracy"] for stage in ("cut", "tuned"))
        rows.append(
            f"| {way} | {search['episodes']} | × {tuned['macs'] / base['macs']:.3f} "
            f"| × {tuned['params'] / base['params']:.3f} | {cut:.2f} | {after:.2f} | {REPORTED[way]} |"
        )
        shutil.copy(file, HERE / f"{way}-finetuned.json")
        shutil.copy(runs / way / "plan.json", HERE / f"{way}-plan.json")
    text = "\n".join(rows) + "\n"
    (HERE / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
