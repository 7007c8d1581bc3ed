"""``report.html``: a run, or several compared, as one page that needs nothing but a browser.

The figures are plain dictionaries in Plotly's format: its Python classes would check 20,000 numbers one by one, and
take a second to import. Only its JavaScript goes into the page, compressed.
"""

from amc.reporting.html.compare import write_comparison
from amc.reporting.html.report import REPORT, write_report

__all__ = ["REPORT", "write_comparison", "write_report"]
