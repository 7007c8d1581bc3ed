"""Location of the configuration, and the grammar of its overrides."""

from __future__ import annotations

import json
import re
from pathlib import Path


def config_folder() -> Path:
    """The checkout's ``conf/``; in an installed package, the copy inside it."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "conf"
    return checkout if (checkout / "search.yaml").is_file() else package / "conf"


def key_of(name: object) -> str:
    """``name`` as the key of a mapping in that grammar, which knows no quotes there."""
    return re.sub(r"[\\()\[\]{}:=,\s]", lambda found: f"\\{found[0]}", str(name))


def quoted(value: object) -> str:
    """``value`` in the grammar of Hydra's overrides."""
    if isinstance(value, str):
        # a backslash means something only before a quote
        escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value)
        return f"'{escaped}'"
    if isinstance(value, list):
        return f"[{','.join(map(quoted, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key_of(key)}: {quoted(entry)}" for key, entry in value.items()) + "}"  # YAML too
    return json.dumps(value)
