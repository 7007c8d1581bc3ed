"""What each recovery gives back for each importance: ResNet-56 / CIFAR-10, uniform, nothing trained.

    python -m experiments.recovery.recovery_by_importance --data … --checkpoint …

Rows that `recovery_by_importance.csv` has already are not computed again.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from amc.finetune.tuner import measure
from amc.importance import NAMES as IMPORTANCES
from amc.recovery import NAMES as RECOVERIES
from amc.reporting.figures import CURVES, GRID, save_figure
from experiments.common.lines import grouped, read_lines, write_lines
from experiments.common.networks import inputs, load, macs_ratio, pruner_of, uniform
from experiments.common.stats import publish, table

HERE = Path(__file__).parent
CSV = HERE / "recovery_by_importance.csv"
MACS_RATIOS = (0.3, 0.5, 0.7)
CALIBRATION_IMAGES = 2048


def measured(network, splits):
    rows = read_lines(CSV)
    done = set(grouped(rows, "importance", "recovery", "asked"))
    for importance in IMPORTANCES:
        for recovery in RECOVERIES:
            missing = [ratio for ratio in MACS_RATIOS if (importance, recovery, ratio) not in done]
            if not missing:
                continue
            pruner = pruner_of(network, splits, importance, recovery, CALIBRATION_IMAGES)
            for ratio in missing:
                plan = uniform(network, ratio)
                started = time.perf_counter()
                small = pruner.cut(plan)
                seconds = time.perf_counter() - started
                accuracy = measure(small, splits.test).score
                macs = macs_ratio(network, plan)
                rows.append({"importance": importance, "recovery": recovery, "asked": ratio,
                             "macs_ratio": round(macs, 4), "test": accuracy, "seconds": round(seconds, 3)})  # fmt: skip
                write_lines(CSV, rows)
                print(f"{importance:15} {recovery:14} {macs:.3f} {accuracy:.4f}", flush=True)
    return rows


def accuracies(rows):
    """(importance, recovery, asked MACs ratio) → test accuracy in %."""
    return {(row["importance"], row["recovery"], row["asked"]): 100 * row["test"] for row in rows}


def tables(rows, dense):
    """Markdown: importance × recovery for each ratio, the best importance of each recovery bold."""
    found, text = accuracies(rows), []
    heads = ("importance", *(f"`{name}`" for name in RECOVERIES))
    for ratio in MACS_RATIOS:
        cells = {i: [found[i, r, ratio] for r in RECOVERIES] for i in IMPORTANCES}
        best = np.max(list(cells.values()), axis=0)
        shown = [
            (f"`{i}`", *(f"**{c:.2f}**" if c == b else f"{c:.2f}" for c, b in zip(own, best, strict=True)))
            for i, own in cells.items()
        ]
        text.append(f"MACs × {ratio} (uncut {100 * dense:.2f} %)\n\n{table(heads, shown)}")
    return "\n".join(text)


def draw(rows, dense):
    """A panel for each ratio: bars of all recoveries for each importance."""
    found, width = accuracies(rows), 0.8 / len(RECOVERIES)
    figure = Figure(figsize=(13, 4), dpi=130, layout="constrained")
    axes = figure.subplots(1, len(MACS_RATIOS), sharey=True)
    for place, ratio in zip(axes, MACS_RATIOS, strict=True):
        for i, (recovery, colour) in enumerate(zip(RECOVERIES, CURVES, strict=False)):
            heights = [found[importance, recovery, ratio] for importance in IMPORTANCES]
            place.bar(np.arange(len(IMPORTANCES)) + i * width, heights, width, color=colour, label=recovery)
        place.axhline(100 * dense, color="#777777", linestyle="--", linewidth=1)
        place.set_title(f"{round(100 * ratio)} % of the MACs", fontsize=10)
        place.set_xticks(np.arange(len(IMPORTANCES)) + 0.3, IMPORTANCES, rotation=45, ha="right", fontsize=8)
        place.grid(axis="y", color=GRID)
        place.set_axisbelow(True)
    axes[0].set_ylabel("test top-1, %, nothing trained")
    axes[-1].legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def conclude(rows, dense):
    save_figure(HERE / "recovery_by_importance.png", draw(rows, dense))
    publish(HERE / "recovery_by_importance.md", tables(rows, dense))


def main():
    arguments = inputs(__doc__, "ResNet-56").parse_args()
    network, splits = load("resnet56", arguments.data, arguments.checkpoint)
    conclude(measured(network, splits), measure(network.model, splits.test).score)


if __name__ == "__main__":
    main()
