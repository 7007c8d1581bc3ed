"""Networks: building them by name, the ones torchvision lacks, and loading their weights."""

from amc.models.build import build
from amc.models.checkpoint import load_checkpoint

__all__ = ["build", "load_checkpoint"]
