"""Names in sentences."""

from __future__ import annotations


def titled(name: str) -> str:
    """``name`` at the start of a sentence; one with capitals, such as mIoU, stays as it is."""
    return name if name != name.lower() else name[:1].upper() + name[1:]
