"""Which channels hang together, found by following them through a forward pass."""

from amc.pruning.coupling.couplings import Coupling, Couplings, couplings
from amc.pruning.coupling.products import Product

__all__ = ["Coupling", "Couplings", "Product", "couplings"]
