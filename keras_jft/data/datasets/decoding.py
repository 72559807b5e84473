"""Files to arrays, strictly: a damaged file is an error that names it."""

import io
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from keras_jft.data.datasets import jpeg

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
CAUSES = (
    "missing",
    "unreadable",
    "empty",
    "truncated",
    "damaged",
    "not an image",
    "unsupported",
    "size",
)
_PNG = b"\x89PNG\r\n\x1a\n"


class UnreadableImage(ValueError):
    """An image that cannot be read.

    Attributes:
        cause: One of `CAUSES`, to count by.
    """

    def __init__(self, message, cause):
        super().__init__(message)
        self.cause = cause

    def __reduce__(self):
        """What goes to another process."""
        return type(self), (str(self), self.cause)


def decode_image(source, name=None, image_size=None):
    """The pixels of an image file, `(H, W, 3)` uint8.

    The contents say what a file is, whatever its name. Gray is repeated,
    palettes are looked up, CMYK is converted, 16-bit gray keeps its high byte,
    transparency is blended over white, and of several frames the first counts.
    The pixels stay in the order of the file: a rotation that the camera noted
    (EXIF) is not applied. JPEG files are read strictly (`jpeg`), and the
    checksums of PNG files must hold.

    Args:
        source: Path of a file, or its bytes.
        name: What errors call it; the path, if left out.
        image_size: `(H, W)` that the image must have, if given.

    Raises:
        UnreadableImage: The file is missing, empty, truncated, damaged, no
            image or of another size.

    Example:

    >>> buffer = io.BytesIO()
    >>> Image.new("L", (4, 2), color=9).save(buffer, "PNG")
    >>> decode_image(buffer.getvalue()).shape
    (2, 4, 3)
    >>> decode_image(b"not an image", name="a.jpg")
    Traceback (most recent call last):
    ...
    keras_jft.data.datasets.decoding.UnreadableImage: 'a.jpg' cannot be read \
as an image: cannot identify image file. Replace or remove the file.
    """
    data, name = _bytes(source, name)
    return of_size(_decoded(data, name, _pixels), name, image_size)


def _pixels(data, name):
    if data.startswith(jpeg.START):
        return jpeg.decode(data)
    image = _open(data)
    if image.mode in ("I;16", "I;16B", "I;16L"):
        gray = (np.asarray(image) >> 8).astype("uint8")
        return np.repeat(gray[..., None], 3, axis=-1)
    if image.mode in ("F", "I"):
        raise UnreadableImage(
            f"{name!r} has pixels of 32 bits, whose range is not known. "
            "Save it with 8 bits a channel.",
            "unsupported",
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def decode_mask(source, name=None, image_size=None):
    """The class indices of a mask file, `(H, W, 1)` uint8.

    Args:
        source: Path, or the bytes, of an image with one channel of 8 bits or
            a palette, whose colors do not matter.
        name: What errors call it; the path, if left out.
        image_size: `(H, W)` of the image it belongs to, if given.

    Raises:
        UnreadableImage: As for `decode_image`, or the file holds colors.
    """
    data, name = _bytes(source, name)
    return of_size(_decoded(data, name, _indices), name, image_size)


def _indices(data, name):
    mask = _open(data)
    if mask.mode not in ("L", "P", "1"):
        raise UnreadableImage(
            f"A mask must hold one class index a pixel. Received {name!r} of "
            f"mode {mask.mode!r}. Convert its colors to indices, or give "
            "`colors` where the data set takes them.",
            "unsupported",
        )
    return np.asarray(mask).astype("uint8")[..., None]


def _bytes(source, name):
    """The contents of a file, and what to call it."""
    if isinstance(source, bytes):
        return source, name or "an image in memory"
    name = str(name or source)
    try:
        with open(source, "rb") as file:
            return file.read(), name
    except FileNotFoundError:
        raise UnreadableImage(
            f"{name!r} does not exist. Restore the file, or remove it from "
            "the data set.",
            "missing",
        ) from None
    except OSError as error:
        raise UnreadableImage(
            f"{name!r} cannot be read: {error.strerror}.", "unreadable"
        ) from error


def _decoded(data, name, decode):
    """`decode(data, name)`; its errors are `UnreadableImage`s."""
    if not data:
        raise UnreadableImage(
            f"{name!r} cannot be read as an image: it is empty. Replace or "
            "remove the file.",
            "empty",
        )
    try:
        return decode(data, name)
    except UnreadableImage:
        raise
    except Exception as error:  # Decoders raise many kinds.
        # Pillow ends some messages with the buffer's address.
        reason = str(error).split(" <_io")[0].split(" '")[0].rstrip(".")
        raise UnreadableImage(
            f"{name!r} cannot be read as an image: {reason}. Replace or "
            "remove the file.",
            _cause(error, data),
        ) from error


def _cause(error, data):
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    words = str(error).lower()
    if "too large" in words:
        return "size"
    cut_off = isinstance(error, EOFError) or "truncated" in words
    return "truncated" if cut_off or jpeg.is_cut_off(data) else "damaged"


def _open(data):
    """The loaded image of a file that is not a JPEG."""
    if data.startswith(_PNG):
        _check_png(data)
    image = Image.open(io.BytesIO(data))
    jpeg.check_size(image.height, image.width)
    image.load()
    return image


def _check_png(data):
    """Raises a ValueError for a wrong checksum; Pillow checks only some.

    References:
        PNG specification, 2003, section 5.3: length, type, data, CRC.
    """
    at = len(_PNG)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        stop = at + 8 + length
        if stop + 4 > len(data):
            raise ValueError("the file is truncated")
        kind = data[at + 4 : at + 8]
        checksum = int.from_bytes(data[stop : stop + 4])
        if zlib.crc32(data[at + 4 : stop]) != checksum:
            raise ValueError(f"the checksum of its {kind.decode()} is wrong")
        if kind == b"IEND":
            return
        at = stop + 4
    raise ValueError("the file is truncated")


def of_size(pixels, name, image_size):
    """`pixels`, or an error if they are not of a size.

    Args:
        pixels: `(H, W, channels)`.
        name: What the error calls them.
        image_size: `(H, W)` that they must have; None: any.

    Raises:
        UnreadableImage: They have another.
    """
    if image_size is not None and pixels.shape[:2] != tuple(image_size):
        raise UnreadableImage(
            f"{name!r} must be {tuple(image_size)} pixels high and wide. "
            f"Received {pixels.shape[:2]}. Resize it together with what "
            "belongs to it.",
            "size",
        )
    return pixels
