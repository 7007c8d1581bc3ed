"""A learned policy's plan for a network, without a search."""

from amc.transfer.result import TransferResult
from amc.transfer.run import transfer

__all__ = ["TransferResult", "transfer"]
