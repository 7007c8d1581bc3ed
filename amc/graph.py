"""The former place of :func:`amc.pruning.groups.trace`, by which users' scripts name it."""

from amc.pruning.groups import trace

__all__ = ["trace"]
