"""The table of ``results.jsonl``, and a summary beside the targets.

    python -m experiments.coverage.table

Writes ``table.md``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from experiments.common.stats import publish, table
from experiments.coverage.measure import TOLERANCE
from experiments.coverage.networks import SOURCES, cases
from experiments.coverage.run import read_rows

# Of a network's MACs so much or less are left: what counts as cut far, and how many networks should be.
FAR = {"torchvision": 0.15, "segmentation": 0.2, "detection": 0.2, "timm": 0.2, "hf": 0.3}
TARGETS = {
    "torchvision": "75 of 80",
    "segmentation": "5 of 6",
    "detection": "5 of 6",
    "timm": "55 of 60",
    "hf": "ViT to Whisper, see README",
}
ENDED = ("prunable", "frozen", "refused")
HEADS = ("network", "family", "input", "outcome", "groups", "frozen", "MACs", "reachable", "trace s", "GiB", "wrong?",
         "why not")  # fmt: skip
REASONS = 2  # of a network's frozen groups, that are shown
Row = dict[str, Any]


def wrong(row: Row) -> str:
    """What is wrong with a cut network; an empty text if nothing is, or if there is none."""
    if "counted" not in row:
        return ""
    found = []
    for name, expected, actual in (
        ("dense", row["macs"], row["dense_counted"]),
        ("cut", row["predicted"], row["counted"]),
    ):
        if expected != actual:
            found.append(f"{name} MACs {expected:,} ≠ {actual:,}")
    difference = row["difference"]
    if difference is not None and not difference <= TOLERANCE:
        found.append(f"outputs differ by {difference:.0e}")
    return "; ".join(found)


def general(reason: str) -> str:
    """A reason without the names and numbers of one network, so that equal ones can be counted."""
    named = re.sub(r"\b\w+(?:\.\w+)+\b", "…", reason)
    return re.sub(r"\b\d[\d.e+-]*\b", "n", named).replace("|", "/")


def summary(rows: Sequence[Row]) -> str:
    """A line for each source: how many networks end as they should, and how far they can be cut."""
    lines = []
    totals = Counter(case.source for case in cases())
    for source, title in SOURCES.items():
        own = [row for row in rows if row["name"].startswith(f"{source}/")]
        lines.append([title, totals[source], *_shares(own, FAR[source]), FAR[source], TARGETS[source]])
    heads = ("networks", "listed", "looked at", "end in one line or a cut", "prunable", "reachable, median", "wrong",
             "cut far", "far is", "target")  # fmt: skip
    return table(heads, lines)


def _shares(rows: Sequence[Row], far: float) -> list[object]:
    if not rows:
        return [0, "", "", "", "", ""]
    reachable = [row.get("reachable", 1.0) for row in rows]  # a network that can't be cut keeps all its MACs
    ended, prunable = (
        sum(row["outcome"] in ENDED for row in rows),
        sum(row["outcome"] == "prunable" for row in rows),
    )
    return [
        len(rows),
        *(f"{count} ({count / len(rows):.0%})" for count in (ended, prunable)),
        f"{median(reachable):.3f}",
        sum(bool(wrong(row)) for row in rows),
        f"{sum(value <= far for value in reachable)} of {len(rows)}",
    ]


def reasons(rows: Iterable[Row]) -> str:
    """Why groups, or whole networks, are left alone; those that concern most networks first."""
    networks: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    for row in rows:
        own = {general(reason): 0 for reason, *_ in row.get("frozen", ())}
        for reason, count, _ in row.get("frozen", ()):
            own[general(reason)] += count
        if "error" in row:
            own[f"{row['outcome']}: {general(row['error'])}"] = 0
        networks.update(own.keys())
        groups.update(own)
    return table(("reason", "networks", "groups"), [(r, n, groups[r] or "") for r, n in networks.most_common()])


def line(row: Row) -> list[object]:
    """A network's cells, in the order of ``HEADS``."""
    begin = [row["name"].partition("/")[2], row["family"], row.get("input", ""), row["outcome"]]
    if "groups" not in row:
        return [*begin, "", "", "", "", row.get("trace_seconds", ""), row.get("peak_gib", ""), "", _why(row)]
    macs = row["macs"] - row["head_macs"]
    return [*begin, row["groups"], row["groups"] - row["prunable"], f"{macs / 1e6:,.1f} M", f"{row['reachable']:.3f}",
            row["trace_seconds"], row["peak_gib"], wrong(row).replace("|", "/") or "no", _why(row)]  # fmt: skip


def _why(row: Row) -> str:
    if "error" in row:
        return str(row["error"]).replace("|", "/")
    merged: dict[str, list[int]] = {}
    for reason, count, macs in row["frozen"]:
        entry = merged.setdefault(general(reason), [0, 0])
        entry[0] += count
        entry[1] += macs
    ordered = sorted(merged.items(), key=lambda item: -item[1][1])
    shown = [f"{n} × {reason} ({macs / max(1, row['macs']):.0%} of MACs)" for reason, (n, macs) in ordered[:REASONS]]
    more = len(ordered) - REASONS
    return "; ".join([*shown, *([f"{more} more"] if more > 0 else [])])


def report(rows: Sequence[Row]) -> str:
    """The whole page."""
    order = {case.name: place for place, case in enumerate(cases())}
    rows = sorted((row for row in rows if row["name"] in order), key=lambda row: order[row["name"]])
    parts = ["# What can be cut\n", summary(rows), "\n## Why not\n", reasons(rows)]
    for source, title in SOURCES.items():
        own = [line(row) for row in rows if row["name"].startswith(f"{source}/")]
        if own:
            parts += [f"\n## {title}\n", table(HEADS, own)]
    return "\n".join(parts)


def main() -> None:
    publish(Path(__file__).with_name("table.md"), report(read_rows()))


if __name__ == "__main__":
    main()
