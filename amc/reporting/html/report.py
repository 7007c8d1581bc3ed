"""The page of one run, of one network or of several."""

from __future__ import annotations

import logging
from html import escape
from pathlib import Path

from amc.core.errors import first_line
from amc.core.files import write_bytes
from amc.reporting.html.curves_chart import curves_chart
from amc.reporting.html.heat_chart import heat_chart
from amc.reporting.html.page import Section, page
from amc.reporting.html.plan_chart import plan_chart
from amc.reporting.html.progress_chart import progress_chart
from amc.reporting.html.repeat import repeated_by
from amc.reporting.html.runs import StoredRun, read_run
from amc.reporting.html.scatter_chart import scatter_chart
from amc.reporting.html.seconds_chart import seconds_chart
from amc.reporting.html.tables import config_table, groups_table, result_cards

REPORT = "report.html"
log = logging.getLogger(__name__)


def write_report(folder: str | Path) -> Path:
    """Writes ``report.html`` into a run folder, and into each network's of a run over several.

    Returns:
        The file.

    Raises:
        AmcError: no run, damaged files, or the file can't be written.
    """
    run, path = read_run(folder), Path(folder)
    for part in run.parts:
        write_bytes(path / "networks" / part.name / REPORT, report_page(part).encode())
    write_bytes(path / REPORT, report_page(run).encode())
    return path / REPORT


def leave_report(folder: str | Path) -> None:
    """Writes a finished run's report. A failure to draw it doesn't fail the run."""
    try:
        write_report(folder)
    except Exception as error:  # whatever it is, all results are on disk already
        log.warning("%s: the report is not drawn: %s", Path(folder) / REPORT, first_line(error))


def report_page(run: StoredRun) -> str:
    """The HTML of a run's report."""
    networks = run.parts or (run,)
    sections = [s for place, network in enumerate(networks) for s in _network(network, f"n{place}", bool(run.parts))]
    repeat = repeated_by(run)
    if repeat:
        note = "What is not said is as in the ready configuration. Files outside of the run are named without folders."
        body = f'<pre>{escape(repeat)}</pre><p class="note">{note}</p>'
        sections.append(Section("The command that repeats it" if repeat[:6] == "python" else "The call", body))
    if run.config:
        sections.append(Section("Configuration", config_table(run.config), folded=True))
    if run.summary.get("versions"):
        sections.append(Section("Versions", config_table(run.summary["versions"]), folded=True))
    return page(_title(run), _lead(run), sections)


def _network(run: StoredRun, prefix: str, headed: bool) -> list[Section]:
    charts = []
    if run.plan:
        charts.append(plan_chart(run, f"{prefix}-plan"))
    if run.episodes:
        charts.append(curves_chart(run, f"{prefix}-curves"))
        charts.append(heat_chart(run, f"{prefix}-heat"))
        charts.append(progress_chart(run, f"{prefix}-progress"))
        charts.append(scatter_chart(run, f"{prefix}-scatter"))
    if set(run.seconds()) - {"other"}:
        charts.append(seconds_chart(run, f"{prefix}-seconds"))
    sections = [Section(run.model if headed else "", result_cards(run), charts)]
    if run.plan:
        title = f"All layer groups of {run.model}" if headed else "All layer groups"
        sections.append(Section(title, groups_table(run), folded=True))
    return sections


def _title(run: StoredRun) -> str:
    return f"{run.model}: {run.summary.get('command') or run.config.get('command') or 'search'}"


def _lead(run: StoredRun) -> str:
    budget = run.fact("budget")
    keys = ("dataset", "agent", "reward", "importance", "recovery", "seed")
    facts = [f"{key} {run.fact(key)}" for key in keys if run.fact(key) is not None]
    if isinstance(budget, dict) and budget.get("keep") is not None:
        facts.append(f"at most {budget['keep']:.0%} of the {_cost(budget.get('cost'))}")
    lead = f'<p class="lead">{escape(" · ".join(map(str, facts)))}</p><p class="note">run folder {escape(run.name)}</p>'
    if not run.summary:
        asked = run.config.get("episodes")
        played = max((len(part.episodes) for part in (run.parts or (run,))), default=0)
        of = f" of {asked}" if isinstance(asked, int) else ""
        lead += f'<p class="warning">Not finished: {played}{of} episodes so far; the best of them is shown.</p>'
    return lead


def _cost(name: object) -> str:
    return {"macs": "MACs", "params": "parameters", "latency_ms": "latency"}.get(str(name), str(name))
