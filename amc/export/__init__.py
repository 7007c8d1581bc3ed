"""A pruned network for other programs: ONNX, or a torch program."""

from amc.export.run import export

__all__ = ["export"]
