"""Pure transforms `example, rng -> example`, and presets of them by name.

Every geometric transform moves images, masks, boxes and keypoints together:
it gives `_move` what happens to the pixels, and the scale and shift that the
same thing means for coordinates. Photometric ones are Keras's own layers.

Shapes: H W image side, N boxes, K keypoints.
"""

import dataclasses

import numpy as np
from PIL import Image

from keras_jft.data.batch import VOID

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
        return _move(example, pixels, scale=scale)


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
        return _move(example, pixels, shift=shift, fill=self.value)


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
        self._mirrored_keypoints()

    def __call__(self, example, rng):
        """The example, mirrored or as it was."""
        if rng.random() >= self.probability:
            return example
        width = example["images"].shape[1]
        flipped = _move(
            example,
            lambda array, fill: array[:, ::-1],
            scale=(-1, 1),
            shift=(width, 0),
        )
        if "keypoints" in example:
            if len(self.keypoint_names) != len(example["keypoints"]):
                raise ValueError(
                    "`keypoint_names` must name every keypoint, so that left "
                    "and right can change places. Received "
                    f"{len(self.keypoint_names)} names for "
                    f"{len(example['keypoints'])} keypoints. Pass "
                    "`data.info.keypoint_names`."
                )
            order = self._mirrored_keypoints()
            flipped["keypoints"] = flipped["keypoints"][order]
        return flipped

    def _mirrored_keypoints(self):
        """Position of each keypoint's mirror image."""
        swap = {"left": "right", "right": "left"}
        mirrored = [
            "_".join(swap.get(word, word) for word in name.split("_"))
            for name in self.keypoint_names
        ]
        missing = set(mirrored) - set(self.keypoint_names)
        if missing:
            raise ValueError(
                "`keypoint_names` must name both sides. Received: "
                f"{self.keypoint_names}, without {sorted(missing)}."
            )
        return [self.keypoint_names.index(name) for name in mirrored]


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


TRANSFORMS = {
    "none": none,
    "flip": flip,
    "shift_and_flip": shift_and_flip,
    "jft": jft,
}


# === How an example moves ===


def _move(example, pixels, scale=(1, 1), shift=(0, 0), fill=0):
    """The example after `pixels(array, fill)` and `scale * (x, y) + shift`."""
    moved = dict(example)
    moved["images"] = pixels(example["images"], fill)
    height, width = moved["images"].shape[:2]
    scale, shift = np.float32(scale), np.float32(shift)
    if "segmentation_masks" in example:
        moved["segmentation_masks"] = pixels(
            example["segmentation_masks"], VOID
        )
    if "bounding_boxes" in example:
        entry = example["bounding_boxes"]
        corners = entry["boxes"].reshape(-1, 2, 2) * scale + shift
        # Sorted, so that a mirrored box has its smaller x first again.
        corners = np.clip(np.sort(corners, axis=1), 0, (width, height))
        kept = (corners[:, 0] < corners[:, 1]).all(-1)
        boxes = corners.reshape(-1, 4).astype("float32")
        entry = {**entry, "boxes": boxes, **_scaled_areas(entry, boxes)}
        moved["bounding_boxes"] = {k: rows[kept] for k, rows in entry.items()}
    if "keypoints" in example:
        places, visibility = np.split(example["keypoints"], [2], axis=-1)
        places = places * scale + shift
        inside = ((places >= 0) & (places <= (width, height))).all(-1)
        inside &= visibility[:, 0] > 0
        keypoints = np.concatenate([places, visibility], axis=-1)
        moved["keypoints"] = np.where(inside[:, None], keypoints, np.float32(0))
    return moved


def _scaled_areas(entry, boxes):
    """`areas` in the proportion in which their boxes grew or were cut."""
    if "areas" not in entry:
        return {}

    def of(boxes):
        return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)

    return {"areas": entry["areas"] * of(boxes) / of(entry["boxes"])}


def _crop(example, top, left, size):
    return _move(
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
