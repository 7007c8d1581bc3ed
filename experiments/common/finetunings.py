"""Turns searches and fine-tunings into committed results.

    python -m experiments.common.finetunings experiments/half_macs runs/half_macs

Reads ``<runs>/<network>/search`` and ``<runs>/<network>/finetuned-seed*``; writes ``results.md``, ``results.csv`` and
``training.png`` (every seed of each network). Runs that are not finished are left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

from amc.reporting.figures import CURVES, save_figure
from experiments.common.figures import tidy
from experiments.common.lines import Line, grouped, write_lines
from experiments.common.runs import finished, scores, summary_of
from experiments.common.stats import publish, spread, table

TUNINGS = "finetuned-seed*"
HEADS = ("network", "seeds", "uncut", "searched, nothing trained", "fine-tuned", "MACs", "parameters", "epochs")


def lines_of(network: Path) -> list[Line]:
    """A line for each fine-tuning of a network's plan."""
    return [read_run(network, folder) for folder in finished(network, TUNINGS)]


def read_run(network: Path, folder: Path) -> Line:
    run, search = summary_of(folder), summary_of(network / "search")
    tuned = scores(run["baseline"], run["tuned"])
    return {
        "network": network.name,
        "seed": run["seed"],
        "dense_test": run["baseline"]["test"]["accuracy"],
        "searched_test": search["best"]["test"]["accuracy"],
        "tuned_val": tuned["val_accuracy"],
        "tuned_test": tuned["test_accuracy"],
        "macs_ratio": tuned["macs_ratio"],
        "params_ratio": tuned["params_ratio"],
        "epochs": run["settings"]["epochs"],
        "search_minutes": search["wall_seconds"] / 60,
        "finetune_minutes": run["wall_seconds"] / 60,
    }


def table_of(lines: list[Line]) -> str:
    return table(HEADS, (row_of(network, own) for network, own in grouped(lines, "network").items()))


def row_of(network: str, own: list[Line]) -> tuple[object, ...]:
    first = own[0]
    dense, searched = (f"{100 * first[key]:.2f}" for key in ("dense_test", "searched_test"))
    macs, params = (f"× {first[key]:.3f}" for key in ("macs_ratio", "params_ratio"))
    tuned = spread((line["tuned_test"] for line in own), 100)
    return network, len(own), dense, searched, f"**{tuned}**", macs, params, first["epochs"]


def curves(networks: list[Path]) -> Figure:
    """Validation accuracy over the epochs, a colour for each network."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    for network, colour in zip(networks, CURVES, strict=False):
        for i, folder in enumerate(finished(network, TUNINGS)):
            run = summary_of(folder)
            accuracies = [100 * row["val_accuracy"] for row in run["history"]]
            axes.plot(accuracies, color=colour, alpha=0.8, label=network.name if i == 0 else None)
            axes.axhline(100 * run["baseline"]["val"]["accuracy"], color=colour, linestyle="--", linewidth=0.8)
    axes.set_xlabel("epochs of fine-tuning (0: cut and recovered)")
    axes.set_ylabel("validation accuracy, % (dashed: uncut)")
    tidy(axes, "y")
    axes.legend(frameon=False, loc="lower right")
    return figure


def main() -> None:
    target, runs = map(Path, sys.argv[1:])
    networks = sorted(path for path in runs.iterdir() if path.is_dir())
    lines = [line for network in networks for line in lines_of(network)]
    if not lines:
        sys.exit(f"{runs}: no finished fine-tuning yet")
    write_lines(target / "results.csv", lines)
    save_figure(target / "training.png", curves(networks))
    publish(target / "results.md", table_of(lines))


if __name__ == "__main__":
    main()
