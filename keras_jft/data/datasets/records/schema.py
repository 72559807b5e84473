"""An example as a `tf.train.Example`, and back.

The names are those of TensorFlow's Object Detection API, DeepLab's for masks:

| feature | type | meaning |
|---|---|---|
| `image/encoded` | bytes | the image file |
| `image/format` | bytes | `jpeg`, `png`, ... |
| `image/height`, `image/width` | int64 | pixels |
| `image/source_id` | bytes | the example's id, as text |
| `image/image_id` | bytes | `image_ids`, as text |
| `image/class/label` | int64 (L) | label ids, one or many, from 0 |
| `image/class/unknown_label` | int64 (U) | `unknown_labels` |
| `image/object/bbox/xmin`, `ymin`, `xmax`, `ymax` | float (N) | fractions |
| `image/object/class/label` | int64 (N) | class indices, from 0 |
| `image/object/is_crowd` | int64 (N) | 1: `ignored` |
| `image/object/area` | float (N) | square pixels |
| `image/object/keypoint/x`, `y` | float (N K) | fractions |
| `image/object/keypoint/visibility` | int64 (N K) | 0, 1, 2 |
| `image/keypoint/x`, `y`, `visibility` | as above (K) | `keypoints` |
| `image/segmentation/class/encoded` | bytes | a PNG of class indices |
| `image/segmentation/class/format` | bytes | `png` |

Features of keys that an example lacks are left out, unlike empty lists. Boxes
and keypoints are restored to within one unit in the last place of float32.

Shapes: L labels, U unknown labels and N boxes of an image, K keypoints, H W
image height and width, n values of a feature.
"""

import io

import numpy as np
from PIL import Image

from keras_jft import text
from keras_jft.data import jpeg
from keras_jft.data.images import FORMATS, decode_image, decode_mask
from keras_jft.files import tensorflow
from keras_jft.text import number_of

_SIZE = ("height", "width")
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def to_record(example, encoded):
    """Return the serialized `tf.train.Example` of one example.

    Args:
        example: An example of a `Dataset`.
        encoded: The bytes of its image file.
    """
    features = {}
    height, width = example["images"].shape[:2]
    features["image/encoded"] = encoded
    features["image/format"] = _format(encoded)
    features["image/height"], features["image/width"] = [height], [width]
    features["image/source_id"] = str(example["ids"])
    if "image_ids" in example:
        features["image/image_id"] = str(example["image_ids"])
    if "labels" in example:
        features["image/class/label"] = np.atleast_1d(example["labels"])
    if "unknown_labels" in example:
        features["image/class/unknown_label"] = example["unknown_labels"]
    if "bounding_boxes" in example:
        features |= _box_features(example["bounding_boxes"], width, height)
    if "keypoints" in example:
        features |= _keypoint_features(
            "image/keypoint", example["keypoints"], width, height
        )
    if "segmentation_masks" in example:
        mask = example["segmentation_masks"][..., 0]
        features["image/segmentation/class/encoded"] = encode_image(mask)
        features["image/segmentation/class/format"] = "png"
    return _serialized(features)


def from_record(
    record, where, *, one_label=False, num_keypoints=0, pixels=True
):
    """Return the example of a serialized `tf.train.Example`.

    Args:
        record: The bytes.
        where: What errors call the record.
        one_label: Whether `labels` is a scalar.
        num_keypoints: K.
        pixels: Whether to decode image and mask, or leave them out.

    Returns:
        An example; its `ids` are text.

    Raises:
        ValueError: It is damaged, or not of this schema.
    """
    found = _Features(record, where)
    example = {}
    if pixels:
        encoded = found.text("image/encoded")
        example["images"] = decode_image(
            encoded, f"the image of {where}", orientation="ignore"
        )
        height, width = example["images"].shape[:2]
    else:
        height, width = (found.integer(f"image/{s}") for s in _SIZE)
        if min(height, width) < 1:
            found.fail("image/height", f"a size of {height}, {width}")
    if "image/class/label" in found:
        labels = found.integers("image/class/label")
        if one_label and len(labels) != 1:
            found.fail("image/class/label", f"1 value, not {len(labels)}")
        example["labels"] = labels[0] if one_label else labels
    if "image/class/unknown_label" in found:
        unknown = found.integers("image/class/unknown_label")
        example["unknown_labels"] = unknown
    if "image/object/bbox/xmin" in found:
        boxes = _boxes(found, width, height, num_keypoints)
        example["bounding_boxes"] = boxes
    if "image/keypoint/x" in found:
        example["keypoints"] = _keypoints(
            found, "image/keypoint", width, height
        )
    if pixels and "image/segmentation/class/encoded" in found:
        example["segmentation_masks"] = decode_mask(
            found.text("image/segmentation/class/encoded"),
            f"the mask of {where}",
            image_size=(height, width),
        )
    example["ids"] = text.decode(found.text("image/source_id"))
    if "image/image_id" in found:
        example["image_ids"] = text.decode(found.text("image/image_id"))
    return example


def encode_image(pixels, encoding="png"):
    """Encode `(H, W)` or `(H, W, 3)` uint8 as PNG, or JPEG of quality 95."""
    buffer = io.BytesIO()
    options = {"quality": 95} if encoding == "jpeg" else {"compress_level": 1}
    Image.fromarray(pixels).save(buffer, encoding, **options)
    return buffer.getvalue()


def stored_image(record, where):
    """Return the bytes of the image file in a record.

    Args:
        record: The serialized `tf.train.Example`.
        where: What errors call the record.
    """
    return _Features(record, where).text("image/encoded")


def stored_id(record, where):
    """Return the id of a record, as text.

    Args:
        record: The serialized `tf.train.Example`.
        where: What errors call the record.
    """
    return text.decode(_Features(record, where).text("image/source_id"))


def id_of(text, id_type, where):
    """Return the id of a record with the type it had before writing.

    Args:
        text: The id as text, as in the record.
        id_type: `int` or `str`.
        where: What errors call the record.

    Raises:
        ValueError: It should be a whole number and is not.
    """
    try:
        return id_type(text)
    except ValueError:
        raise ValueError(
            f"{where} must have a whole number for its id. Received: "
            f"{text[:80]!r}. Write the shard again."
        ) from None


# === Writing ===


def _format(encoded):
    return jpeg.open_image(encoded, FORMATS).format.lower()


def _box_features(entry, width, height):
    name = "image/object"
    fractions = np.asarray(entry["boxes"], "float64").reshape(-1, 4)
    fractions = fractions / [width, height, width, height]
    features = {
        f"{name}/bbox/{side}": fractions[:, i].astype("float32")
        for i, side in enumerate(_SIDES)
    }
    features[f"{name}/class/label"] = entry["labels"]
    if "ignored" in entry:
        features[f"{name}/is_crowd"] = entry["ignored"].astype("int64")
    if "areas" in entry:
        features[f"{name}/area"] = entry["areas"]
    if "keypoints" in entry:
        features |= _keypoint_features(
            f"{name}/keypoint", entry["keypoints"], width, height
        )
    return features


def _keypoint_features(name, keypoints, width, height):
    x, y, visibility = np.asarray(keypoints, "float64").reshape(-1, 3).T
    return {
        f"{name}/x": (x / width).astype("float32"),
        f"{name}/y": (y / height).astype("float32"),
        f"{name}/visibility": visibility.astype("int64"),
    }


def _serialized(features):
    """Serialize `{name: text, bytes or array of numbers}`."""
    train = tensorflow("Writing records").train
    message = train.Example()
    for name, value in features.items():
        feature = message.features.feature[name]
        if isinstance(value, (str, bytes)):
            value = text.encode(value) if isinstance(value, str) else value
            feature.bytes_list.value.append(value)
        elif np.asarray(value).dtype.kind == "f":
            feature.float_list.SetInParent()  # Present even if empty.
            feature.float_list.value.extend(value)
        else:
            feature.int64_list.SetInParent()
            feature.int64_list.value.extend(map(int, value))
    return message.SerializeToString()


# === Reading ===


class _Features:
    """The features of a record; errors name the record and the feature."""

    def __init__(self, record, where):
        train = tensorflow("Reading records").train
        self._where = where
        try:
            message = train.Example.FromString(record)
        except Exception as error:  # A DecodeError, of protobuf's own module.
            raise ValueError(
                f"{where} is not a tf.train.Example: {error}. Write the shard "
                "again."
            ) from error
        self._features = message.features.feature

    def __contains__(self, name):
        return name in self._features

    def fail(self, name, received):
        """Raise the error of one feature."""
        raise ValueError(
            f"{self._where}, feature `{name}`: expected the schema in "
            f"docs/data.md. Received: {received}. Write the shard again."
        )

    def text(self, name):
        """Return the one value of a feature of bytes."""
        values = self._values(name, "bytes_list")
        if len(values) != 1:
            self.fail(name, number_of(len(values), "value"))
        return values[0]

    def integer(self, name):
        """Return the one value of a feature of integers."""
        values = self.integers(name)
        if len(values) != 1:
            self.fail(name, number_of(len(values), "value"))
        return values.item()

    def integers(self, name):
        """Return `(n,)` int32."""
        values = np.array(self._values(name, "int64_list"), "int64")
        # Not by `abs`: abs(-2^63) overflows to a negative number.
        if len(values) and not -(2**31) < values.min() <= values.max() < 2**31:
            self.fail(name, f"a value beyond int32 in {values[:5].tolist()}")
        return values.astype("int32")

    def numbers(self, name):
        """Return `(n,)` float64, all finite."""
        values = np.array(self._values(name, "float_list"), "float64")
        if not np.isfinite(values).all():
            self.fail(name, "a number that is not finite")
        return values

    def _values(self, name, kind):
        if name not in self._features:
            self.fail(name, "nothing")
        feature = self._features[name]
        if feature.WhichOneof("kind") != kind:
            self.fail(name, f"a {feature.WhichOneof('kind')}")
        return getattr(feature, kind).value


def _boxes(found, width, height, num_keypoints):
    name = "image/object"
    sides = [found.numbers(f"{name}/bbox/{side}") for side in _SIDES]
    labels = found.integers(f"{name}/class/label")
    lengths = {len(labels), *map(len, sides)}
    if len(lengths) > 1:
        found.fail(f"{name}/bbox", f"lists of {sorted(lengths)} values")
    boxes = np.stack(sides, axis=-1) * [width, height, width, height]
    entry = {"boxes": boxes.astype("float32"), "labels": labels}
    if f"{name}/is_crowd" in found:
        entry["ignored"] = found.integers(f"{name}/is_crowd").astype("bool")
    if f"{name}/area" in found:
        entry["areas"] = found.numbers(f"{name}/area").astype("float32")
    if f"{name}/keypoint/x" in found:
        keypoints = _keypoints(found, f"{name}/keypoint", width, height)
        if len(keypoints) != len(labels) * num_keypoints:
            found.fail(
                f"{name}/keypoint", number_of(len(keypoints), "keypoint")
            )
        entry["keypoints"] = keypoints.reshape(len(labels), num_keypoints, 3)
    for key, rows in entry.items():
        if len(rows) != len(labels):
            found.fail(f"{name} ({key})", f"{len(rows)}, not {len(labels)}")
    return entry


def _keypoints(found, name, width, height):
    columns = [
        found.numbers(f"{name}/x") * width,
        found.numbers(f"{name}/y") * height,
        found.integers(f"{name}/visibility"),
    ]
    lengths = sorted({*map(len, columns)})
    if len(lengths) > 1:
        found.fail(name, f"lists of {lengths} values")
    return np.stack(columns, axis=-1).astype("float32")
