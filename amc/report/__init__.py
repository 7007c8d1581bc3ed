"""HTML reports of finished or running searches, from their run folders."""

from amc.report.run import report

__all__ = ["report"]
