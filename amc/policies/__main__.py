"""``python -m amc.policies [runs]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.text import Text

from amc.core.errors import AmcError
from amc.policies.listing import RUNS, find_policies, policy_table
from amc.reporting.console import show


def main(argv: Sequence[str] | None = None) -> None:
    """``python -m amc.policies`` and the console script."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if len(arguments) > 1:
            raise AmcError(f"{arguments[1]}: one folder is enough; python -m amc.policies [{RUNS}]")
        folder = arguments[0] if arguments else RUNS
        found = find_policies(folder)
    except AmcError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    show(policy_table(found, folder) if found else Text(f"{folder}: no learned policies"))


if __name__ == "__main__":
    main()
