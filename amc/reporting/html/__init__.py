"""``report.html``: a run, or several compared, as one page that needs nothing but a browser.

The figures are plain dictionaries in Plotly's format: its Python classes would check 20,000 numbers one by one, and
take a second to import. Only its JavaScript goes into the page, compressed.
"""

from amc.reporting.html.compare import write_comparison
from amc.reporting.html.report import REPORT, leave_report, report_page, write_report
from amc.reporting.html.runs import read_run

__all__ = ["REPORT", "leave_report", "read_run", "report_page", "write_comparison", "write_report"]
