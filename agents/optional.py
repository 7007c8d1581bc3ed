"""Packages that only some agents need."""

from __future__ import annotations

import importlib
from types import ModuleType


def import_package(agent: str, package: str) -> ModuleType:
    """``package``, or ``ValueError`` with one line for the user if it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ValueError(
            f"agent={agent}: needs the package {package} ({error}); pip install 'amc-pruning[rivals]'"
        ) from error
