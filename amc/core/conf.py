"""Where the configuration lies."""

from __future__ import annotations

from pathlib import Path


def config_folder() -> Path:
    """The checkout's ``conf/``; in an installed package, the copy inside it."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "conf"
    return checkout if (checkout / "search.yaml").is_file() else package / "conf"
