"""Presets by name: each returns a tuple of transforms, to train or to evaluate.

A preset takes `training` and, to mirror examples with keypoints, the names of
the keypoints, or `flip_pairs` if names do not say which change places. Other
arguments have defaults.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from keras_jft import checks
from keras_jft.data.transforms.geometric import (
    Pad,
    PadTo,
    RandomCrop,
    RandomFlip,
    Resize,
    ResizedCrop,
    ResizeShortest,
)
from keras_jft.data.transforms.inception_crop import CentralCrop, InceptionCrop
from keras_jft.data.transforms.person_crop import CropPerson
from keras_jft.data.transforms.rand_augment import RandAugment
from keras_jft.typing import Transform


def none(
    training: bool,
    keypoint_names: Sequence[str] = (),
    *,
    flip_pairs: tuple[tuple, ...] | None = None,
) -> tuple[Transform, ...]:
    """Return no transforms."""
    return ()


def flip(
    training: bool,
    keypoint_names: Sequence[str] = (),
    *,
    flip_pairs: tuple[tuple, ...] | None = None,
) -> tuple[Transform, ...]:
    """Mirror half of the time in training."""
    if not training:
        return ()
    return (RandomFlip(tuple(keypoint_names), flip_pairs=flip_pairs),)


def shift_and_flip(
    training: bool,
    keypoint_names: Sequence[str] = (),
    image_size: tuple[int, int] = (32, 32),
    margin: int = 4,
    *,
    flip_pairs: tuple[tuple, ...] | None = None,
) -> tuple[Transform, ...]:
    """Move by up to `margin` pixels and mirror in training.

    References:
        He et al. "Deep residual learning", 2016,
        https://arxiv.org/abs/1512.03385, section 4.2 (CIFAR-10).
    """
    if not training:
        return ()
    return (
        Pad(margin),
        RandomCrop(image_size),
        *flip(training, keypoint_names, flip_pairs=flip_pairs),
    )


def jft(
    training: bool,
    keypoint_names: Sequence[str] = (),
    resize: tuple[int, int] = (340, 340),
    crop: tuple[int, int] = (299, 299),
    antialias: bool = False,
    *,
    flip_pairs: tuple[tuple, ...] | None = None,
) -> tuple[Transform, ...]:
    """Do as the paper: resize, crop, mirror; crop the center to evaluate.

    Images are resized without anti-aliasing, which TensorFlow 1 did not have;
    the paper does not say. `antialias=True` turns it on.

    References:
        Sun et al. "Revisiting unreasonable effectiveness of data", 2017,
        https://arxiv.org/abs/1707.02968, section 4.1.
    """
    window = ResizedCrop(resize, crop, random=training, antialias=antialias)
    return window, *flip(training, keypoint_names, flip_pairs=flip_pairs)


def imagenet(
    training: bool,
    keypoint_names: Sequence[str] = (),
    image_size: tuple[int, int] = (224, 224),
    antialias: bool = False,
    *,
    flip_pairs: tuple[tuple, ...] | None = None,
) -> tuple[Transform, ...]:
    """Take a random window and mirror it; take the center to evaluate.

    References:
        Szegedy et al. 2015, https://arxiv.org/abs/1409.4842, section 6.
        He et al. 2016, https://arxiv.org/abs/1512.03385, section 3.4.
    """
    if not training:
        return (CentralCrop(image_size, antialias=antialias),)
    window = InceptionCrop(image_size, antialias=antialias)
    return window, *flip(training, keypoint_names, flip_pairs=flip_pairs)


def modern(
    training: bool,
    keypoint_names: Sequence[str] = (),
    image_size: tuple[int, int] = (224, 224),
    num_operations: int = 2,
    magnitude: float = 0.9,
    *,
    flip_pairs: tuple[tuple, ...] | None = None,
) -> tuple[Transform, ...]:
    """Do as `imagenet`, then `RandAugment` in training.

    `mixup=0.2` of `jft.data.batches` goes with it.

    References:
        Cubuk et al. 2020, https://arxiv.org/abs/1909.13719, section 4.3.
    """
    window = imagenet(
        training, keypoint_names, image_size, flip_pairs=flip_pairs
    )
    if not training:
        return window
    return *window, RandAugment(num_operations, magnitude)


def detection(
    training: bool,
    keypoint_names: Sequence[str] = (),
    shortest: int = 600,
    longest: int = 1024,
    *,
    flip_pairs: tuple[tuple, ...] | None = None,
) -> tuple[Transform, ...]:
    """Resize to 600 by at most 1024 pixels; mirror in training.

    The images of a batch are padded to the largest of them.

    References:
        Sun et al. 2017, section 5.2; Huang et al. 2017,
        https://arxiv.org/abs/1611.10012, section 3.6.1.
    """
    return (
        *flip(training, keypoint_names, flip_pairs=flip_pairs),
        ResizeShortest(shortest, longest),
        PadTo(),
    )


def segmentation(
    training: bool,
    keypoint_names: Sequence[str] = (),
    image_size: tuple[int, int] = (513, 513),
    *,
    flip_pairs: tuple[tuple, ...] | None = None,
) -> tuple[Transform, ...]:
    """Warp to 513 x 513, as the paper does; mirror in training.

    References:
        Sun et al. 2017, section 5.3, which does not mention mirroring.
    """
    return (
        *flip(training, keypoint_names, flip_pairs=flip_pairs),
        Resize(image_size),
    )


def segmentation_padded(
    training: bool,
    keypoint_names: Sequence[str] = (),
    side: int = 513,
    *,
    flip_pairs: tuple[tuple, ...] | None = None,
) -> tuple[Transform, ...]:
    """Resize the longer side to 513, pad to a square; mirror in training."""
    return (
        *flip(training, keypoint_names, flip_pairs=flip_pairs),
        ResizeShortest(side, side),
        PadTo((side, side)),
    )


def pose(
    training: bool,
    keypoint_names: Sequence[str] = (),
    image_size: tuple[int, int] = (353, 257),
    *,
    flip_pairs: tuple[tuple, ...] | None = None,
) -> tuple[Transform, ...]:
    """Crop a person; draw the scale and mirror in training.

    References:
        Sun et al. 2017, section 5.4; Papandreou et al. 2017,
        https://arxiv.org/abs/1701.01779, section 3.2.
    """
    if not training:
        return (CropPerson(image_size),)
    crop = CropPerson(image_size, scales=(1.0, 1.5))
    return crop, *flip(training, keypoint_names, flip_pairs=flip_pairs)


def pose_small(
    training: bool,
    keypoint_names: Sequence[str] = (),
    *,
    flip_pairs: tuple[tuple, ...] | None = None,
) -> tuple[Transform, ...]:
    """Do as `pose` in crops of 65 x 49, for the small studies."""
    return pose(training, keypoint_names, (65, 49), flip_pairs=flip_pairs)


def image_size_of(transforms):
    """Return the `(H, W)` that transforms produce; None for an unknown side.

    Args:
        transforms: A tuple of transforms.
    """
    for transform in reversed(transforms):
        if not isinstance(transform, (RandomFlip, RandAugment)):
            return getattr(transform, "image_size", None) or (None, None)
    return None, None


FEWEST_PIXELS = 8  # Of a side: below, there is nothing to see.


def check_transforms(
    transforms: str | Sequence[Transform],
    image_size: tuple[int | None, int | None] = (None, None),
) -> None:
    """Raise `ValueError` unless transforms are known and fit a model.

    Args:
        transforms: A name in `TRANSFORMS`, or a tuple of transforms.
        image_size: `(H, W)` that the model expects; None: any length.
    """
    if any(side is not None and side < FEWEST_PIXELS for side in image_size):
        raise ValueError(
            "`image_size` must be a height and a width of "
            f"{FEWEST_PIXELS} or more. Received: "
            f"image_size={tuple(image_size)}."
        )
    chain: Any
    if isinstance(transforms, str):
        checks.one_of("transforms", transforms, TRANSFORMS)
        chain = TRANSFORMS[transforms](training=True)
    else:
        chain = transforms
    if not isinstance(chain, Iterable):
        raise ValueError(
            "`transforms` must be a name, or a sequence of transforms. "
            f"Received: {chain!r}. Pass [{chain!r}]."
        )
    for transform in chain:
        if isinstance(transform, type) or not callable(transform):
            raise ValueError(
                f"`transforms` must be one of {list(TRANSFORMS)} or a tuple of "
                "transforms, objects such as `RandomFlip()`. Received: "
                f"{transform!r} in it."
            )
    given = image_size_of(chain)
    if any(a and b and a != b for a, b in zip(given, image_size, strict=True)):
        raise ValueError(
            f"The transforms {transforms!r} produce images of {given[0]} x "
            f"{given[1]}. Received: image_size={tuple(image_size)}. Make them "
            "equal."
        )


TRANSFORMS = {
    "none": none,
    "flip": flip,
    "shift_and_flip": shift_and_flip,
    "jft": jft,
    "imagenet": imagenet,
    "modern": modern,
    "detection": detection,
    "segmentation": segmentation,
    "segmentation_padded": segmentation_padded,
    "pose": pose,
    "pose_small": pose_small,
}
