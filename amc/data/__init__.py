"""Examples of any task: data sets by name, or a user's own loaders, held in memory."""

from amc.data.examples import Examples, ExampleSet
from amc.data.images import ImageSet
from amc.data.load import Splits, load_dataset

__all__ = ["ExampleSet", "Examples", "ImageSet", "Splits", "load_dataset"]
