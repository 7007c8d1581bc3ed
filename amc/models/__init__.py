"""Networks: built by name, those that torchvision lacks, and loading of weights."""

from amc.models.build import build
from amc.models.checkpoint import load_checkpoint

__all__ = ["build", "load_checkpoint"]
