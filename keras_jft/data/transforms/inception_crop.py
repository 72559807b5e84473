"""ImageNet's crops: a random part of an image to train, the center to evaluate.

Only the window is resized. Boxes, masks and keypoints move with it.

Shapes: H W height and width of the result.
"""

import dataclasses
from typing import Any

import numpy as np

from keras_jft.data.transforms.geometry import move
from keras_jft.data.transforms.resampling import resample
from keras_jft.typing import Example

_ATTEMPTS = 10


@dataclasses.dataclass(frozen=True)
class InceptionCrop:
    """Crops a window of random area and aspect ratio, and resizes it.

    If none of the windows that are tried fits into the image, the largest
    central one of the nearest aspect ratio is taken.

    Attributes:
        image_size: `(H, W)` that the window is resized to.
        area: Least and largest share of the image's area.
        aspect: Least and largest width / height, drawn uniformly in its
            logarithm.
        antialias: As for `jft.data.transforms.resampling.resample`.

    Raises:
        ValueError: An attribute is out of range.

    References:
        Szegedy et al. 2015, https://arxiv.org/abs/1409.4842, section 6.
    """

    image_size: tuple[int, int] = (224, 224)
    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    antialias: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.area[0] <= self.area[1] <= 1):
            raise ValueError(
                "`area` must be (least, largest), above 0 and at most 1. "
                f"Received: {self.area}."
            )
        if min(self.image_size) < 1 or not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(
                "`image_size` must be (height, width) and `aspect` (least, "
                f"largest), all above 0. Received: {self.image_size}, "
                f"{self.aspect}."
            )

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Return the example inside a random window."""
        height, width = example["images"].shape[:2]
        window = self._window(height, width, rng)
        return _resized(example, window, self.image_size, self.antialias)

    def _window(self, height, width, rng):
        """Return top, left, height and width of a random window, in pixels."""
        for _ in range(_ATTEMPTS):
            area = height * width * rng.uniform(*self.area)
            aspect = np.exp(rng.uniform(*np.log(self.aspect)))
            rows = round(np.sqrt(area / aspect))
            columns = round(np.sqrt(area * aspect))
            if 0 < rows <= height and 0 < columns <= width:
                top = int(rng.integers(height - rows + 1))
                left = int(rng.integers(width - columns + 1))
                return top, left, rows, columns
        return _central(height, width, np.clip(width / height, *self.aspect))


@dataclasses.dataclass(frozen=True)
class CentralCrop:
    """Crops the center of an image, and resizes it without distortion.

    Attributes:
        image_size: `(H, W)` that the window is resized to.
        share: Sides of the window, as a share of those of the largest window
            of that aspect ratio.
        antialias: As for `jft.data.transforms.resampling.resample`.

    References:
        He et al. 2016, https://arxiv.org/abs/1512.03385, section 3.4: 224 of
        256 pixels of the shorter side.
    """

    image_size: tuple[int, int] = (224, 224)
    share: float = 224 / 256
    antialias: bool = False

    def __call__(self, example: Example, rng: Any = None) -> Example:
        """Return the example inside its central window."""
        height, width = example["images"].shape[:2]
        aspect = self.image_size[1] / self.image_size[0]
        window = _central(height, width, aspect, self.share)
        return _resized(example, window, self.image_size, self.antialias)


def _central(height, width, aspect, share=1.0):
    rows = max(round(share * min(height, width / aspect)), 1)
    columns = max(round(share * min(width, height * aspect)), 1)
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def _resized(example, window, size, antialias):
    top, left, height, width = window

    def pixels(array, fill):
        part = array[top : top + height, left : left + width]
        return resample(part, size, antialias=antialias)

    scale = size[1] / width, size[0] / height
    shift = -left * scale[0], -top * scale[1]
    return move(example, pixels, scale=scale, shift=shift)
