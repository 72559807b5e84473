"""`RandAugment`: a few random distortions of color or shape.

Colors are changed by Keras layers, but with numbers drawn here: the layers' own
draws would differ when a run is resumed. Shapes are changed by our own
transforms, since Keras's layers do not move keypoints.

Operations take an amount from -1 to 1; the docstrings state their effect at 1.
"""

import dataclasses
import functools
import math

import keras
import numpy as np

from keras_jft.data.transforms.geometry import warp
from keras_jft.typing import Example


@dataclasses.dataclass(frozen=True)
class RandAugment:
    """Applies a few of `OPERATIONS`, drawn for each example, in sequence.

    Attributes:
        num_operations: How many operations to apply.
        magnitude: Strength of each, from 0, which changes little, to 1.

    Raises:
        ValueError: An attribute is out of range.

    References:
        Cubuk et al. 2020, https://arxiv.org/abs/1909.13719, section 3, but
        without histogram equalization: Keras's layer takes as long as all
        others together.
    """

    num_operations: int = 2
    magnitude: float = 0.9

    def __post_init__(self) -> None:
        if self.num_operations < 0 or not 0 <= self.magnitude <= 1:
            raise ValueError(
                "`num_operations` must be 0 or more and `magnitude` in 0..1. "
                f"Received: {self.num_operations}, {self.magnitude}."
            )

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Return the example, distorted."""
        names = list(OPERATIONS)
        for place in rng.integers(len(names), size=self.num_operations):
            sign = 1 if rng.random() < 0.5 else -1
            operation = OPERATIONS[names[place]]
            example = operation(example, sign * self.magnitude)
        return example


# === Shapes ===


def rotate(example, amount):
    """Turn around the center by up to 30 degrees."""
    angle = math.radians(30 * amount)
    turn = [math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)]
    return _around_center(example, np.reshape(turn, (2, 2)))


def shear_x(example, amount):
    """Move rows by up to 0.3 of their distance from the center."""
    return _around_center(example, [[1, 0.3 * amount], [0, 1]])


def shear_y(example, amount):
    """Move columns by up to 0.3 of their distance from the center."""
    return _around_center(example, [[1, 0], [0.3 * amount, 1]])


def translate_x(example, amount):
    """Move sideways by up to 0.45 of the width."""
    width = example["images"].shape[1]
    return warp(example, np.eye(2), (round(0.45 * amount * width), 0))


def translate_y(example, amount):
    """Move up or down by up to 0.45 of the height."""
    height = example["images"].shape[0]
    return warp(example, np.eye(2), (0, round(0.45 * amount * height)))


def _around_center(example, matrix):
    height, width = example["images"].shape[:2]
    center = np.array([width / 2, height / 2])
    return warp(example, matrix, center - matrix @ center)


# === Colors ===


def identity(example, amount):
    """Return the example as it is."""
    return example


def brightness(example, amount):
    """Lighten or darken by up to 0.45 of the range."""
    return _by_layer(example, "RandomBrightness", rgb_delta=114.75 * amount)


def contrast(example, amount):
    """Change the distance of values from the mean by up to 0.9."""
    return _by_layer(
        example, "RandomContrast", contrast_factor=1 + 0.9 * amount
    )


def color(example, amount):
    """Blend with gray by up to 0.9."""
    kept = 0.9 * abs(amount)
    return _by_layer(example, "RandomColorDegeneration", factor=kept)


def sharpness(example, amount):
    """Blur or sharpen by up to 0.9."""
    # Repeat the edges, as Keras would blend them with black.
    framed = np.pad(example["images"], [(1, 1), (1, 1), (0, 0)], mode="edge")
    factor = (1 + 0.9 * amount) / 2
    framed = _by_layer({"images": framed}, "RandomSharpness", factor=factor)
    return {**example, "images": framed["images"][1:-1, 1:-1]}


def posterize(example, amount):
    """Drop up to 4 of the 8 bits."""
    shift = np.uint8(round(4 * abs(amount)))
    return _by_layer(example, "RandomPosterization", shift_factor=shift)


def solarize(example, amount):
    """Invert values above a threshold between 255 and 0."""
    threshold = 255 * (1 - abs(amount))
    return _by_layer(
        example, "Solarization", additions=0.0, thresholds=threshold
    )


def auto_contrast(example, amount):
    """Stretch each channel to the whole range."""
    return _by_layer(example, "AutoContrast")


OPERATIONS = {
    function.__name__: function
    for function in (
        identity,
        rotate,
        shear_x,
        shear_y,
        translate_x,
        translate_y,
        brightness,
        contrast,
        color,
        sharpness,
        posterize,
        solarize,
        auto_contrast,
    )
}


def _by_layer(example, name, **drawn):
    """Return the example after a Keras layer with the drawn numbers."""
    vector = name in ("RandomSharpness", "RandomPosterization")
    shape = (1,) if vector else (1, 1, 1, 1)
    drawn = {
        key: np.full(shape, value, getattr(value, "dtype", "float32"))
        for key, value in drawn.items()
    }
    images = np.asarray(example["images"], "float32")[None]
    images = _layer(name).transform_images(
        keras.ops.convert_to_tensor(images), drawn, training=True
    )
    pixels = np.clip(np.rint(keras.ops.convert_to_numpy(images[0])), 0, 255)
    return {**example, "images": pixels.astype("uint8")}


# Required arguments of Keras's layers for their own draws, which are not used.
_DRAWS = {"factor": 1, "seed": 0}
_OPTIONS = {
    "RandomBrightness": _DRAWS,
    "RandomContrast": _DRAWS,
    "RandomColorDegeneration": _DRAWS,
    "RandomSharpness": _DRAWS,
    "RandomPosterization": _DRAWS,
    "Solarization": {"seed": 0},
    "AutoContrast": {},
}


@functools.cache
def _layer(name):
    layer = getattr(keras.layers, name)
    return layer(value_range=(0, 255), dtype="float32", **_OPTIONS[name])
