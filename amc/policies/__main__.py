"""``python -m amc.policies [runs]``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from amc.core.shell import Parser, notices, path, shell
from amc.policies.listing import RUNS, find_policies, policy_table
from amc.reporting.console import show


def main(argv: Sequence[str] | None = None) -> None:
    """``python -m amc.policies`` and the console script."""
    parser = Parser(prog="python -m amc.policies", description="The learned policies in a folder of runs.")
    parser.add_argument(
        "folder", nargs="?", default=RUNS, metavar="RUNS", type=path, help=f"folder of runs, by default {RUNS}"
    )
    with shell():
        folder = parser.parse_args(argv).folder
        notices.settle(True)
        found = find_policies(folder)
        show(policy_table(found, folder) if found else Text(f"{folder}: no learned policies"))


if __name__ == "__main__":
    main()
