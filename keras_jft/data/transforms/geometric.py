"""Pure transforms that resize, crop, pad and flip: `example, rng -> example`.

Every geometric transform moves images, masks, boxes and keypoints together. It
passes `geometry.move` a function of the pixels, and the equivalent scale and
shift of coordinates.

Shapes: H W image height and width, K keypoints.
"""

import dataclasses
import numbers
from typing import Any

import numpy as np

from keras_jft import sides
from keras_jft.data.batch import GRAY
from keras_jft.data.transforms.geometry import move
from keras_jft.data.transforms.resampling import mirror, resample
from keras_jft.text import number_of
from keras_jft.typing import Example


@dataclasses.dataclass(frozen=True)
class Resize:
    """Resizes to a given size, ignoring the aspect ratio.

    Interpolation is linear for images, nearest for masks.

    Attributes:
        image_size: `(H, W)`.
        antialias: As for `jft.data.transforms.resampling.resample`.
    """

    image_size: tuple[int, int]
    antialias: bool = True

    def __post_init__(self) -> None:
        _check_size(self)

    def __call__(self, example: Example, rng: Any = None) -> Example:
        """Return the example at `image_size`."""
        size = self.image_size
        old_size = example["images"].shape[:2]
        if old_size == tuple(size):
            return example

        def pixels(array, fill):
            return resample(array, size, antialias=self.antialias)

        scale = size[1] / old_size[1], size[0] / old_size[0]
        return move(example, pixels, scale=scale)


@dataclasses.dataclass(frozen=True)
class ResizeShortest:
    """Resizes the shorter side to a length, keeping the aspect ratio.

    If the longer side would then exceed its limit, it gets that length instead.
    With `shortest == longest`, the longer side always gets that length.

    Attributes:
        shortest: Length of the shorter side in pixels.
        longest: Largest length of the longer side in pixels.

    References:
        The `keep_aspect_ratio_resizer` of the TensorFlow Object Detection API,
        with which Huang et al. 2017, https://arxiv.org/abs/1611.10012, trained.
    """

    shortest: int = 600
    longest: int = 1024

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.longest:
            raise ValueError(
                "`shortest` must be positive and at most `longest`. Received: "
                f"shortest={self.shortest}, longest={self.longest}."
            )

    def __call__(self, example: Example, rng: Any = None) -> Example:
        """Return the example with sides of these lengths."""
        return Resize(self.image_size_of(example["images"].shape[:2]))(example)

    def image_size_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the `(H, W)` that an image of `size` is resized to."""
        height, width = (
            round(side * self.shortest / min(size)) for side in size
        )
        if max(height, width) > self.longest:
            height, width = (
                round(side * self.longest / max(size)) for side in size
            )
        return max(height, 1), max(width, 1)


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """Crops a window of a given size at a uniformly drawn place.

    Boxes are clipped, boxes outside are dropped, keypoints outside are set to
    0, 0, 0.

    Attributes:
        image_size: `(H, W)` of the window.
    """

    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        _check_size(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Return the example inside a random window."""
        room = _room_of(self, example)
        top, left = (int(rng.integers(free + 1)) for free in room)
        return _crop(example, top, left, self.image_size)


@dataclasses.dataclass(frozen=True)
class CenterCrop:
    """Crops a window of a given size at the center; see `RandomCrop`.

    Attributes:
        image_size: `(H, W)` of the window.
    """

    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        _check_size(self)

    def __call__(self, example: Example, rng: Any = None) -> Example:
        """Return the example inside its central window."""
        top, left = (free // 2 for free in _room_of(self, example))
        return _crop(example, top, left, self.image_size)


@dataclasses.dataclass(frozen=True)
class ResizedCrop:
    """Applies `Resize`, then `RandomCrop` or `CenterCrop`, in one step.

    Only the pixels that survive the crop are resized.

    Attributes:
        resize: `(H, W)` that the example is resized to.
        image_size: `(H, W)` of the window.
        random: Whether the window is drawn uniformly; else it is central.
        antialias: As for `jft.data.transforms.resampling.resample`.
    """

    resize: tuple[int, int]
    image_size: tuple[int, int]
    random: bool = True
    antialias: bool = True

    def __post_init__(self) -> None:
        _check_size(self)
        _check_size(self, "resize")
        _room(self, self.resize, "`resize`")

    def __call__(self, example: Example, rng: Any = None) -> Example:
        """Return the example inside its window."""
        room = _room(self, self.resize, "`resize`")
        if self.random:
            top, left = (int(rng.integers(free + 1)) for free in room)
        else:
            top, left = (free // 2 for free in room)
        height, width = example["images"].shape[:2]

        def pixels(array, fill):
            window = top, left, *self.image_size
            return resample(
                array, self.resize, window, antialias=self.antialias
            )

        scale = self.resize[1] / width, self.resize[0] / height
        return move(example, pixels, scale=scale, shift=(-left, -top))


@dataclasses.dataclass(frozen=True)
class Pad:
    """Adds a margin on all four sides, of one brightness and void in masks.

    Attributes:
        margin: Pixels per side.
        value: Brightness of the margin, 0..255.
    """

    margin: int
    value: int = 0

    def __call__(self, example: Example, rng: Any = None) -> Example:
        """Return the example inside a margin."""

        def pixels(array, fill):
            width = [(self.margin,) * 2] * 2 + [(0, 0)]
            return np.pad(array, width, constant_values=fill)

        shift = self.margin, self.margin
        return move(example, pixels, shift=shift, fill=self.value)


@dataclasses.dataclass(frozen=True)
class PadTo:
    """Pads below and right to a given size, gray and void in masks.

    The example, and its batch, get `image_sizes`, the height and width of the
    true image. This must be the last geometric transform.

    Attributes:
        image_size: `(H, W)`; None pads to the largest image of the batch.

    Raises:
        ValueError: An image is larger.
    """

    image_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.image_size is not None:
            _check_size(self)

    def __call__(self, example: Example, rng: Any = None) -> Example:
        """Return the example inside its padding."""
        size = example["images"].shape[:2]
        padded = {"image_sizes": np.array(size, "int32"), **example}
        if self.image_size is None:
            return padded
        below, right = np.subtract(self.image_size, size)
        if min(below, right) < 0:
            raise ValueError(
                f"An image must fit into {self}. Received image "
                f"{example.get('ids')!r} of size {size}. Resize first, for "
                "example with `ResizeShortest`."
            )

        def pixels(array, fill):
            width = [(0, below), (0, right), (0, 0)]
            return np.pad(array, width, constant_values=fill)

        return move(padded, pixels, fill=GRAY)


@dataclasses.dataclass(frozen=True)
class RandomFlip:
    """Mirrors left and right with a given probability.

    Attributes:
        keypoint_names: One name per keypoint; "left_eye" and "right_eye"
            change places, in any spelling that `keras_jft.sides` reads.
            Examples with keypoints need it, or `flip_pairs`.
        probability: Probability that an example is mirrored.
        flip_pairs: Pairs of keypoints that change places, by name or by
            position; () for none. By default they are taken from the names.

    Raises:
        ValueError: A left keypoint has no right one, or vice versa; or
            `flip_pairs` are not pairs of keypoints.
    """

    keypoint_names: tuple[str, ...] = ()
    probability: float = 0.5
    flip_pairs: tuple[tuple, ...] | None = dataclasses.field(
        default=None, metadata={"added": True}
    )

    def __post_init__(self) -> None:
        if self.keypoint_names:
            sides.mirrored(self.keypoint_names, self.flip_pairs)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Return the example, mirrored or as it was."""
        if rng.random() >= self.probability:
            return example
        width = example["images"].shape[1]
        flipped = move(
            example,
            lambda array, fill: mirror(array),
            scale=(-1, 1),
            shift=(width, 0),
        )
        if "keypoints" in example:
            flipped["keypoints"] = self._swapped(flipped["keypoints"])
        if "keypoints" in example.get("bounding_boxes", {}):
            entry = flipped["bounding_boxes"]
            keypoints = self._swapped(entry["keypoints"])
            flipped["bounding_boxes"] = {**entry, "keypoints": keypoints}
        return flipped

    def _swapped(self, keypoints):
        """Return `(..., K, 3)` keypoints with left and right exchanged."""
        names, count = self.keypoint_names, keypoints.shape[-2]
        if len(names) != count and (names or self.flip_pairs is None):
            raise ValueError(
                "`keypoint_names` must name every keypoint, so that left "
                "and right can change places. Received "
                f"{number_of(len(names), 'name')} for "
                f"{number_of(count, 'keypoint')}. Pass "
                "`data.info.keypoint_names`, or `flip_pairs` of positions."
            )
        order = sides.mirrored(names, self.flip_pairs, count)
        return keypoints[..., order, :]


# === Windows and sizes ===


def _crop(example, top, left, size):
    return move(
        example,
        lambda array, fill: array[top : top + size[0], left : left + size[1]],
        shift=(-left, -top),
    )


def _room(crop, size, name):
    """Return how far a crop can move down and right within a size."""
    room = size[0] - crop.image_size[0], size[1] - crop.image_size[1]
    if min(room) < 0:
        raise ValueError(
            f"An image must contain the crop {crop}. Received {name} of size "
            f"{size}. Resize or pad first."
        )
    return room


def _room_of(crop, example):
    name = f"image {example.get('ids')!r}"
    return _room(crop, example["images"].shape[:2], name)


def _check_size(transform, name="image_size"):
    """Make an attribute a tuple of two `int`s, or raise `ValueError`."""
    size = getattr(transform, name)
    if not (
        isinstance(size, (list, tuple))
        and len(size) == 2
        and all(isinstance(side, numbers.Integral) for side in size)
        and min(size) > 0
    ):
        raise ValueError(
            f"`{name}` must be (height, width), two positive integers. "
            f"Received: {size!r}."
        )
    object.__setattr__(transform, name, tuple(map(int, size)))
