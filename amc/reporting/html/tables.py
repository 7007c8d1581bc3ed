"""Tables of a page. Whatever comes from a run folder is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from amc.core.progress import duration
from amc.reporting.console import count
from amc.reporting.html.repeat import without_folders
from amc.reporting.html.runs import StoredRun


def table(header: Sequence[object], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """An HTML table that scrolls by itself on a narrow screen; all but the first ``left`` columns are numbers."""
    head = "".join(_cell("th", value, place < left) for place, value in enumerate(header))
    body = "".join(
        "<tr>" + "".join(_cell("td", value, place < left) for place, value in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def cards(entries: Mapping[str, tuple[str, str]]) -> str:
    """Key results in large type: label → (value, what it is compared with)."""
    inner = "".join(
        f'<div class="card"><div class="label">{escape(label)}</div><div class="value">{escape(value)}</div>'
        f'<div class="beside">{escape(beside)}</div></div>'
        for label, (value, beside) in entries.items()
    )
    return f'<div class="cards">{inner}</div>'


def result_cards(run: StoredRun) -> str:
    """The finished run's result, against the dense network."""
    best, dense = run.summary.get("best"), run.summary.get("baseline")
    if not isinstance(best, Mapping) or not isinstance(dense, Mapping):
        return ""
    entries = {}
    for images, label in (("test", f"test {run.metric}"), ("val", f"validation {run.metric}")):
        after, before = (run.score(side, images) for side in ("best", "baseline"))
        if after is not None and before is not None:
            change = f"{100 * (after - before):+.2f} points" if run.scale.is_fraction else f"{after - before:+.4g}"
            entries[label] = (run.text(after), f"dense {run.text(before)}, {change}")
    for key, label in (("macs", "MACs"), ("params", "parameters")):
        if best.get(key) is not None and dense.get(key):
            entries[label] = (f"× {best[key] / dense[key]:.3f}", f"{count(best[key])} of {count(dense[key])}")
    if best.get("latency_ms") and dense.get("latency_ms"):
        latency = f"{best['latency_ms']:.3g} ms of {dense['latency_ms']:.3g} ms"
        entries["latency"] = (f"× {best['latency_ms'] / dense['latency_ms']:.3f}", latency)
    wall = run.summary.get("wall_seconds")
    if wall is not None:
        episodes = run.summary.get("episodes")
        entries["time"] = (duration(float(wall)), "" if episodes is None else f"{episodes} episodes")
    return cards(entries)


def groups_table(run: StoredRun) -> str:
    """Every layer group with its facts."""
    known, network = run.facts, run.network
    header = ["group", "kind", "kept", "of", "keep ratio"] if known else ["group", "kept", "of", "keep ratio"]
    header += ["MACs", "share", "parameters", "share"] if known else []
    rows = []
    for name, (kept, original) in run.plan.items():
        facts = known.get(name)
        counts = [kept, original, f"{kept / original:.2f}"]
        if network is None:
            rows.append([name, *counts])
        elif facts is not None:
            kind = f"{facts.kind}{', residual' if facts.residual else ''}{', frozen' if facts.frozen else ''}"
            shares = [f"{100 * facts.macs / network.macs:.1f} %", f"{100 * facts.params / network.params:.1f} %"]
            rows.append([name, kind, *counts, count(facts.macs), shares[0], count(facts.params), shares[1]])
    return table(header, rows, left=2 if known else 1)


def config_table(config: Mapping[str, Any]) -> str:
    """The configuration, a row for each setting; of files outside of the run, their names."""
    rows = [(key, _show(value)) for key, value in _flat(config).items()]
    return table(("setting", "value"), rows, left=2)


def _cell(tag: str, value: object, left: bool) -> str:
    return f"<{tag}{'' if left else ' class=number'}>{escape(str(value))}</{tag}>"


def _show(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(without_folders(value))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
