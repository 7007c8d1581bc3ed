"""Which channels hang together, found by following them through a forward pass."""

from amc.pruning.coupling.couplings import Coupling, couplings

__all__ = ["Coupling", "couplings"]
