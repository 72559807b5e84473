"""Data sets with boxes of TensorFlow Datasets: `coco/...` and `voc/...`."""

import numpy as np

from keras_jft import checks
from keras_jft.data.dataset import Dataset, Info
from keras_jft.data.datasets import tfds_source
from keras_jft.data.datasets.boxed_images import (
    ON_ERROR,
    clipped,
    fault_of,
)
from keras_jft.data.images import AnnotatedImages

# Where TFDS says that finding an object is neither right nor wrong.
_IGNORED = ("is_crowd", "is_difficult")


def load(
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
    builder = tfds_source.builder_of(config, directory)
    return TfdsBoxes(
        tfds_source.source_of(builder, split, config, directory),
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
        found = tfds_source.read(self._source, position, self._config)
        image = tfds_source.pixels(
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
