"""Data sets of TensorFlow Datasets by name: one label, many, or boxes."""

import numpy as np

from keras_jft.data.dataset import Dataset, Info
from keras_jft.data.datasets import tfds_boxes, tfds_source

# Where labels are looked for, in this order.
_FIELDS = ("label", "labels", "objects")


def load(
    config,
    split="train",
    *,
    directory=None,
    field=None,
    min_confidence=None,
    max_labels=None,
    on_error="raise",
):
    """The examples of a split, at any position; ids are positions.

    What an example has depends on the field: a label, such as `label` of
    "imagenet2012" or `coarse_label` of "cifar100"; many, such as `labels` of
    "voc" or `objects` of "open_images_v4"; or boxes, such as `objects` of
    "coco" and "voc".

    Args:
        config: Name of the TFDS data set, such as "open_images_v4/300k".
        split: Name of a split there, such as "train" or "train[:10%]".
        directory: TFDS's data directory; its own default, if left out. The
            data set must have been prepared there as ArrayRecord files, which
            can be read at any position:
            `tfds.builder(config, file_format="array_record")
            .download_and_prepare()`.
        field: The field of labels; the first of "label", "labels" and
            "objects" that there is, if left out.
        min_confidence: Where many labels have a `confidence`, those below
            this number are left out. In Open Images it is in tenths, and 0
            says that a person found the label wrong; 1 is the default.
        max_labels: Most labels of an image, if known; batches pad to it.
        on_error: What is done with a faulty box: see `coco`. Boxes are taken
            as they are; `voc` moves VOC's, which count pixels from 1.

    Returns:
        A `Dataset`.

    Raises:
        ImportError: TensorFlow Datasets is not installed.
        ValueError: TFDS does not know the data set, it has not been prepared,
            or it has no images or labels of this kind.
    """
    builder = tfds_source.builder_of(config, directory)
    features = builder.info.features
    field = _field(features, field, config)
    labels, has_boxes = _labels(features, field, config)
    source = tfds_source.source_of(builder, split, config, directory)
    if has_boxes:
        return tfds_boxes.TfdsBoxes(source, labels.names, config, on_error)
    is_one = labels is features[field]
    info = Info(
        num_examples=len(source),
        label_names=tuple(labels.names),
        max_labels=None if is_one else max_labels,
    )
    if min_confidence is None:
        min_confidence = 1
    return Tfds(source, field, info, config, min_confidence)


def _field(features, field, config):
    if "image" not in features:
        raise ValueError(
            "A TFDS data set must have the field `image`. Received "
            f"{config!r} with {sorted(features)}."
        )
    known = [name for name in _FIELDS if name in features]
    if field is None and known:
        return known[0]
    if field not in features:
        raise ValueError(
            f"`field` must be a field of labels of {config!r}, which has "
            f"{sorted(features)}. Received: field={field!r}."
        )
    return field


def _labels(features, field, config):
    """The `ClassLabel` of a field, and whether it is one of boxes."""
    feature = features[field]
    # A sequence of labels has one feature, one of objects has several by name.
    inner = getattr(feature, "feature", feature)
    named = dict(inner.items()) if hasattr(inner, "items") else {}
    label = named.get("label", inner)
    if not hasattr(label, "names"):
        raise ValueError(
            f"`field` must hold class labels. Received field={field!r} of "
            f"{config!r}, which is {feature}."
        )
    return label, "bbox" in named


class Tfds(Dataset):
    """Images and labels of a random-access source of TFDS.

    Args:
        source: What `builder.as_data_source` gives; images are files' bytes
            or arrays.
        field: Name of the field of labels.
        info: The data set's `Info`; labels are one a image if `field` holds a
            scalar.
        config: Name of the data set, for errors.
        min_confidence: Labels with less confidence are left out.
    """

    def __init__(self, source, field, info, config, min_confidence):
        self._source, self._field, self.info = source, field, info
        self._config, self._min_confidence = config, min_confidence

    def ids(self, positions):
        """The positions, int64."""
        return np.asarray(positions, "int64")

    def image_bytes(self, position):
        """The image file, where the source gives it."""
        image = self._read(position)["image"]
        return image if isinstance(image, bytes) else None

    def annotations(self, positions):
        """Labels and ids; no image is decoded."""
        return [self._labels(self._read(i), i) for i in positions]

    def __getitem__(self, position):
        position = self._position(position)
        found = self._read(position)
        image = tfds_source.pixels(found["image"], position, self._config)
        return {"images": image, **self._labels(found, position)}

    def _labels(self, found, position):
        labels = found[self._field]
        if isinstance(labels, dict):
            ids = np.asarray(labels["label"])
            if "confidence" in labels:
                confidence = np.asarray(labels["confidence"])
                ids = ids[confidence >= self._min_confidence]
            labels = ids
        labels = np.asarray(labels, "int32")
        return {
            # Some sets name what is there twice, twice.
            "labels": np.unique(labels) if labels.ndim else labels[()],
            "ids": int(position),
        }

    def _read(self, position):
        return tfds_source.read(self._source, position, self._config)
