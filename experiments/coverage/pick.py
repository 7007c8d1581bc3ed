"""Writes ``timm.txt``: of each file of timm the network with the fewest parameters, without making any.

    python -m experiments.coverage.pick

timm's own ``test_*`` networks, which nobody uses, are left out. Takes a few minutes.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from amc.models.sizes import WithoutValues


def smallest(family: str) -> str | None:
    """Name of the smallest network in ``timm/models/<family>.py``; ``None`` if none of them can be built."""
    import timm

    sizes = {}
    for name in timm.list_models(module=family, exclude_filters="test_*"):
        try:
            with WithoutValues():
                sizes[name] = sum(parameter.numel() for parameter in timm.create_model(name).parameters())
        except Exception:  # a network whose code reads its own weights has none to read
            continue
    return min(sizes, key=lambda name: (sizes[name], name), default=None)


def main() -> None:
    import timm

    warnings.simplefilter("ignore")
    lines = [f"# timm {timm.__version__}: file, network; written by experiments.coverage.pick"]
    found = {family: smallest(family) for family in timm.list_modules()}
    lines += [f"{family} {name}" for family, name in found.items() if name is not None]
    Path(__file__).with_name("timm.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
