"""Examples of other tasks than one class an image, from files: ``dataset=NAME dataset.path=…``, or a function each."""

from amc.data.parts import Rule
from amc.data.readers.arrays import Named, read_npz
from amc.data.readers.by_name import KINDS, NAMES, load_examples
from amc.data.readers.coco import read_coco
from amc.data.readers.common import ExampleSplits, Look, Work
from amc.data.readers.huggingface import read_hf_images, read_hf_segmentation, read_hf_text
from amc.data.readers.segmentation import Masks, read_segmentation
from amc.data.readers.tables import Columns, read_table
from amc.data.readers.texts import read_text
from amc.data.readers.voc import read_voc

__all__ = [
    "KINDS",
    "NAMES",
    "Columns",
    "ExampleSplits",
    "Look",
    "Masks",
    "Named",
    "Rule",
    "Work",
    "load_examples",
    "read_coco",
    "read_hf_images",
    "read_hf_segmentation",
    "read_hf_text",
    "read_npz",
    "read_segmentation",
    "read_table",
    "read_text",
    "read_voc",
]
