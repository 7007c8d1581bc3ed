"""What each recovery gives back for each importance: ResNet-56 / CIFAR-10, uniform, nothing trained.

Rows that `recovery_by_importance.csv` has already are not computed again.
"""

from __future__ import annotations

import argparse
import time

import matplotlib
import numpy as np
from common import HERE, load, read_rows, uniform, write_rows

from amc.finetune.tuner import measure
from amc.importance import NAMES as IMPORTANCES
from amc.recovery import NAMES as RECOVERIES
from amc.reporting.figures import CURVES
from amc.task.problem import make_pruner

matplotlib.use("Agg")
from matplotlib import pyplot as plt

CSV = HERE / "recovery_by_importance.csv"
MACS_RATIOS = (0.3, 0.5, 0.7)
CALIBRATION_IMAGES = 2048


def measured(network, splits):
    rows = read_rows(CSV)
    done = {(row["importance"], row["recovery"], float(row["asked"])) for row in rows}
    for importance in IMPORTANCES:
        for recovery in RECOVERIES:
            missing = [ratio for ratio in MACS_RATIOS if (importance, recovery, ratio) not in done]
            if not missing:
                continue
            pruner = make_pruner(
                network, splits.train, importance, recovery, calibration_images=CALIBRATION_IMAGES, seed=0
            )
            for ratio in missing:
                plan = uniform(network, ratio)
                started = time.perf_counter()
                small = pruner.cut(plan)
                seconds = time.perf_counter() - started
                accuracy = measure(small, splits.test).accuracy
                macs = network.cost_model.cost(plan).macs / network.cost_model.cost().macs
                rows.append({"importance": importance, "recovery": recovery, "asked": ratio,
                             "macs_ratio": round(macs, 4), "test": accuracy, "seconds": round(seconds, 3)})  # fmt: skip
                write_rows(CSV, rows)
                print(f"{importance:15} {recovery:14} {macs:.3f} {accuracy:.4f}", flush=True)
    return rows


def conclude(rows, dense):
    def accuracy(importance, recovery, ratio):
        wanted = (importance, recovery, ratio)
        return next(
            100 * float(row["test"]) for row in rows
            if (row["importance"], row["recovery"], float(row["asked"])) == wanted
        )  # fmt: skip

    lines = []
    for ratio in MACS_RATIOS:
        lines += [f"MACs × {ratio} (uncut {100 * dense:.2f} %)", "",
                  f"| importance | {' | '.join(f'`{name}`' for name in RECOVERIES)} |",
                  "|---" * (len(RECOVERIES) + 1) + "|"]  # fmt: skip
        table = {i: [accuracy(i, r, ratio) for r in RECOVERIES] for i in IMPORTANCES}
        best = np.max(list(table.values()), axis=0)
        for importance, cells in table.items():
            shown = [f"**{c:.2f}**" if c == b else f"{c:.2f}" for c, b in zip(cells, best, strict=True)]
            lines.append(f"| `{importance}` | {' | '.join(shown)} |")
        lines.append("")
    figure, axes = plt.subplots(1, len(MACS_RATIOS), figsize=(13, 4), sharey=True, layout="constrained")
    width = 0.8 / len(RECOVERIES)
    for place, ratio in zip(axes, MACS_RATIOS, strict=True):
        for i, (recovery, colour) in enumerate(zip(RECOVERIES, CURVES, strict=False)):
            heights = [accuracy(importance, recovery, ratio) for importance in IMPORTANCES]
            place.bar(np.arange(len(IMPORTANCES)) + i * width, heights, width, color=colour, label=recovery)
        place.axhline(100 * dense, color="#777777", linestyle="--", linewidth=1)
        place.set_title(f"{round(100 * ratio)} % of the MACs", fontsize=10)
        place.set_xticks(np.arange(len(IMPORTANCES)) + 0.3, IMPORTANCES, rotation=45, ha="right", fontsize=8)
        place.grid(axis="y", color="#E4E4E4")
        place.set_axisbelow(True)
    axes[0].set_ylabel("test top-1, %, nothing trained")
    axes[-1].legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(HERE / "recovery_by_importance.png", dpi=130)
    (HERE / "recovery_by_importance.md").write_text("\n".join(lines))
    print("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--checkpoint", required=True, help="ResNet-56's weights")
    arguments = parser.parse_args()
    network, splits = load("resnet56", arguments.data, arguments.checkpoint)
    conclude(measured(network, splits), measure(network.model, splits.test).accuracy)


if __name__ == "__main__":
    main()
