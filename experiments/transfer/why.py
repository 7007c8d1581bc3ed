"""What tells a policy which groups to keep, on every network: their place in the walk, or their response?

    python -m experiments.transfer.why runs/transfer [0.5]

Compares what searches from scratch came to (``<runs>/portable/keep-<budget>/seed<n>/<network>/scratch``; a group's keep
ratio is the mean over the ten best different plans of each) with the responses that other searches measured
(``<runs>/response/…``). Writes ``why.csv``, ``why.md`` and ``why.png`` beside itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from amc.core.files import read_json
from amc.reporting.figures import CURVES, save_figure
from amc.tracking import read_episodes
from experiments.common.figures import tidy
from experiments.common.lines import Line, grouped, write_lines
from experiments.common.stats import publish, table

HERE = Path(__file__).parent
RATIO = "keep_ratio/"
BEST = 10


def learned(file: Path) -> dict[str, float]:
    """Group → mean keep ratio of a search's best different plans."""
    rows = [row for row in read_episodes(file) if row["within_budget"]]
    names = [name for name in rows[0] if name.startswith(RATIO)]
    plans: dict[tuple[float, ...], None] = {}
    for row in sorted(rows, key=lambda row: -row["accuracy"]):
        plans.setdefault(tuple(row[name] for name in names))
    means: npt.NDArray[np.float64] = np.mean(list(plans)[:BEST], axis=0)
    return {name.removeprefix(RATIO): float(mean) for name, mean in zip(names, means, strict=True)}


def lines_of(runs: Path, keep: str) -> list[Line]:
    found = []
    for folder in sorted((runs / "portable" / f"keep-{keep}" / "seed0").iterdir()):
        network = folder.name
        files = sorted(runs.glob(f"portable/keep-{keep}/seed*/{network}/scratch/episodes.csv"))
        measured = sorted(runs.glob(f"response/keep-{keep}/seed*/{network}/scratch/responses.json"))
        if not files or not measured:
            continue
        searches, responses = [learned(file) for file in files], read_json(measured[0])
        for place, group in enumerate(searches[0], start=1):
            ratio = float(np.mean([search[group] for search in searches]))
            found.append(
                {"network": network, "group": group, "place": place, "response": responses[group], "keep_ratio": ratio}
            )
    return found


def table_of(lines: list[Line]) -> str:
    rows = []
    for network, own in grouped(lines, "network").items():
        keep, place, response = ([line[key] for line in own] for key in ("keep_ratio", "place", "response"))
        ranks = [spearmanr(keep, other).statistic for other in (place, response)]
        rows.append((network, len(own), *(f"{rank:+.2f}" for rank in ranks)))
    return table(("network", "groups", "keep ratio and place in the walk", "keep ratio and response"), rows)


def draw(lines: list[Line]) -> Figure:
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for colour, (network, own) in zip(CURVES, grouped(lines, "network").items(), strict=False):
        keep, response = (np.array([line[key] for line in own]) for key in ("keep_ratio", "response"))
        relative = response / np.exp(np.log(response).mean())
        left.plot((np.arange(len(own)) + 0.5) / len(own), keep, "o-", color=colour, label=network, markersize=4)
        right.semilogx(relative, keep, "o", color=colour, label=network, markersize=5)
    left.set(xlabel="place in the walk (0: input, 1: output)", ylabel="keep ratio that searches came to")
    right.set(xlabel="response, relative to the network's geometric mean")
    for axes in (left, right):
        tidy(axes)
    left.legend(frameon=False)
    return figure


def main() -> None:
    lines = lines_of(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "0.5")
    if not lines:
        sys.exit(f"{sys.argv[1]}: no finished searches with both observations")
    write_lines(HERE / "why.csv", lines)
    save_figure(HERE / "why.png", draw(lines))
    publish(HERE / "why.md", table_of(lines))


if __name__ == "__main__":
    main()
