"""Families of layer kinds, by which curves, charts and means are grouped."""

from __future__ import annotations

FAMILIES = {
    "conv3x3": "3×3 convolution",
    "conv1x1": "1×1 convolution",
    "depthwise": "depthwise",
    "grouped": "grouped",
    "linear": "linear",
    "heads": "attention",
    "other": "other layers",
    "branch": "residual branch",
}


def family_of(kind: str) -> str:
    """The family of a group's ``kind``: 3×3 and 1×1 convolutions apart, other kinds whatever their size.

    ``linear x8``, of which so many outputs are one channel, are heads, or their width.
    """
    if kind in ("conv3x3", "conv1x1"):
        return kind
    if " x" in kind or kind == "multiheadattention":
        return "heads"
    return next((family for family in ("depthwise", "grouped", "linear", "branch") if kind.startswith(family)), "other")
