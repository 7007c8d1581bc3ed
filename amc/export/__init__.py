"""Export of a pruned network as ONNX or as a torch program."""

from amc.export.run import export

__all__ = ["export"]
