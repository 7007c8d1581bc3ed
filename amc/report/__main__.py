"""``python -m amc.report RUN_DIR...``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from amc.core.shell import Parser, notices, path, shell
from amc.report.run import COMPARISON, report
from amc.reporting.console import show


def main(argv: Sequence[str] | None = None) -> None:
    """``python -m amc.report`` and the console script."""
    parser = Parser(
        prog="python -m amc.report",
        description="Self-contained HTML report of a run, or comparison of several.",
    )
    parser.add_argument("folders", nargs="+", metavar="RUN_DIR", type=path, help="folder of a search, finished or not")
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=path,
        help=f"the HTML file; by default RUN_DIR/report.html, or {COMPARISON} for several",
    )
    with shell():
        given = parser.parse_args(argv)
        notices.settle(True)
        # A report runs nothing that a folder names: what is trusted is the same to it.
        show(Text(str(report([folder for folder in given.folders if not folder.startswith("trust=")], given.output))))


if __name__ == "__main__":
    main()
