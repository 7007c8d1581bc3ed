"""HTML report of a run, or comparison of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from amc.core.errors import AmcError, damaged
from amc.core.files import write_bytes
from amc.reporting.html import read_run, report_page, write_comparison, write_report

COMPARISON = "comparison.html"


def report(folders: Sequence[str | Path], output: str | Path | None = None) -> Path:
    """Writes a self-contained HTML page.

    Args:
        folders: of runs; one gets its own report, several are compared.
        output: the file; by default ``report.html`` in the run folder, or ``comparison.html`` in the current one.

    Returns:
        The file that was written.

    Raises:
        AmcError: no folder, one without a run, damaged files, or the file can't be written.
    """
    if not folders:
        raise AmcError("report: give one run folder, or several to compare")
    with damaged(" ".join(map(str, folders)), "can't be shown", "a file in it is damaged"):
        if len(folders) > 1:
            return write_comparison(folders, output or COMPARISON)
        if output is None:
            return write_report(folders[0])
        write_bytes(output, report_page(read_run(folders[0])).encode())
        return Path(output)
