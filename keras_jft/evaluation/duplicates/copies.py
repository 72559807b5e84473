"""Edited copies of images, as found on the web, to calibrate a threshold on."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from keras_jft import checks
from keras_jft import data as data_lib
from keras_jft.data import keyed_random
from keras_jft.data.dataset import Dataset
from keras_jft.typing import Example, Positions

_BICUBIC = Image.Resampling.BICUBIC


def jpeg(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Compress the image at JPEG quality 50."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=50)
    return Image.open(file, formats=("JPEG",))


def resize(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Resize the image to 0.5 to 2 times its size, and back."""
    scale = np.exp2(rng.uniform(-1, 1))
    width, height = (max(1, round(scale * side)) for side in image.size)
    return image.resize((width, height), _BICUBIC).resize(image.size, _BICUBIC)


def crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Crop 90% of each side, and resize to the size of the image."""
    width, height = image.size
    wide, high = round(0.9 * width), round(0.9 * height)
    left = int(rng.integers(0, width - wide + 1))
    top = int(rng.integers(0, height - high + 1))
    window = (left, top, left + wide, top + high)
    return image.resize(image.size, _BICUBIC, box=window)


def flip(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Mirror the image."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def color(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Multiply brightness, contrast and saturation by 0.8 to 1.2."""
    for enhance in (
        ImageEnhance.Brightness,
        ImageEnhance.Contrast,
        ImageEnhance.Color,
    ):
        image = enhance(image).enhance(rng.uniform(0.8, 1.2))
    return image


def text(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Write a word on the image, a sixth of its height."""
    image = image.copy()
    width, height = image.size
    place = (
        int(rng.integers(0, width // 2)),
        int(rng.integers(0, height * 3 // 4)),
    )
    ImageDraw.Draw(image).text(
        place, "photo", fill=(255, 255, 255), font_size=max(6, height // 6)
    )
    return image


EDITS = {
    "jpeg": jpeg,
    "resize": resize,
    "crop": crop,
    "flip": flip,
    "color": color,
    "text": text,
}


def edit(image: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    """Return an edited copy of an image.

    Args:
        image: `(H, W, 3)` uint8.
        name: A key of `EDITS`.
        rng: A NumPy generator.

    Returns:
        `(H, W, 3)` uint8 of the same size.

    Raises:
        ValueError: If `name` is unknown.
    """
    checks.one_of("name", name, EDITS)
    copy = EDITS[name](Image.fromarray(np.asarray(image)), rng)
    return np.asarray(copy.convert("RGB"))


class Copies(data_lib.Wrapped):
    """Edited copies of the examples of a data set; ids are those of `data`.

    Args:
        data: A `Dataset`.
        name: A key of `EDITS`.
        seed: Seed of the edits; those of an example also depend on its id.
    """

    def __init__(self, data: Dataset, name: str, seed: int = 0):
        super().__init__(data)
        checks.one_of("name", name, EDITS)
        self.name, self.seed = name, seed

    def image_bytes(self, position: int) -> None:
        """Return None: an edited image is not that of a file."""

    def take(self, positions: Positions) -> list[Example]:
        """Return examples with edited images."""
        examples = super().take(positions)
        ids = [example["ids"] for example in examples]
        draws = keyed_random.generators(keyed_random.hash64(self.seed, ids))
        return [
            {**example, "images": edit(example["images"], self.name, rng)}
            for example, rng in zip(examples, draws, strict=True)
        ]
