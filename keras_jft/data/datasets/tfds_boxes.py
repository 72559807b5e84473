"""Data sets with boxes of TensorFlow Datasets: `coco/...` and `voc/...`."""

import numpy as np

from keras_jft import checks
from keras_jft.data.datasets.boxed_images import (
    ON_ERROR,
    clipped,
    fault_of,
)
from keras_jft.data.datasets.dataset import Dataset, Info
from keras_jft.data.datasets.decoding import decode_image

# Where TFDS says that finding an object is neither right nor wrong.
_IGNORED = ("is_crowd", "is_difficult")


def load(config, split, directory=None, on_error="raise", shift=0.0):
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

    Returns:
        A `Dataset` with `bounding_boxes`. Ids are positions.

    Raises:
        ImportError: TensorFlow Datasets is not installed.
        ValueError: TFDS does not know the data set, or it has not been
            prepared; or, while reading, a box is inverted, empty or outside.
    """
    builder = builder_of(config, directory)
    return TfdsBoxes(
        source_of(builder, split, config),
        builder.info.features["objects"]["label"].names,
        config,
        on_error,
        shift,
    )


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


def source_of(builder, split, config):
    """The examples of a split, at any position; images as bytes of files.

    Args:
        builder: Of `builder_of`.
        split: Name of the split.
        config: Name of the data set, for errors.

    Raises:
        ValueError: The split cannot be read at any position.
    """
    import tensorflow_datasets as tfds

    try:
        return builder.as_data_source(split=split, decoders=_decoders(tfds))
    except Exception as error:  # TFDS has kinds of its own.
        raise ValueError(
            f"{config!r}, split {split!r}, cannot be read at any position: "
            f"{error} Prepare it once by `tfds.builder({config!r}, "
            "file_format='array_record').download_and_prepare()`, in a "
            "`directory` of its own if it is there in another format."
        ) from error


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


def pixels(image, position, config):
    """The RGB image of what a source gives: a file's bytes, or an array.

    Args:
        image: Bytes or `(H, W, C)`.
        position: Of the example.
        config: Name of the data set.

    Raises:
        UnreadableImage: It cannot be decoded.
    """
    if isinstance(image, bytes):
        return decode_image(image, f"Image {position} of {config}")
    if image.shape[-1] == 1:
        image = np.repeat(image, 3, axis=-1)
    return image


class TfdsBoxes(Dataset):
    """A random-access source of TFDS with boxes.

    Args:
        source: Of `source_of`.
        label_names: One name a class.
        config: Name of the data set, for errors.
        on_error: "raise" or "drop".
        shift: Added to x1 and y1, in pixels.
    """

    def __init__(
        self, source, label_names, config, on_error="raise", shift=0.0
    ):
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
        found = read(self._source, position, self._config)
        image = pixels(found["image"], position, self._config)
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
