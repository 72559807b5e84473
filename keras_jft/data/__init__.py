"""Images and labels to batches."""

from keras_jft.data.batch import check_batch
from keras_jft.data.caching import cache
from keras_jft.data.collation import collate
from keras_jft.data.datasets import DATASETS, Dataset, Info, load
from keras_jft.data.labels import LabelHierarchy
from keras_jft.data.noise import NoisyLabels
from keras_jft.data.pipeline import iterate
from keras_jft.data.subsets import subset
from keras_jft.data.tf_data import batches
from keras_jft.data.transforms import TRANSFORMS
from keras_jft.data.writing import write_records

__all__ = [
    "DATASETS",
    "TRANSFORMS",
    "Dataset",
    "Info",
    "LabelHierarchy",
    "NoisyLabels",
    "batches",
    "cache",
    "check_batch",
    "collate",
    "iterate",
    "load",
    "subset",
    "write_records",
]
