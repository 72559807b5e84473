"""Pure transforms `example, rng -> example`, and presets of them by name.

Every geometric transform moves images, masks, boxes and keypoints together:
it gives `geometry.move` what happens to the pixels, and the scale and shift
that the same thing means for coordinates. Photometric ones are Keras's own
layers.

Shapes: H W image side, N boxes, K keypoints.
"""

import dataclasses

import numpy as np
from PIL import Image

from keras_jft.data.geometry import GRAY, mirrored_keypoints, move
from keras_jft.data.person_crop import CropPerson

# === Transforms ===


@dataclasses.dataclass(frozen=True)
class Resize:
    """Resizes to a size, ignoring the aspect ratio.

    Bilinear and anti-aliased for images, nearest for masks.

    Attributes:
        image_size: `(H, W)`.
    """

    image_size: tuple[int, int]

    def __post_init__(self):
        _check_size(self)

    def __call__(self, example, rng=None):
        """The example at `image_size`."""
        size = self.image_size
        old_size = example["images"].shape[:2]
        if old_size == tuple(size):
            return example

        def pixels(array, fill):
            kind = "BILINEAR" if array.shape[-1] == 3 else "NEAREST"
            image = Image.fromarray(
                array if kind == "BILINEAR" else array[..., 0]
            )
            image = image.resize(size[::-1], Image.Resampling[kind])
            return np.asarray(image).reshape(*size, array.shape[-1])

        scale = size[1] / old_size[1], size[0] / old_size[0]
        return move(example, pixels, scale=scale)


@dataclasses.dataclass(frozen=True)
class ResizeShortest:
    """Resizes the shorter side to a length, keeping the aspect ratio.

    Where the longer side would then be too long, that one gets the length it
    may have. With `shortest == longest` the image fills a square that long.

    Attributes:
        shortest: Pixels of the shorter side.
        longest: The most pixels of the longer side.

    References:
        The `keep_aspect_ratio_resizer` of the TensorFlow Object Detection API,
        with which Huang et al. 2017, https://arxiv.org/abs/1611.10012, trained.
    """

    shortest: int = 600
    longest: int = 1024

    def __post_init__(self):
        if not 1 <= self.shortest <= self.longest:
            raise ValueError(
                "`shortest` must be positive and at most `longest`. Received: "
                f"shortest={self.shortest}, longest={self.longest}."
            )

    def __call__(self, example, rng=None):
        """The example with sides of these lengths."""
        return Resize(self.image_size_of(example["images"].shape[:2]))(example)

    def image_size_of(self, size):
        """`(H, W)` that an image of `size` is resized to."""
        resized = [round(side * self.shortest / min(size)) for side in size]
        if max(resized) > self.longest:
            resized = [round(side * self.longest / max(size)) for side in size]
        return tuple(max(side, 1) for side in resized)


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """Cuts a window of a size out of a uniformly drawn place.

    Boxes are clipped, boxes outside dropped, keypoints outside set to 0, 0, 0.

    Attributes:
        image_size: `(H, W)` of the window.
    """

    image_size: tuple[int, int]

    def __post_init__(self):
        _check_size(self)

    def __call__(self, example, rng):
        """The example inside a random window."""
        room = _room(self, example)
        top, left = (int(rng.integers(free + 1)) for free in room)
        return _crop(example, top, left, self.image_size)


@dataclasses.dataclass(frozen=True)
class CenterCrop:
    """Cuts a window of a size out of the middle, as `RandomCrop` does.

    Attributes:
        image_size: `(H, W)` of the window.
    """

    image_size: tuple[int, int]

    def __post_init__(self):
        _check_size(self)

    def __call__(self, example, rng=None):
        """The example inside its central window."""
        top, left = (free // 2 for free in _room(self, example))
        return _crop(example, top, left, self.image_size)


@dataclasses.dataclass(frozen=True)
class Pad:
    """Adds a margin on all four sides: of one brightness; void in masks.

    Attributes:
        margin: Pixels a side.
        value: Brightness of the margin, 0..255.
    """

    margin: int
    value: int = 0

    def __call__(self, example, rng=None):
        """The example inside a margin."""

        def pixels(array, fill):
            width = [(self.margin,) * 2] * 2 + [(0, 0)]
            return np.pad(array, width, constant_values=fill)

        shift = self.margin, self.margin
        return move(example, pixels, shift=shift, fill=self.value)


@dataclasses.dataclass(frozen=True)
class PadTo:
    """Pads below and right to a size: gray, and void in masks.

    The example gets `image_sizes`, the height and width of the true image, and
    its batch does. Comes last: nothing may move the image after it.

    Attributes:
        image_size: `(H, W)`; None pads to the largest image of the batch.

    Raises:
        ValueError: An image is larger.
    """

    image_size: tuple[int, int] | None = None

    def __post_init__(self):
        if self.image_size is not None:
            _check_size(self)

    def __call__(self, example, rng=None):
        """The example inside its padding."""
        size = example["images"].shape[:2]
        padded = {"image_sizes": np.array(size, "int32"), **example}
        if self.image_size is None:
            return padded
        below, right = np.subtract(self.image_size, size)
        if min(below, right) < 0:
            raise ValueError(
                f"An image must fit into {self}. Received image "
                f"{example.get('ids')!r} of size {size}. Resize first, for "
                "example by `ResizeShortest`."
            )

        def pixels(array, fill):
            width = [(0, below), (0, right), (0, 0)]
            return np.pad(array, width, constant_values=fill)

        return move(padded, pixels, fill=GRAY)


@dataclasses.dataclass(frozen=True)
class RandomFlip:
    """Mirrors left and right with a probability.

    Attributes:
        keypoint_names: One name a keypoint; "left_eye" and "right_eye" change
            places. Examples with keypoints need it.
        probability: Of being mirrored.

    Raises:
        ValueError: A left keypoint has no right one, or the reverse.
    """

    keypoint_names: tuple[str, ...] = ()
    probability: float = 0.5

    def __post_init__(self):
        mirrored_keypoints(self.keypoint_names)

    def __call__(self, example, rng):
        """The example, mirrored or as it was."""
        if rng.random() >= self.probability:
            return example
        width = example["images"].shape[1]
        flipped = move(
            example,
            lambda array, fill: array[:, ::-1],
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
        """`(..., K, 3)` keypoints with left and right in each other's place."""
        if len(self.keypoint_names) != keypoints.shape[-2]:
            raise ValueError(
                "`keypoint_names` must name every keypoint, so that left "
                "and right can change places. Received "
                f"{len(self.keypoint_names)} names for "
                f"{keypoints.shape[-2]} keypoints. Pass "
                "`data.info.keypoint_names`."
            )
        return keypoints[..., mirrored_keypoints(self.keypoint_names), :]


# === Presets ===


def none(training, keypoint_names=()):
    """No transform."""
    return ()


def flip(training, keypoint_names=()):
    """Mirrored half of the time in training."""
    return (RandomFlip(tuple(keypoint_names)),) if training else ()


def shift_and_flip(training, keypoint_names=(), image_size=(32, 32), margin=4):
    """Moved by up to `margin` pixels and mirrored in training.

    References:
        He et al. "Deep residual learning", 2016,
        https://arxiv.org/abs/1512.03385, section 4.2 (CIFAR-10).
    """
    if not training:
        return ()
    return (
        Pad(margin),
        RandomCrop(image_size),
        RandomFlip(tuple(keypoint_names)),
    )


def jft(training, keypoint_names=(), resize=(340, 340), crop=(299, 299)):
    """The paper's: resized, a random crop, mirrored; the center to evaluate.

    References:
        Sun et al. "Revisiting unreasonable effectiveness of data", 2017,
        https://arxiv.org/abs/1707.02968, section 4.1.
    """
    if not training:
        return Resize(resize), CenterCrop(crop)
    flips = RandomFlip(tuple(keypoint_names))
    return Resize(resize), RandomCrop(crop), flips


def detection(training, keypoint_names=(), shortest=600, longest=1024):
    """The shorter side 600, the longer 1024 at most; mirrored in training.

    Images of a batch are padded to the largest.

    References:
        Sun et al. 2017, section 5.2; Huang et al. 2017,
        https://arxiv.org/abs/1611.10012, section 3.6.1.
    """
    return (
        *flip(training, keypoint_names),
        ResizeShortest(shortest, longest),
        PadTo(),
    )


def segmentation(training, keypoint_names=(), image_size=(513, 513)):
    """Warped to 513 x 513, as the paper does; mirrored in training.

    References:
        Sun et al. 2017, section 5.3, which says of no mirroring.
    """
    return *flip(training, keypoint_names), Resize(image_size)


def segmentation_padded(training, keypoint_names=(), side=513):
    """The longer side of 513, padded to a square; mirrored in training."""
    return (
        *flip(training, keypoint_names),
        ResizeShortest(side, side),
        PadTo((side, side)),
    )


def pose(training, keypoint_names=(), image_size=(353, 257)):
    """The crop of a person, of random scale and mirrored in training.

    References:
        Sun et al. 2017, section 5.4; Papandreou et al. 2017,
        https://arxiv.org/abs/1701.01779, section 3.2.
    """
    if not training:
        return (CropPerson(image_size),)
    crop = CropPerson(image_size, scales=(1.0, 1.5))
    return crop, RandomFlip(tuple(keypoint_names))


def pose_small(training, keypoint_names=()):
    """The same in crops of 65 x 49, for the small studies."""
    return pose(training, keypoint_names, image_size=(65, 49))


TRANSFORMS = {
    "none": none,
    "flip": flip,
    "shift_and_flip": shift_and_flip,
    "jft": jft,
    "detection": detection,
    "segmentation": segmentation,
    "segmentation_padded": segmentation_padded,
    "pose": pose,
    "pose_small": pose_small,
}


# === Windows and sizes ===


def _crop(example, top, left, size):
    return move(
        example,
        lambda array, fill: array[top : top + size[0], left : left + size[1]],
        shift=(-left, -top),
    )


def _room(crop, example):
    """How far a crop can move down and right."""
    size = example["images"].shape[:2]
    room = size[0] - crop.image_size[0], size[1] - crop.image_size[1]
    if min(room) < 0:
        raise ValueError(
            f"An image must hold the crop {crop}. Received image "
            f"{example.get('ids')!r} of size {size}. Resize or pad first."
        )
    return room


def _check_size(transform):
    size = transform.image_size
    if not (
        isinstance(size, tuple)
        and len(size) == 2
        and all(isinstance(side, int) and side > 0 for side in size)
    ):
        raise ValueError(
            "`image_size` must be (height, width), two positive integers. "
            f"Received: {size!r}."
        )
