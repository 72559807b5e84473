"""Images and labels to batches."""

from keras_jft.data.batch import check_batch, collate, label_ids
from keras_jft.data.caching import cache
from keras_jft.data.class_weights import check_map_weights, class_weights
from keras_jft.data.dataset import Wrapped
from keras_jft.data.datasets import (
    ANNOTATED_FOR,
    DATASETS,
    Dataset,
    Info,
    annotated_for,
    check_options,
    load,
)
from keras_jft.data.datasets.layouts.find import find_layout
from keras_jft.data.datasets.layouts.layout import Layout
from keras_jft.data.datasets.records.writing import write_records
from keras_jft.data.hierarchy import LabelHierarchy
from keras_jft.data.images import UnreadableImage
from keras_jft.data.noise import NoisyLabels
from keras_jft.data.parts import hold_out, write_parts
from keras_jft.data.pipeline import iterate
from keras_jft.data.statistics.describe import describe
from keras_jft.data.statistics.description import Description
from keras_jft.data.subsets import (
    class_subset,
    label_counts,
    match_labels,
    read_ids,
    select,
    subset,
    with_labels,
    write_ids,
)
from keras_jft.data.tf_data import batches
from keras_jft.data.transforms.mixup import mixup
from keras_jft.data.transforms.presets import TRANSFORMS, check_transforms

__all__ = [
    "ANNOTATED_FOR",
    "DATASETS",
    "TRANSFORMS",
    "Dataset",
    "Description",
    "Info",
    "LabelHierarchy",
    "Layout",
    "NoisyLabels",
    "UnreadableImage",
    "Wrapped",
    "annotated_for",
    "batches",
    "cache",
    "check_batch",
    "check_map_weights",
    "check_options",
    "check_transforms",
    "class_subset",
    "class_weights",
    "collate",
    "describe",
    "find_layout",
    "hold_out",
    "iterate",
    "label_counts",
    "label_ids",
    "load",
    "match_labels",
    "mixup",
    "read_ids",
    "select",
    "subset",
    "with_labels",
    "write_ids",
    "write_parts",
    "write_records",
]
