"""Turns searches and fine-tunings into committed results.

    python experiments/collect_finetuned.py experiments/half_macs runs/half_macs

Reads ``<runs>/<network>/search`` and ``<runs>/<network>/finetuned-seed*``; writes ``results.md``, ``results.csv`` and
``training.png`` (the first seed of each network). Runs that are not finished are left out.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from collect import spread
from matplotlib.figure import Figure

from amc.reporting.figures import CURVES, save_figure


def lines_of(network: Path) -> list[dict[str, object]]:
    lines = []
    for folder in sorted(network.glob("finetuned-seed*")):
        if not (folder / "summary.json").exists():
            continue
        run = json.loads((folder / "summary.json").read_text())
        search = json.loads((network / "search" / "summary.json").read_text())
        lines.append(
            {
                "network": network.name,
                "seed": run["seed"],
                "dense_test": run["baseline"]["test"]["accuracy"],
                "searched_test": search["best"]["test"]["accuracy"],
                "tuned_val": run["tuned"]["val"]["accuracy"],
                "tuned_test": run["tuned"]["test"]["accuracy"],
                "macs_ratio": run["tuned"]["macs"] / run["baseline"]["macs"],
                "params_ratio": run["tuned"]["params"] / run["baseline"]["params"],
                "epochs": run["settings"]["epochs"],
                "search_minutes": search["wall_seconds"] / 60,
                "finetune_minutes": run["wall_seconds"] / 60,
            }
        )
    return lines


def table(lines: list[dict[str, object]]) -> str:
    rows = [
        "| network | seeds | uncut | searched, nothing trained | fine-tuned | MACs | parameters | epochs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(line["network"] for line in lines):
        own = [line for line in lines if line["network"] == name]
        first = own[0]
        rows.append(
            f"| {name} | {len(own)} | {100 * first['dense_test']:.2f} | {100 * first['searched_test']:.2f} | "
            f"**{spread([line['tuned_test'] for line in own])}** | × {first['macs_ratio']:.3f} | "
            f"× {first['params_ratio']:.3f} | {first['epochs']} |"
        )
    return "\n".join(rows) + "\n"


def curves(networks: list[Path]) -> Figure:
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    for network, colour in zip(networks, CURVES, strict=False):
        for i, folder in enumerate(sorted(network.glob("finetuned-seed*/summary.json"))):
            run = json.loads(folder.read_text())
            accuracies = [100 * row["val_accuracy"] for row in run["history"]]
            axes.plot(accuracies, color=colour, alpha=0.8, label=network.name if i == 0 else None)
            axes.axhline(100 * run["baseline"]["val"]["accuracy"], color=colour, linestyle="--", linewidth=0.8)
    axes.set_xlabel("epochs of fine-tuning (0: cut and recovered)")
    axes.set_ylabel("validation accuracy, % (dashed: uncut)")
    axes.grid(axis="y", color="#E4E4E4")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def main() -> None:
    target, runs = map(Path, sys.argv[1:])
    networks = sorted(path for path in runs.iterdir() if path.is_dir())
    lines = [line for network in networks for line in lines_of(network)]
    if not lines:
        sys.exit(f"{runs}: no finished fine-tuning yet")
    with (target / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    (target / "results.md").write_text(table(lines))
    save_figure(target / "training.png", curves(networks))
    print(table(lines))


if __name__ == "__main__":
    main()
