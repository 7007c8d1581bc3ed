"""The study's runs → ``results.csv``, ``results.md`` and ``keep_ratios.png`` beside this file.

    python -m experiments.vision_transformer.results runs/vision_transformer

Reads ``<runs>/plans/*`` and ``<runs>/finetuned/*``. Runs that are not finished are left out.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from amc.core.files import read_json
from amc.core.plan_files import plan_entries
from amc.reporting.figures import CURVES, save_figure
from experiments.common.figures import tidy
from experiments.common.lines import Line, write_lines
from experiments.common.runs import finished, scores, summary_of
from experiments.common.stats import publish, table

HERE = Path(__file__).parent
# Folder → the row's name, in the table's order.
ROWS = {
    "uniform": "uniform",
    "uniform-stream": "uniform, embedding whole",
    "global": "all channels ranked together (l1)",
    "isomorphic": "ranked by kind (Isomorphic, l1)",
    "price": "price heuristic",
    "price-strength": "price heuristic, strength by divergence",
    "policy": "policy of ResNet-20, strength by divergence",
    "cma_es": "searched: CMA-ES",
    "ddpg": "searched: DDPG",
}
SHOWN = ("uniform", "isomorphic", "price", "cma_es", "ddpg")
HEADS = ("plan", "evaluations", "MACs", "parameters", "test", "test, sequential", "fine-tuned")
KINDS = {"attn": "heads", "mlp": "feed-forward neurons"}


def line_of(folder: Path, tuned: Path) -> Line:
    """One plan: as it was scored when it was made, refitted sequentially, and fine-tuned if it was."""
    summary = summary_of(folder)
    uncut = summary.get("uncut") or summary["baseline"]
    line: Line = {
        "plan": folder.name,
        "evaluations": summary.get("episodes", 0),
        "uncut_test": uncut["test"]["accuracy"],
        **scores(uncut, summary.get("policy") or summary["best"]),
    }
    if (folder / "sequential.json").exists():
        line["sequential_test"] = read_json(folder / "sequential.json")["test"]["accuracy"]
    if (tuned / "summary.json").exists():
        run = summary_of(tuned)
        line |= {"tuned_test": run["tuned"]["test"]["accuracy"], "epochs": run["settings"]["epochs"]}
        line["tuned_minutes"] = run["wall_seconds"] / 60
    return line


def row_of(line: Line) -> tuple[object, ...]:
    tests = ("test_accuracy", "sequential_test", "tuned_test")
    percent = [f"{100 * line[name]:.2f}" if name in line else "" for name in tests]
    ratios = (f"× {line[f'{what}_ratio']:.3f}" for what in ("macs", "params"))
    return ROWS[line["plan"]], line["evaluations"] or "", *ratios, *percent


def keep_ratios(folder: Path) -> dict[str, float]:
    """Group name → keep ratio of a run's plan."""
    return {name: entry["keep"] / entry["of"] for name, entry in plan_entries(read_json(folder / "plan.json")).items()}


def figure_of(plans: dict[str, dict[str, float]]) -> Figure:
    """A panel for the heads and the feed-forward neurons of each block, and one for what all blocks share."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, (part, title) in zip(panels, KINDS.items(), strict=False):
        for (name, ratios), colour in zip(plans.items(), CURVES, strict=False):
            values = [ratio for group, ratio in ratios.items() if f".{part}." in group]
            axes.plot(range(1, len(values) + 1), values, "o-", color=colour, label=ROWS[name])
        _dress(axes, f"{title}, by block")
    shared = {"patches.0": "stem, first", "patches.3": "stem, second", "patches.6": "embedding"}
    width = 0.8 / len(plans)
    for number, ((_, ratios), colour) in enumerate(zip(plans.items(), CURVES, strict=False)):
        places = [place + width * (number - (len(plans) - 1) / 2) for place in range(len(shared))]
        panels[2].bar(places, [ratios[group] for group in shared], width, color=colour)
    panels[2].set_xticks(range(len(shared)), list(shared.values()))
    _dress(panels[2], "shared by all blocks")
    panels[0].set_ylabel("keep ratio")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(plans), frameon=False)
    return figure


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_ylim(0, 1.05)
    tidy(axes, "y")


def main() -> None:
    runs = Path(sys.argv[1])
    folders = {folder.name: folder for folder in finished(runs / "plans")}
    if not folders:
        sys.exit(f"{runs}: no finished runs yet")
    lines: list[Any] = [line_of(folders[n], runs / "finetuned" / n) for n in ROWS if n in folders]
    write_lines(HERE / "results.csv", lines)
    save_figure(HERE / "keep_ratios.png", figure_of({n: keep_ratios(folders[n]) for n in SHOWN if n in folders}))
    publish(HERE / "results.md", table(HEADS, map(row_of, lines)))


if __name__ == "__main__":
    main()
