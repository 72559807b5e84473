"""Files to arrays, strictly: a damaged file is an error that names it."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

IMAGE_SUFFIXES = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
)


def decode_image(source, name=None, image_size=None):
    """The pixels of an image file, `(H, W, 3)` uint8.

    Gray is repeated, palettes are looked up, CMYK is converted, 16-bit gray
    keeps its high byte, transparency is blended over white, and of several
    frames the first counts. The pixels stay in the order of the file: a
    rotation that the camera noted (EXIF) is not applied.

    Args:
        source: Path of a file, or its bytes.
        name: What errors call it; the path, if left out.
        image_size: `(H, W)` that the image must have, if given.

    Raises:
        ValueError: The file is missing, empty, truncated, no image or of
            another size.

    Example:

    >>> buffer = io.BytesIO()
    >>> Image.new("L", (4, 2), color=9).save(buffer, "PNG")
    >>> decode_image(buffer.getvalue()).shape
    (2, 4, 3)
    >>> decode_image(b"not an image", name="a.jpg")
    Traceback (most recent call last):
    ...
    ValueError: 'a.jpg' cannot be read as an image: cannot identify image \
file. Replace or remove the file.
    """
    image, name = _open(source, name)
    if image.mode in ("I", "I;16", "I;16B", "I;16L"):
        gray = np.asarray(image).astype("int64")
        gray = np.clip(gray >> 8, 0, 255).astype("uint8")
        pixels = np.repeat(gray[..., None], 3, axis=-1)
    elif image.mode == "F":
        raise ValueError(
            f"{name!r} has floating-point pixels, whose range is not known. "
            "Save it with 8 bits a channel."
        )
    else:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        pixels = np.asarray(image.convert("RGB"))
    return of_size(pixels, name, image_size)


def decode_mask(source, name=None, image_size=None):
    """The class indices of a mask file, `(H, W, 1)` uint8.

    Args:
        source: Path, or the bytes, of an image with one channel of 8 bits or
            a palette, whose colors do not matter.
        name: What errors call it; the path, if left out.
        image_size: `(H, W)` of the image it belongs to, if given.

    Raises:
        ValueError: As for `decode_image`, or the file holds colors.
    """
    mask, name = _open(source, name)
    if mask.mode not in ("L", "P", "1"):
        raise ValueError(
            f"A mask must hold one class index a pixel. Received {name!r} of "
            f"mode {mask.mode!r}. Convert its colors to indices, or give "
            "`colors` where the data set takes them."
        )
    indices = np.asarray(mask).astype("uint8")[..., None]
    return of_size(indices, name, image_size)


def _open(source, name):
    if isinstance(source, bytes):
        name, source = name or "an image in memory", io.BytesIO(source)
    else:
        name, source = str(name or source), Path(source)
    try:
        image = Image.open(source)
        image.load()
    except FileNotFoundError:
        raise ValueError(
            f"{name!r} does not exist. Restore the file, or remove it from "
            "the data set."
        ) from None
    except Exception as error:  # PIL's decoders raise many kinds.
        # PIL ends some messages with the buffer's address.
        reason = str(error).split(" <_io")[0].split(" '")[0]
        raise ValueError(
            f"{name!r} cannot be read as an image: {reason}. Replace or "
            "remove the file."
        ) from error
    return image, name


def of_size(pixels, name, image_size):
    """`pixels`, or an error if they are not of a size.

    Args:
        pixels: `(H, W, channels)`.
        name: What the error calls them.
        image_size: `(H, W)` that they must have; None: any.

    Raises:
        ValueError: They have another.
    """
    if image_size is not None and pixels.shape[:2] != tuple(image_size):
        raise ValueError(
            f"{name!r} must be {tuple(image_size)} pixels high and wide. "
            f"Received {pixels.shape[:2]}. Resize it together with what "
            "belongs to it."
        )
    return pixels
