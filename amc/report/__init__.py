"""Pages about finished or running searches, from the files of their folders."""

from amc.report.run import report

__all__ = ["report"]
