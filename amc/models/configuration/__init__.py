"""Which configuration of transformers describes a network that was cut.

Nothing here knows an architecture. A configuration class is a box that gives, on the meta device, a network whose
tensors have names and sizes; its entries are turned until these are the wanted ones.
"""

from amc.models.configuration.contents import contents_for
from amc.models.configuration.depth import blocks_of, renamed
from amc.models.configuration.family import Family

__all__ = ["Family", "blocks_of", "contents_for", "renamed"]
