"""How well does what a search sees, under each recovery, predict the accuracy after fine-tuning?

ResNet-20 / CIFAR-10, plans of half the MACs spread over the space, each fine-tuned alike. Rows that
`reward_against_finetuned.csv` has already are not computed again.
"""

from __future__ import annotations

import argparse
import json

import matplotlib
import numpy as np
from common import HERE, load, project, read_rows, uniform, write_rows
from scipy import stats

from amc.figures import CURVES
from amc.finetuning import FineTuner, FineTuneSettings, Phase, measure
from amc.problem import make_evaluator
from amc.recipe import Recipe
from amc.settings import Settings

matplotlib.use("Agg")
from matplotlib import pyplot as plt

RECOVERIES = ("none", "bn", "least_squares", "sequential")
CSV = HERE / "reward_against_finetuned.csv"
MACS_RATIO = 0.5


def plans(network, count):
    """The uniform plan and plans ever farther from it: logits with a spread from 0.3 to 2.5, then one common shift."""
    rng = np.random.default_rng(0)
    found = [uniform(network, MACS_RATIO)]
    names = [g.name for g in network.groups if g.frozen is None]
    for spread in np.linspace(0.3, 2.5, count - 1):
        found.append(project(network, dict(zip(names, rng.normal(0, spread, len(names)), strict=True)), MACS_RATIO))
    return found


def finetuned(network, splits, wanted, epochs):
    recipe = Recipe(epochs=epochs, lr=0.1, batch_size=128, weight_decay=1e-4, augment="flip_shift")
    settings = FineTuneSettings(epochs=epochs, lr_scale=0.2)
    rows = read_rows(CSV)
    for index, plan in list(enumerate(wanted))[len(rows) :]:
        tuner = FineTuner(
            network, splits.train, splits.val, recipe, settings, 0, lambda phase, epoch: None, lambda *_: None
        )
        trained = tuner.run(network.model, Phase("training", plan, epochs), lambda state: None)
        report = measure(trained.model, splits.test)
        ratio = network.cost_model.cost(plan).macs / network.cost_model.cost().macs
        kept = json.dumps(dict(plan.kept))
        rows.append({"plan": index, "macs_ratio": round(ratio, 4), "finetuned_test": report.accuracy,
                     "finetuned_val": trained.metrics.accuracy, "kept": kept})  # fmt: skip
        write_rows(CSV, rows)
        print(f"plan {index}: {trained.cut_metrics.accuracy:.4f} -> {report.accuracy:.4f}", flush=True)
    return rows


def judged(network, splits, wanted, rows):
    for recovery in RECOVERIES:
        if all(f"{recovery}_1000" in row for row in rows):
            continue
        for images in (1000, 5000):
            settings = Settings(images=images, calibration_images=512, precision="fp32")
            evaluator = make_evaluator(network, splits.train, splits.val, "l1", recovery, settings, 0)
            for row, plan in zip(rows, wanted, strict=True):
                row[f"{recovery}_{images}"] = evaluator(plan).accuracy
        write_rows(CSV, rows)
    return rows


def interval(x, y, statistic, draws=10_000):
    """95 % bootstrap interval over the plans."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(x), (draws, len(x)))
    values = [statistic(x[p], y[p])[0] for p in picks if len(set(x[p])) > 1]
    return np.quantile(values, [0.025, 0.975])


def conclude(rows):
    tuned = np.array([float(row["finetuned_test"]) for row in rows])
    lines = ["| recovery in the search | Pearson (95 % interval) | Spearman (95 % interval) | Pearson, 5,000 images |",
             "|---|---|---|---|"]  # fmt: skip
    figure, axes = plt.subplots(1, len(RECOVERIES), figsize=(13, 3.4), sharey=True, layout="constrained")
    for place, recovery, colour in zip(axes, RECOVERIES, CURVES, strict=False):
        seen, more = (np.array([float(row[f"{recovery}_{n}"]) for row in rows]) for n in (1000, 5000))
        cells = []
        for statistic in (stats.pearsonr, stats.spearmanr):
            low, high = interval(seen, tuned, statistic)
            cells.append(f"{statistic(seen, tuned)[0]:.2f} ({low:.2f} … {high:.2f})")
        lines.append(f"| `{recovery}` | {cells[0]} | {cells[1]} | {stats.pearsonr(more, tuned)[0]:.2f} |")
        place.scatter(100 * seen, 100 * tuned, color=colour, s=18)
        place.set_title(f"{recovery}: Pearson {stats.pearsonr(seen, tuned)[0]:.2f}", fontsize=10)
        place.set_xlabel("accuracy that the search sees, %\n(1,000 validation images)")
        place.grid(color="#E4E4E4")
    axes[0].set_ylabel("test top-1 after fine-tuning, %")
    figure.savefig(HERE / "reward_against_finetuned.png", dpi=130)
    (HERE / "reward_against_finetuned.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--checkpoint", required=True, help="ResNet-20's weights")
    parser.add_argument("--plans", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    network, splits = load("resnet20", arguments.data, arguments.checkpoint)
    wanted = plans(network, arguments.plans)
    rows = finetuned(network, splits, wanted, arguments.epochs)
    conclude(judged(network, splits, wanted, rows))


if __name__ == "__main__":
    main()
