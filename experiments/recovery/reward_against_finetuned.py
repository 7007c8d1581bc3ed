"""How well does what a search sees, under each recovery, predict the accuracy after fine-tuning?

    python -m experiments.recovery.reward_against_finetuned --data … --checkpoint …

ResNet-20 / CIFAR-10, plans of half the MACs spread over the space, each fine-tuned alike. Rows that
`reward_against_finetuned.csv` has already are not computed again.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats

from amc.evaluation.scoring import measure, score
from amc.finetune.settings import FineTuneSettings
from amc.finetune.tuner import FineTuner, Phase
from amc.reporting.figures import CURVES, GRID, save_figure
from amc.task.problem import assemble
from amc.task.settings import Settings
from amc.task.task import Task
from amc.training.recipe import Recipe
from experiments.common.lines import grouped, read_lines, write_lines
from experiments.common.networks import inputs, load, macs_ratio, pruner_of, scattered, uniform
from experiments.common.stats import publish, table

HERE = Path(__file__).parent
RECOVERIES = ("none", "bn", "least_squares", "sequential")
CSV = HERE / "reward_against_finetuned.csv"
SEEN = HERE / "seen_by_recovery.csv"
MACS_RATIO = 0.5


def plans(network, count):
    """The uniform plan and plans ever farther from it: logits with a spread from 0.3 to 2.5, then one common shift."""
    rng = np.random.default_rng(0)
    spreads = np.linspace(0.3, 2.5, count - 1)
    return [uniform(network, MACS_RATIO), *(scattered(network, spread, MACS_RATIO, rng) for spread in spreads)]


def finetuned(network, splits, wanted, epochs):
    recipe = Recipe(epochs=epochs, lr=0.1, batch_size=128, weight_decay=1e-4, augment="flip_shift")
    settings = FineTuneSettings(epochs=epochs, lr_scale=0.2)
    rows = read_lines(CSV)
    task = Task("resnet20", network.model, splits.train, splits.val, splits.test)
    problem = assemble(task, settings.method(0), Settings(), None)
    for index, plan in list(enumerate(wanted))[len(rows) :]:
        tuner = FineTuner(problem, recipe, settings, lambda phase, epoch: None, lambda *_: None)
        trained = tuner.run(network.model, Phase("training", plan, epochs), lambda state: None)
        report = measure(trained.model, splits.test, 250)
        kept = json.dumps(dict(plan.kept))
        rows.append(
            {
                "plan": index,
                "macs_ratio": round(macs_ratio(network, plan), 4),
                "finetuned_test": report.score,
                "finetuned_val": trained.metrics.score,
                "kept": kept,
            }
        )
        write_lines(CSV, rows)
        print(f"plan {index}: {trained.cut_metrics.score:.4f} -> {report.score:.4f}", flush=True)
    return rows


def judged(network, splits, wanted):
    """What a search sees of each plan: accuracy on the first 1,000 validation images, and on all 5,000."""
    rows = read_lines(SEEN)
    for recovery in [name for name in RECOVERIES if name not in grouped(rows, "recovery")]:
        pruner = pruner_of(network, splits, recovery=recovery)
        for index, plan in enumerate(wanted):
            right = torch.as_tensor(score(pruner.cut(plan), splits.val, 250).worth)
            rows.append({"recovery": recovery, "plan": index, "seen_1000": float(right[:1000].double().mean()),
                         "seen_5000": float(right.double().mean())})  # fmt: skip
        write_lines(SEEN, rows)
    return rows


def interval(x, y, statistic, draws=10_000):
    """95 % bootstrap interval over the plans."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(x), (draws, len(x)))
    values = [statistic(x[p], y[p])[0] for p in picks if len(set(x[p])) > 1]
    return np.quantile(values, [0.025, 0.975])


def accuracies(rows, seen):
    """What the search sees of the plans of ``rows``: (recovery, images) → array over the plans."""
    found = {}
    for recovery, own in grouped(seen, "recovery").items():
        by_plan = {row["plan"]: row for row in own}
        for images in (1000, 5000):
            found[recovery, images] = np.array([by_plan[row["plan"]][f"seen_{images}"] for row in rows])
    return found


def row_of(recovery, few, many, tuned):
    cells = []
    for statistic in (stats.pearsonr, stats.spearmanr):
        low, high = interval(few, tuned, statistic)
        cells.append(f"{statistic(few, tuned)[0]:.2f} ({low:.2f} … {high:.2f})")
    return f"`{recovery}`", *cells, f"{stats.pearsonr(many, tuned)[0]:.2f}"


def draw(found, tuned):
    figure = Figure(figsize=(13, 3.4), dpi=130, layout="constrained")
    axes = figure.subplots(1, len(RECOVERIES), sharey=True)
    for place, recovery, colour in zip(axes, RECOVERIES, CURVES, strict=False):
        few = found[recovery, 1000]
        place.scatter(100 * few, 100 * tuned, color=colour, s=18)
        place.set_title(f"{recovery}: Pearson {stats.pearsonr(few, tuned)[0]:.2f}", fontsize=10)
        place.set_xlabel("accuracy that the search sees, %\n(1,000 validation images)")
        place.grid(color=GRID)
    axes[0].set_ylabel("test top-1 after fine-tuning, %")
    return figure


def conclude(rows, seen):
    """Correlations over the plans that are fine-tuned by now."""
    tuned, found = np.array([row["finetuned_test"] for row in rows]), accuracies(rows, seen)
    heads = (
        "recovery in the search", "Pearson (95 % interval)", "Spearman (95 % interval)", "Pearson, 5,000 images",
    )  # fmt: skip
    correlations = [row_of(name, found[name, 1000], found[name, 5000], tuned) for name in RECOVERIES]
    save_figure(HERE / "reward_against_finetuned.png", draw(found, tuned))
    publish(HERE / "reward_against_finetuned.md", f"{len(rows)} plans\n\n{table(heads, correlations)}")


def main():
    parser = inputs(__doc__, "ResNet-20")
    parser.add_argument("--plans", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--so-far", action="store_true", help="conclude from the plans that are fine-tuned already")
    arguments = parser.parse_args()
    network, splits = load("resnet20", arguments.data, arguments.checkpoint)
    wanted = plans(network, arguments.plans)
    rows = read_lines(CSV) if arguments.so_far else finetuned(network, splits, wanted, arguments.epochs)
    conclude(rows, judged(network, splits, wanted))


if __name__ == "__main__":
    main()
