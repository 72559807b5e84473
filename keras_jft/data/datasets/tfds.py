"""Data sets of TensorFlow Datasets (TFDS) by name: one label, many, or boxes.

`load` and `Tfds` are for labels of images, `load_boxes` and `TfdsBoxes` for
boxes (`coco` and `voc` use them too). The functions at the end open a split and
read one example.
"""

import numpy as np

from keras_jft import checks
from keras_jft.data.dataset import Dataset, Info
from keras_jft.data.datasets.boxed_images import (
    ON_ERROR,
    clipped,
    fault_of,
)
from keras_jft.data.images import AnnotatedImages, decode_image
from keras_jft.typing import PathLike

# Fields in which labels are looked for, in this order.
_FIELDS = ("label", "labels", "objects")
# Fields for objects whose detection is neither right nor wrong.
_IGNORED = ("is_crowd", "is_difficult")


def load(
    config: str,
    split: str | None = "train",
    *,
    directory: PathLike | None = None,
    field: str | None = None,
    min_confidence: float | None = None,
    max_labels: int | None = None,
    on_error: str = "raise",
) -> Dataset:
    """Load the examples of a split, at any position; ids are positions.

    The kind of example depends on the field: one label, such as `label` of
    "imagenet2012" or `coarse_label` of "cifar100"; many labels, such as
    `labels` of "voc" or `objects` of "open_images_v4"; or boxes, such as
    `objects` of "coco" and "voc".

    Args:
        config: Name of the TFDS data set, such as "open_images_v4/300k".
        split: Name of a split there, such as "train" or "train[:10%]".
        directory: TFDS's data directory; by default TFDS's own. The data set
            must have been prepared there as ArrayRecord files, which can be
            read at any position:
            `tfds.builder(config, file_format="array_record")
            .download_and_prepare()`.
        field: The field of labels; by default the first of "label", "labels"
            and "objects" that exists.
        min_confidence: If labels have a `confidence`, those below this number
            are left out; 1 by default. In Open Images it is in tenths, and 0
            means that a person rejected the label.
        max_labels: Most labels of any image, if known; batches pad to it.
        on_error: What to do with a faulty box: see `coco`. Boxes are not
            shifted here; `voc` shifts VOC's, which count pixels from 1.

    Returns:
        A `Dataset`.

    Raises:
        ImportError: TensorFlow Datasets is not installed.
        ValueError: TFDS does not know the data set, it has not been prepared,
            or it has no images or labels of this kind.
    """
    builder = _builder_of(config, directory)
    features = builder.info.features
    field = _field(features, field, config)
    labels, has_boxes = _labels(features, field, config)
    source = _source_of(builder, split, config, directory)
    if has_boxes:
        return TfdsBoxes(source, labels.names, config, on_error)
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
    """Return the `ClassLabel` of a field, and whether it belongs to boxes."""
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
        source: A source from `_source_of`; images are the bytes of files or
            arrays.
        field: Name of the field of labels.
        info: The data set's `Info`; there is one label per image if `field`
            holds a scalar.
        config: Name of the data set, for errors.
        min_confidence: Labels with less confidence are left out.
    """

    def __init__(self, source, field, info, config, min_confidence):
        self._source, self._field, self.info = source, field, info
        self._config, self._min_confidence = config, min_confidence

    def ids(self, positions):
        """Return the positions, int64."""
        return np.asarray(positions, "int64")

    def image_bytes(self, position):
        """Return the image file, or None where the source decodes it."""
        image = self._read(position)["image"]
        return image if isinstance(image, bytes) else None

    def annotations(self, positions):
        """Return labels and ids without decoding an image."""
        return [self._labels(self._read(i), i) for i in positions]

    def __getitem__(self, position):
        position = self._position(position)
        found = self._read(position)
        image = _pixels(found["image"], position, self._config)
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
            # Some data sets repeat a label per object.
            "labels": np.unique(labels) if labels.ndim else labels[()],
            "ids": int(position),
        }

    def _read(self, position):
        return _read_example(self._source, position, self._config)


def load_boxes(
    config,
    split,
    directory=None,
    on_error="raise",
    shift=0.0,
    *,
    orientation=None,
):
    """Load the images and boxes of a split, at any position.

    Args:
        config: Name of the TFDS data set, such as "coco/2017".
        split: Name of a split there, such as "train" or "train+validation".
        directory: TFDS's data directory; by default TFDS's own. The data set
            must have been prepared there as ArrayRecord files:
            `tfds.builder(config, file_format="array_record")
            .download_and_prepare()`.
        on_error: As for `coco.load`, while reading.
        shift: Added to x1 and y1, in pixels.
        orientation: As for `coco.load`.

    Returns:
        A `Dataset` with `bounding_boxes`. Ids are positions.

    Raises:
        ImportError: TensorFlow Datasets is not installed.
        ValueError: TFDS does not know the data set, or it has not been
            prepared; or, while reading, a box is inverted, empty or outside.
    """
    builder = _builder_of(config, directory)
    return TfdsBoxes(
        _source_of(builder, split, config, directory),
        builder.info.features["objects"]["label"].names,
        config,
        on_error,
        shift,
        orientation=orientation,
    )


class TfdsBoxes(Dataset):
    """A random-access source of TFDS with boxes.

    Args:
        source: A source from `_source_of`.
        label_names: One name per class.
        config: Name of the data set, for errors.
        on_error: "raise" or "drop".
        shift: Added to x1 and y1, in pixels.
        orientation: As for `AnnotatedImages`.
    """

    def __init__(
        self,
        source,
        label_names,
        config,
        on_error="raise",
        shift=0.0,
        *,
        orientation=None,
    ):
        self._images = AnnotatedImages(orientation)
        checks.one_of("on_error", on_error, ON_ERROR)
        self._source, self._config = source, config
        self._on_error, self._shift = on_error, shift
        self.info = Info(
            num_examples=len(source), label_names=tuple(label_names)
        )

    def ids(self, positions):
        """Return the positions, int64."""
        return np.asarray(positions, "int64")

    def __getitem__(self, position):
        position = self._position(position)
        found = _read_example(self._source, position, self._config)
        image = _pixels(
            found["image"], position, self._config, self._images.decode
        )
        return {
            "images": image,
            "bounding_boxes": self._boxes(
                found["objects"], image.shape[:2], position
            ),
            "ids": int(position),
        }

    def _boxes(self, objects, image_size, position):
        height, width = image_size
        places = np.asarray(objects["bbox"], "float32").reshape(-1, 4)
        # TFDS: y1, x1, y2, x2 as fractions of the image.
        boxes = places[:, [1, 0, 3, 2]] * [width, height, width, height]
        boxes += [self._shift, self._shift, 0, 0]
        faults = [fault_of(box, image_size) for box in boxes]
        kept = np.array([fault is None for fault in faults], bool)
        if self._on_error == "raise" and not kept.all():
            number = int(np.flatnonzero(~kept)[0])
            raise ValueError(
                f"Example {position}, box number {number}: expected "
                f"{faults[number]}. Received: {boxes[number].tolist()}. Set "
                "`on_error='drop'` to leave such boxes out."
            )
        entry = {
            "boxes": [clipped(box, image_size) for box in boxes[kept]],
            "labels": np.asarray(objects["label"], "int32")[kept],
        }
        entry["boxes"] = np.array(entry["boxes"], "float32").reshape(-1, 4)
        for key in _IGNORED:
            if key in objects:
                entry["ignored"] = np.asarray(objects[key], "bool")[kept]
        if "area" in objects:
            entry["areas"] = np.asarray(objects["area"], "float32")[kept]
        return entry


def _builder_of(config, directory):
    """Return the TFDS builder of a data set in ArrayRecord files.

    Args:
        config: Name of the TFDS data set.
        directory: TFDS's data directory; None: TFDS's own default.

    Raises:
        ImportError: TensorFlow Datasets is not installed.
        ValueError: TFDS does not know the data set.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "`tfds` needs tensorflow-datasets, which is not installed. "
            "`image_folder`, `manifest`, `coco` and `voc` read files."
        ) from error
    try:
        return tfds.builder(
            config, data_dir=directory, file_format="array_record"
        )
    except Exception as error:  # TFDS raises kinds of its own.
        raise ValueError(
            f"`config` must name a TFDS data set. Received: {config!r}. {error}"
        ) from error


def _source_of(builder, split, config, directory=None):
    """Open a split for reading at any position; images stay file bytes.

    Args:
        builder: A builder from `_builder_of`.
        split: Name of the split.
        config: Name of the data set.
        directory: TFDS's data directory, for other processes that open it.

    Raises:
        ValueError: The split cannot be read at any position.
    """
    try:
        return _Source(builder, split, config, directory)
    except Exception as error:  # TFDS raises kinds of its own.
        raise ValueError(
            f"{config!r}, split {split!r}, cannot be read at any position: "
            f"{error} Prepare it once by `tfds.builder({config!r}, "
            "file_format='array_record').download_and_prepare()`, in a "
            "`directory` of its own if it is there in another format."
        ) from error


class _Source:
    """A split at any position, which each process opens for itself."""

    def __init__(self, builder, split, config, directory):
        import tensorflow_datasets as tfds

        self._split, self._config = split, config
        self._directory = directory
        self._opened = builder.as_data_source(
            split=split, decoders=_decoders(tfds)
        )

    def __len__(self):
        return len(self._opened)

    def __getitem__(self, position):
        return self._opened[position]

    def __iter__(self):
        return iter(self._opened)

    def __getstate__(self):
        """Return what goes to another process: all but open files."""
        return {k: v for k, v in vars(self).items() if k != "_opened"}

    def __setstate__(self, state):
        """Open what another process had open."""
        split, config, directory = (
            state[name] for name in ("_split", "_config", "_directory")
        )
        self.__init__(_builder_of(config, directory), split, config, directory)


def _decoders(tfds):
    """Return decoders that leave images as bytes, to be decoded strictly."""
    return {"image": tfds.decode.SkipDecoding()}


def _read_example(source, position, config):
    """Read one example of a source, or raise an error that names it.

    Args:
        source: A source from `_source_of`.
        position: Position of the example.
        config: Name of the data set, for errors.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        return source[int(position)]
    except Exception as error:  # Of TFDS, protobuf or ArrayRecord.
        raise ValueError(
            f"Example {position} of {config!r} cannot be read: {error}. "
            "Prepare the data set again."
        ) from error


def _pixels(image, position, config, decode=decode_image):
    """Return the RGB image of a file's bytes or of an array.

    Args:
        image: Bytes, or an array `(height, width, channels)`.
        position: Position of the example.
        config: Name of the data set, for errors.
        decode: `decode_image`, or that of `AnnotatedImages`.

    Raises:
        UnreadableImage: It cannot be decoded.
    """
    if isinstance(image, bytes):
        return decode(image, f"Image {position} of {config}")
    if image.shape[-1] == 1:
        image = np.repeat(image, 3, axis=-1)
    return image
