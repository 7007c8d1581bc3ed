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

from amc.evaluation.scoring import score
from amc.finetune.settings import FineTuneSettings
from amc.finetune.tuner import FineTuner, Phase, measure
from amc.reporting.figures import CURVES
from amc.task.problem import make_pruner
from amc.training.recipe import Recipe

matplotlib.use("Agg")
from matplotlib import pyplot as plt

RECOVERIES = ("none", "bn", "least_squares", "sequential")
CSV = HERE / "reward_against_finetuned.csv"
SEEN = HERE / "seen_by_recovery.csv"
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


def judged(network, splits, wanted):
    """What a search sees of each plan: accuracy on the first 1,000 validation images, and on all 5,000."""
    rows = read_rows(SEEN)
    for recovery in [r for r in RECOVERIES if not any(row["recovery"] == r for row in rows)]:
        pruner = make_pruner(network, splits.train, "l1", recovery, calibration_images=512, seed=0)
        for index, plan in enumerate(wanted):
            right, _ = score(pruner.cut(plan), splits.val, 250)
            rows.append({"recovery": recovery, "plan": index, "seen_1000": float(right[:1000].double().mean()),
                         "seen_5000": float(right.double().mean())})  # fmt: skip
        write_rows(SEEN, rows)
    return rows


def interval(x, y, statistic, draws=10_000):
    """95 % bootstrap interval over the plans."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(x), (draws, len(x)))
    values = [statistic(x[p], y[p])[0] for p in picks if len(set(x[p])) > 1]
    return np.quantile(values, [0.025, 0.975])


def conclude(rows, seen):
    """Correlations over the plans that are fine-tuned by now."""
    tuned = np.array([float(row["finetuned_test"]) for row in rows])
    lines = [f"{len(rows)} plans", "",
             "| recovery in the search | Pearson (95 % interval) | Spearman (95 % interval) | Pearson, 5,000 images |",
             "|---|---|---|---|"]  # fmt: skip

    def accuracies(recovery, images):
        own = {int(row["plan"]): float(row[f"seen_{images}"]) for row in seen if row["recovery"] == recovery}
        return np.array([own[int(row["plan"])] for row in rows])

    figure, axes = plt.subplots(1, len(RECOVERIES), figsize=(13, 3.4), sharey=True, layout="constrained")
    for place, recovery, colour in zip(axes, RECOVERIES, CURVES, strict=False):
        few, many = accuracies(recovery, 1000), accuracies(recovery, 5000)
        cells = []
        for statistic in (stats.pearsonr, stats.spearmanr):
            low, high = interval(few, tuned, statistic)
            cells.append(f"{statistic(few, tuned)[0]:.2f} ({low:.2f} … {high:.2f})")
        lines.append(f"| `{recovery}` | {cells[0]} | {cells[1]} | {stats.pearsonr(many, tuned)[0]:.2f} |")
        place.scatter(100 * few, 100 * tuned, color=colour, s=18)
        place.set_title(f"{recovery}: Pearson {stats.pearsonr(few, tuned)[0]:.2f}", fontsize=10)
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
    parser.add_argument("--so-far", action="store_true", help="conclude from the plans that are fine-tuned already")
    arguments = parser.parse_args()
    network, splits = load("resnet20", arguments.data, arguments.checkpoint)
    wanted = plans(network, arguments.plans)
    rows = read_rows(CSV) if arguments.so_far else finetuned(network, splits, wanted, arguments.epochs)
    conclude(rows, judged(network, splits, wanted))


if __name__ == "__main__":
    main()
