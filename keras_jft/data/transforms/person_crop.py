"""`CropPerson`: a crop of an image around one person, resized to one size.

Shapes: H W height and width of the crop.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_jft.data.batch import GRAY
from keras_jft.data.transforms.geometry import move
from keras_jft.typing import Example


@dataclasses.dataclass(frozen=True)
class CropPerson:
    """Crops an example to its first box and resizes it to one size.

    The box is extended to the aspect ratio of the crop, then enlarged by a
    factor, both around its center. Pixels from outside the image are gray.
    Boxes and keypoints outside of the crop are dropped, as by `RandomCrop`.

    Attributes:
        image_size: `(H, W)` of the crop.
        scales: Least and largest factor, drawn uniformly.

    Raises:
        ValueError: The example has no box, or the first one is not finite, is
            empty, or lies outside of the image.

    References:
        Papandreou et al. 2017, https://arxiv.org/abs/1701.01779, section 3.2:
        353 x 257, factors 1.0 to 1.5 in training and 1.25 to evaluate.
    """

    image_size: tuple[int, int] = (353, 257)
    scales: tuple[float, float] = (1.25, 1.25)

    def __post_init__(self) -> None:
        low, high = self.scales
        if min(self.image_size) < 1 or not 0 < low <= high:
            raise ValueError(
                "`image_size` must be (height, width) in pixels, `scales` "
                "(least, largest) above 0. Received: image_size="
                f"{self.image_size}, scales={self.scales}."
            )

    def __call__(self, example: Example, rng: Any = None) -> Example:
        """Return the example inside the window."""
        low, high = self.scales
        factor = low if low == high else rng.uniform(low, high)
        left, top, right, bottom = self.window(_box(example), factor)
        height, width = self.image_size

        def pixels(array, fill):
            kind = "BILINEAR" if array.shape[-1] == 3 else "NEAREST"
            part, x, y = _padded(array, (left, top, right, bottom), fill)
            part = part if kind == "BILINEAR" else part[..., 0]
            image = Image.fromarray(part).resize(
                (width, height),
                Image.Resampling[kind],
                box=(x, y, x + right - left, y + bottom - top),
            )
            return np.asarray(image).reshape(height, width, -1)

        scale = width / (right - left), height / (bottom - top)
        shift = -left * scale[0], -top * scale[1]
        return move(example, pixels, scale=scale, shift=shift, fill=GRAY)

    def window(
        self, box: Sequence[float] | np.ndarray, factor: float
    ) -> tuple[float, float, float, float]:
        """Return the window around a box, x1, y1, x2, y2; it may reach outside.

        Args:
            box: x1, y1, x2, y2 in pixels.
            factor: Length of its sides relative to the box extended to the
                aspect ratio.

        Example:

        >>> CropPerson((200, 100)).window([0, 0, 40, 40], factor=1.5)
        (-10.0, -40.0, 50.0, 80.0)
        """
        x1, y1, x2, y2 = map(float, box)
        aspect = self.image_size[0] / self.image_size[1]
        height = factor * max(y2 - y1, (x2 - x1) * aspect)
        width = height / aspect
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _box(example):
    """Return the first box, checked."""
    boxes = example.get("bounding_boxes", {}).get("boxes", ())
    height, width = example["images"].shape[:2]
    if len(boxes):
        x1, y1, x2, y2 = box = np.asarray(boxes[0], "float64")
        inside = min(x2, width) > max(x1, 0) and min(y2, height) > max(y1, 0)
        if np.isfinite(box).all() and x1 < x2 and y1 < y2 and inside:
            return box
    received = np.asarray(boxes[0]).tolist() if len(boxes) else "no box"
    raise ValueError(
        "The first box of `bounding_boxes` must be that of a person: finite, "
        f"not empty, in the image, which is {width} wide and {height} high. "
        f"Received: {received}, of example {example.get('ids')!r}. Leave out "
        "boxes without a person."
    )


def _padded(array, window, fill):
    """Return the pixels that a window touches, and where in them it begins.

    Pixels outside of the image are `fill`.
    """
    left, top = (int(np.floor(side)) for side in window[:2])
    right, bottom = (int(np.ceil(side)) for side in window[2:])
    height, width = array.shape[:2]
    inside = array[
        max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)
    ]
    below, beside = max(bottom - height, 0), max(right - width, 0)
    part = np.pad(
        inside,
        [(max(-top, 0), below), (max(-left, 0), beside), (0, 0)],
        constant_values=fill,
    )
    return part, window[0] - left, window[1] - top
