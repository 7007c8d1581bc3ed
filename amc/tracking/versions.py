"""Versions of the packages that results depend on."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("amc-pruning", "torch", "torchvision", "gymnasium", "stable-baselines3", "numpy")


def versions() -> dict[str, str | None]:
    """Version of this project and of every library that results depend on."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout on the path, not installed
        return None
