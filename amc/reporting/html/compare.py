"""One page that compares several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from amc.core.files import write_bytes
from amc.reporting.console import count
from amc.reporting.html.compare_charts import plans_chart, rewards_chart, scatters_chart
from amc.reporting.html.page import Section, page
from amc.reporting.html.runs import StoredRun, read_run
from amc.reporting.html.tables import table

FACTS = ("model", "command", "dataset", "agent", "reward", "importance", "recovery", "budget", "episodes", "seed")


def write_comparison(folders: Sequence[str | Path], output: str | Path) -> Path:
    """Writes a page that compares the runs, in this order; each network of a run over several is one of its own.

    Returns:
        ``output``.

    Raises:
        AmcError: no run in one of the folders, damaged files, or the file can't be written.
    """
    runs = [part for folder in folders for part in _networks(read_run(folder))]
    write_bytes(output, comparison_page(runs).encode())
    return Path(output)


def comparison_page(runs: Sequence[StoredRun]) -> str:
    """The HTML of the comparison."""
    named = dict(zip(labels(runs), runs, strict=True))
    searched = {label: run for label, run in named.items() if run.episodes}
    charts = []
    if searched:
        charts += [rewards_chart(searched, "rewards"), scatters_chart(searched, "scatters")]
    for place, alike in enumerate(_of_same_groups(named)):
        charts.append(plans_chart(alike, f"plans{place}"))
    sections = [Section("Results", _results(named))]
    if any(len(seeds) > 1 for seeds in by_seed(runs)):
        sections.append(Section("Mean and standard deviation over seeds", _over_seeds(runs)))
    sections.append(Section("", "", charts))
    return page(f"{len(runs)} runs compared", _shared(runs), sections)


def labels(runs: Sequence[StoredRun]) -> list[str]:
    """Labels by the settings in which runs differ, with the folder's name where these are not enough."""
    differing = [key for key in FACTS if len({_fact(run, key) for run in runs}) > 1]
    short = [", ".join(_words(key, _fact(run, key)) for key in differing if _fact(run, key)) for run in runs]
    doubled = {label for label in short if short.count(label) > 1 or not label}
    named = [
        f"{label} ({run.name})" if label in doubled and label else label or run.name
        for label, run in zip(short, runs, strict=True)
    ]
    return [label if named.count(label) == 1 else f"{label} #{place + 1}" for place, label in enumerate(named)]


def by_seed(runs: Sequence[StoredRun]) -> list[list[StoredRun]]:
    """Finished runs grouped by all settings but the seed."""
    found: dict[tuple[Any, ...], list[StoredRun]] = {}
    for run in runs:
        if run.summary.get("best"):
            key = (*(_fact(run, key) for key in FACTS if key != "seed"), _settings(run))
            found.setdefault(key, []).append(run)
    return list(found.values())


def _settings(run: StoredRun) -> str:
    return repr(sorted((key, repr(value)) for key, value in run.config.items() if key != "seed"))


def _networks(run: StoredRun) -> Sequence[StoredRun]:
    return [replace(part, name=f"{run.name}/{part.name}") for part in run.parts] or [run]


def _fact(run: StoredRun, key: str) -> str:
    value = run.fact(key)
    if key == "command":
        return "" if value in ("search", "joint") else str(value or "")
    if key == "budget" and isinstance(value, Mapping):
        keep = value.get("keep")
        return "none" if keep is None else f"{keep:g} {value.get('cost', '')}".strip()
    return "" if value is None else str(value)


def _words(key: str, value: str) -> str:
    if key == "episodes":
        return f"{value} episodes"
    return f"{key} {value}" if key in ("seed", "budget") else value


def _shared(runs: Sequence[StoredRun]) -> str:
    same = [key for key in FACTS if len({_fact(run, key) for run in runs}) == 1 and _fact(runs[0], key)]
    return f'<p class="lead">{escape(" · ".join(f"{key} {_fact(runs[0], key)}" for key in same))}</p>'


def _of_same_groups(named: Mapping[str, StoredRun]) -> list[dict[str, StoredRun]]:
    """Runs grouped by equal layer groups of their plans."""
    found: dict[tuple[tuple[str, int], ...], dict[str, StoredRun]] = {}
    for label, run in named.items():
        if run.plan:
            key = tuple((name, original) for name, (_, original) in run.plan.items())
            found.setdefault(key, {})[label] = run
    return list(found.values())


def measures(run: StoredRun) -> dict[str, float]:
    """Results of a run: scores and costs as fractions, seconds; empty if it is not finished."""
    best, dense = run.summary.get("best") or {}, run.summary.get("baseline") or {}
    found = {}
    for images in ("val", "test"):
        for name, side in (("dense", "baseline"), ("best", "best")):
            score = run.score(side, images)
            if score is not None:
                found[f"{images} {name}"] = score
    for cost in ("macs", "params", "latency_ms"):
        if best.get(cost) and dense.get(cost):
            found[cost] = best[cost] / dense[cost]
    if best.get("reward") is not None:
        found["reward"] = float(best["reward"])
    return found


HEADERS = {
    "val dense": "validation, dense", "val best": "validation, best", "test dense": "test, dense",
    "test best": "test, best", "macs": "MACs", "params": "parameters", "latency_ms": "latency", "reward": "reward",
}  # fmt: skip


def _results(named: Mapping[str, StoredRun]) -> str:
    found = {label: measures(run) for label, run in named.items()}
    shown = [key for key in HEADERS if any(key in values for values in found.values())]
    rows = [
        [
            label,
            *(_format(key, values.get(key), named[label]) for key in shown),
            len(named[label].episodes),
            _wall(named[label]),
        ]
        for label, values in found.items()
    ]
    return table(["run", *(HEADERS[key] for key in shown), "episodes", "seconds"], rows)


def _over_seeds(runs: Sequence[StoredRun]) -> str:
    rows = []
    families = by_seed(runs)
    firsts = labels([family[0] for family in families])
    for family, label in zip(families, firsts, strict=True):
        columns = [measures(run) for run in family]
        cells = []
        for key in HEADERS:
            values = [column[key] for column in columns if key in column]
            spread = f" ± {_spread(key, values, family[0])}" if len(values) > 1 else ""
            cells.append(_format(key, mean(values), family[0]) + spread if values else "")
        rows.append([label if len(families) > 1 else family[0].model, len(family), *cells])
    return table(["runs", "seeds", *HEADERS.values()], rows)


def _spread(key: str, values: Sequence[float], run: StoredRun) -> str:
    return _format(key, stdev(values), run).removeprefix("× ")


def _format(key: str, value: float | None, run: StoredRun) -> str:
    if value is None:
        return ""
    if key.startswith(("val", "test")):
        return run.text(value)
    return f"{value:.4g}" if key == "reward" else f"× {value:.3f}"


def _wall(run: StoredRun) -> str:
    seconds = run.summary.get("wall_seconds")
    return "not finished" if seconds is None else count(float(seconds))
