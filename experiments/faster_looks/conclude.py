"""How many images does a plan need? Replays random searches on answers that were computed once.

    python -m experiments.faster_looks.conclude runs/faster_looks

Reads ``answers.npz`` of ``answer.py``; writes ``plans.csv``, ``ranking.csv``, ``searches.csv``, ``results.md`` and
``faster_looks.png`` here. A replayed search draws plans at random and keeps the best by what it sees; in each of many
draws plans and images come in another order. What a plan is worth is its accuracy on all images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from amc.core.files import read_json
from amc.evaluation.racing import StopRule
from amc.reporting.figures import CURVES, GRID, save_figure
from experiments.common.lines import write_lines
from experiments.common.stats import publish, table
from experiments.faster_looks.replay import DRAWS, Look, draws, replay

HERE = Path(__file__).parent
IMAGES = (100, 250, 500, 1000, 2500, 5000)
# Cutting, recovery, agent and recording, in images: 153 ms beside 874 ms for 1,000 images in float32 (bench/README.md).
OVERHEAD_IMAGES = 175
SHARES = (0.25, 0.5, 1.0)  # budgets: of what it takes to look at every plan with the fewest images


LOOKS = [Look(n) for n in IMAGES] + [Look(n, StopRule()) for n in IMAGES[3:]]
VARIANTS = [
    *(Look(5000, StopRule(min_images=n)) for n in (125, 500, 1000)),
    *(Look(5000, StopRule(margin=m)) for m in (0.005, 0.01)),
    Look(5000, StopRule(confidence=0.9)),
]


def ranking(right):
    """How well fewer images rank the plans, against all images and against those that were not seen."""
    rows = []
    for count in IMAGES:
        agreement, regret, unseen, good = [], [], [], []
        for worth, mixed in draws(right):
            seen = mixed[:, :count].mean(1)
            agreement.append(stats.spearmanr(seen, worth).statistic)
            regret.append(worth.max() - worth[seen.argmax()])
            best = best_third(worth)
            good.append(stats.spearmanr(seen[best], worth[best]).statistic)
            if 2 * count <= right.shape[1]:
                unseen.append(stats.spearmanr(seen, mixed[:, -right.shape[1] // 2 :].mean(1)).statistic)
        first = stats.spearmanr(right[:, :count].mean(1), right.mean(1)).statistic
        low, high = np.quantile(agreement, [0.05, 0.95])
        rows.append({
            "images": count, "spearman": np.mean(agreement), "spearman_p5": low, "spearman_p95": high,
            "spearman_first_images": first, "spearman_best_third": np.mean(good),
            "spearman_other_half": np.mean(unseen) if unseen else "", "regret": np.mean(regret),
        })  # fmt: skip
    return rows


def searches(right, looks):
    """What each way to look costs, and what it finds with the same number of images in all."""
    rows = []
    for look in looks:
        found = [one_search(mixed, worth, look) for worth, mixed in draws(right)]
        rows.append({"images": look.images, "early_stop": look.name,
                     **{key: mean_of([f[key] for f in found]) for key in found[0]}})  # fmt: skip
    return rows


def mean_of(values):
    """Of those that are numbers; NaN if none is."""
    numbers = [v for v in values if not np.isnan(v)]
    return np.mean(numbers) if numbers else np.nan


def one_search(mixed, worth, look):
    seen = replay(mixed, look)
    stopped = seen.images < look.images
    error = (seen.score - mixed[:, : look.images].mean(1))[stopped]
    row = {
        "images_seen": seen.images.mean(),
        "images_seen_best_third": replay(mixed[best_third(worth)], look).images.mean(),
        "stopped": stopped.mean(),
        "bias_of_stopped": error.mean() if stopped.any() else np.nan,
        "spearman": stats.spearmanr(seen.score, worth).statistic,
        "regret_all_plans": worth.max() - worth[seen.best[-1]],
        "best_lost": float(mixed[seen.best[-1], : look.images].mean() < mixed[:, : look.images].mean(1).max()),
    }
    spent = np.cumsum(seen.images + OVERHEAD_IMAGES)
    for share, budget in zip(SHARES, budgets(len(worth)), strict=True):
        plans = np.searchsorted(spent, budget, side="right")  # finished within the budget
        row[f"plans_{share}"] = plans
        row[f"found_{share}"] = worth[seen.best[plans - 1]] if plans else np.nan
    return row


def best_third(worth):
    return worth >= np.quantile(worth, 2 / 3)


def budgets(plans):
    """In images, overhead included."""
    return [round(share * plans * (min(IMAGES) + OVERHEAD_IMAGES)) for share in SHARES]


def draw(ranks, rows, plans):
    figure = Figure(figsize=(14, 4), dpi=130, layout="constrained")
    left, middle, place = figure.subplots(1, 3)
    images = [r["images"] for r in ranks]
    left.fill_between(images, [r["spearman_p5"] for r in ranks], [r["spearman_p95"] for r in ranks], alpha=0.2)
    left.plot(images, [r["spearman"] for r in ranks], "o-", color=CURVES[0], label="against all 5,000 (5 to 95 %)")
    other = [r for r in ranks if r["spearman_other_half"] != ""]
    left.plot([r["images"] for r in other], [r["spearman_other_half"] for r in other], "s--", color=CURVES[1],
              label="against 2,500 others")  # fmt: skip
    left.plot(images, [r["spearman_best_third"] for r in ranks], "^:", color=CURVES[2], label="best third of the plans")
    left.set(ylabel="Spearman correlation", title=f"Ranking of {plans} plans")
    left.legend(loc="lower right")
    off, on = ([r for r in rows if r["early_stop"] == kind] for kind in ("off", "on"))
    for kind, own, style in (("off", off, "o-"), ("early stop", on, "D--")):
        x = [r["images"] for r in own]
        middle.plot(x, [r["images_seen"] for r in own], style, label=kind, color=CURVES[0 if own is off else 1])
        for share, budget, colour in zip(SHARES, budgets(plans), CURVES[2:], strict=False):
            label = f"{budget:,} images in all" if own is off else None
            place.plot(x, [100 * r[f"found_{share}"] for r in own], style, color=colour, label=label)
    middle.set(ylabel="images seen of each plan (mean)", title="What a look costs", yscale="log")
    place.set(ylabel="true top-1 of the plan found, %", title="Equal work (solid: off, dashed: early stop)")
    for axes in (left, middle, place):
        axes.set(xscale="log", xlabel="evaluate.images")
        axes.set_xticks(IMAGES, [f"{n:,}" for n in IMAGES], minor=False)
        axes.minorticks_off()
        axes.grid(color=GRID)
    middle.legend()
    place.legend(fontsize=8)
    return figure


def tables(ranks, rows, plans):
    return f"{plans} plans, {DRAWS} draws\n\n{ranking_table(ranks)}\n{searches_table(rows, plans)}"


def ranking_table(ranks):
    heads = ("images", "Spearman (5 to 95 %)", "the first images", "against 2,500 others", "best third", "points lost")
    cells = [
        (
            f"{r['images']:,}",
            f"{r['spearman']:.3f} ({r['spearman_p5']:.3f} … {r['spearman_p95']:.3f})",
            f"{r['spearman_first_images']:.3f}",
            f"{r['spearman_other_half']:.3f}" if r["spearman_other_half"] != "" else "–",
            f"{r['spearman_best_third']:.3f}",
            points(r["regret"]),
        )
        for r in ranks
    ]
    return table(heads, cells)


def searches_table(rows, plans):
    heads = (
        "images", "early stop", "seen", "seen, best third", "stopped", "bias", "best lost", "points lost", "Spearman",
        *(f"found in {budget:,} images (plans)" for budget in budgets(plans)),
    )  # fmt: skip
    cells = [
        (
            f"{r['images']:,}",
            r["early_stop"],
            f"{r['images_seen']:.0f}",
            f"{r['images_seen_best_third']:.0f}",
            f"{r['stopped']:.0%}",
            points(r["bias_of_stopped"]),
            f"{r['best_lost']:.1%}",
            points(r["regret_all_plans"]),
            f"{r['spearman']:.3f}",
            *(f"{points(r[f'found_{share}'])} ({r[f'plans_{share}']:.0f})" for share in SHARES),
        )
        for r in rows
    ]
    return table(heads, cells)


def points(fraction):
    return "–" if np.isnan(fraction) else f"{100 * fraction:.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("answers", type=Path, help="folder with answers.npz")
    arguments = parser.parse_args()
    with np.load(arguments.answers / "answers.npz") as stored:
        right = stored["right"]
    facts = read_json(arguments.answers / "facts.json")
    write_lines(HERE / "plans.csv", [
        {"plan": index, "macs_ratio": round(facts["macs_ratios"][index], 4), "accuracy": own.mean(),
         **{f"first_{n}": own[:n].mean() for n in IMAGES[:-1]}}
        for index, own in enumerate(right)
    ])  # fmt: skip
    ranks, rows = ranking(right), searches(right, LOOKS + VARIANTS)
    write_lines(HERE / "ranking.csv", rounded(ranks))
    write_lines(HERE / "searches.csv", rounded(rows))
    save_figure(HERE / "faster_looks.png", draw(ranks, rows, len(right)))
    publish(HERE / "results.md", tables(ranks, rows, len(right)))


def rounded(rows):
    return [{key: round(float(v), 5) if isinstance(v, float) else v for key, v in row.items()} for row in rows]


if __name__ == "__main__":
    main()
