"""Data sets of TensorFlow Datasets by name: one label, many, or boxes."""

import numpy as np

from keras_jft import checks
from keras_jft.data.dataset import Dataset, Info
from keras_jft.data.datasets.boxed_images import (
    ON_ERROR,
    clipped,
    fault_of,
)
from keras_jft.data.images import AnnotatedImages, decode_image

# Where labels are looked for, in this order.
_FIELDS = ("label", "labels", "objects")
# Where TFDS says that finding an object is neither right nor wrong.
_IGNORED = ("is_crowd", "is_difficult")


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
    builder = builder_of(config, directory)
    features = builder.info.features
    field = _field(features, field, config)
    labels, has_boxes = _labels(features, field, config)
    source = source_of(builder, split, config, directory)
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
        image = pixels(found["image"], position, self._config)
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
        return read(self._source, position, self._config)


def builder_of(config, directory):
    """The TFDS builder of a data set, of ArrayRecord files.

    Args:
        config: Name of the TFDS data set.
        directory: TFDS's data directory; its own default, if None.

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
    except Exception as error:  # TFDS has kinds of its own.
        raise ValueError(
            f"`config` must name a TFDS data set. Received: {config!r}. {error}"
        ) from error


def source_of(builder, split, config, directory=None):
    """The examples of a split, at any position; images as bytes of files.

    Args:
        builder: Of `builder_of`.
        split: Name of the split.
        config: Name of the data set.
        directory: TFDS's data directory, where another process finds it.

    Raises:
        ValueError: The split cannot be read at any position.
    """
    try:
        return _Source(builder, split, config, directory)
    except Exception as error:  # TFDS has kinds of its own.
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
        """What goes to another process: all but open files."""
        return {k: v for k, v in vars(self).items() if k != "_opened"}

    def __setstate__(self, state):
        """Opens what another process had open."""
        split, config, directory = (
            state[name] for name in ("_split", "_config", "_directory")
        )
        self.__init__(builder_of(config, directory), split, config, directory)


def _decoders(tfds):
    """Images are left as bytes, which are decoded strictly."""
    return {"image": tfds.decode.SkipDecoding()}


def read(source, position, config):
    """One example of a source, or an error that names it.

    Args:
        source: Of `source_of`.
        position: Of the example.
        config: Name of the data set.

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


def pixels(image, position, config, decode=decode_image):
    """The RGB image of what a source gives: a file's bytes, or an array.

    Args:
        image: Bytes or `(H, W, C)`.
        position: Of the example.
        config: Name of the data set.
        decode: `decode_image`, or that of `AnnotatedImages`.

    Raises:
        UnreadableImage: It cannot be decoded.
    """
    if isinstance(image, bytes):
        return decode(image, f"Image {position} of {config}")
    if image.shape[-1] == 1:
        image = np.repeat(image, 3, axis=-1)
    return image


def load_boxes(
    config,
    split,
    directory=None,
    on_error="raise",
    shift=0.0,
    *,
    orientation=None,
):
    """The images and boxes of a split, at any position.

    Args:
        config: Name of the TFDS data set, such as "coco/2017".
        split: Name of a split there, such as "train" or "train+validation".
        directory: TFDS's data directory; its own default, if left out. The
            data set must have been prepared there as ArrayRecord files:
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
    builder = builder_of(config, directory)
    return TfdsBoxes(
        source_of(builder, split, config, directory),
        builder.info.features["objects"]["label"].names,
        config,
        on_error,
        shift,
        orientation=orientation,
    )


class TfdsBoxes(Dataset):
    """A random-access source of TFDS with boxes.

    Args:
        source: Of `tfds_source.source_of`.
        label_names: One name a class.
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
        """The positions, int64."""
        return np.asarray(positions, "int64")

    def __getitem__(self, position):
        position = self._position(position)
        found = read(self._source, position, self._config)
        image = pixels(
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
