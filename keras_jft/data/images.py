"""Image files to arrays, strictly: a damaged file is an error that names it.

Files are not trusted. Only `FORMATS` are recognized, so that no other program
is started (Pillow passes PostScript to Ghostscript); only regular files are
read; and the size of a decoded image is limited.

Shapes: H W image height and width.
"""

import os
import stat
import warnings
import zlib

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from keras_jft import checks
from keras_jft.data import jpeg

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
IMAGE_SUFFIXES = (
    ".bmp",
    ".gif",
    ".jfif",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
)
ORIENTATIONS = ("apply", "ignore")
MAX_BYTES = 2**31
_PNG = b"\x89PNG\r\n\x1a\n"
# How the camera was held: (swap rows and columns, flip rows, flip columns).
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


class UnreadableImage(ValueError):
    """An image that cannot be read.

    Attributes:
        cause: What to count by: "missing", "unreadable", "empty", "truncated",
            "damaged", "not an image", "unsupported" or "size".
    """

    def __init__(self, message: str, cause: str):
        super().__init__(message)
        self.cause = cause

    def __reduce__(self):
        """Return what goes to another process."""
        return type(self), (str(self), self.cause)


def decode_image(source, name=None, image_size=None, orientation="apply"):
    """Return the pixels of an image file, `(H, W, 3)` uint8.

    The format is recognized by the contents, not by the name. Gray is repeated,
    palettes are looked up, CMYK is converted, 16-bit gray keeps its high byte,
    transparency is blended with white, and the first of several frames is used.
    JPEG files are read strictly (`jpeg`), and the checksums of PNG files must
    be right.

    Args:
        source: Path of a file, or its bytes.
        name: What errors call the image; by default its path.
        image_size: `(H, W)` that the image must have, if given.
        orientation: "apply": the image as people see it, rotated as its camera
            recorded (EXIF). "ignore": the pixels in the order of the file. TIFF
            files are always rotated: orientation is part of their format.

    Raises:
        UnreadableImage: The file is missing, empty, truncated, damaged, not
            an image of `FORMATS`, not a regular file, larger than
            `jpeg.MAX_PIXELS`, or of another size.

    Example:

    >>> import io
    >>> buffer = io.BytesIO()
    >>> Image.new("L", (4, 2), color=9).save(buffer, "PNG")
    >>> decode_image(buffer.getvalue()).shape
    (2, 4, 3)
    >>> decode_image(b"not an image", name="a.jpg")
    Traceback (most recent call last):
    ...
    keras_jft.data.images.UnreadableImage: 'a.jpg' cannot be read \
as an image: cannot identify image file. Replace or remove the file.
    """
    checks.one_of("orientation", orientation, ORIENTATIONS)
    data, name = _bytes(source, name)
    pixels = _decoded(data, name, _pixels)
    return _turned(pixels, data, name, image_size, orientation)


class AnnotatedImages:
    """Images whose boxes, keypoints or masks are given in pixels.

    Tools disagree on whether these refer to the pixels as they are stored, or
    to the image as it is shown after EXIF rotates it.

    Args:
        orientation: "apply" or "ignore", as for `decode_image`. None is
            "ignore" with a warning at the first image that EXIF would rotate.

    Raises:
        ValueError: `orientation` is another.
    """

    def __init__(self, orientation=None):
        if orientation is not None:
            checks.one_of("orientation", orientation, ORIENTATIONS)
        self._orientation = orientation

    def decode(self, source, name=None, image_size=None):
        """Return the pixels of an image, as `decode_image` does."""
        data, name = _bytes(source, name)
        orientation = self._orientation or "ignore"
        pixels = decode_image(data, name, image_size, orientation)
        if self._orientation is None and exif_orientation(data) != 1:
            self._orientation = "ignore"  # Warn only once.
            warnings.warn(
                f"{name!r}, and perhaps others, is shown rotated (EXIF "
                f"orientation {exif_orientation(data)}), but its annotations "
                "are assumed to refer to the pixels of the file. If they were "
                "made on the image as it is shown, set orientation='apply'; "
                "if not, orientation='ignore'.",
                stacklevel=2,
            )
        return pixels

    def hint(self, source):
        """Return advice for an annotation whose size differs from its image.

        Args:
            source: Path of the image.
        """
        found = exif_orientation(_bytes(source, None)[0])
        if found not in _TURNS or not _TURNS[found][0]:
            return ""
        other = "ignore" if self._orientation == "apply" else "apply"
        return (
            f" EXIF (orientation {found}) rotates {str(source)!r}: set "
            f"orientation={other!r} if the annotation was made that way."
        )


def image_size(source, name=None, orientation="apply"):
    """Return `(height, width)` of an image without decoding its pixels.

    Args:
        source: As for `decode_image`.
        name: As for `decode_image`.
        orientation: As for `decode_image`.

    Raises:
        UnreadableImage: As `decode_image`, where its header is damaged.
    """
    data, name = _bytes(source, name)
    wide, high = _decoded(
        data, name, lambda data, _: jpeg.open_image(data, FORMATS).size
    )
    turn = _TURNS.get(exif_orientation(data), (False,))
    swaps = orientation == "apply" and turn[0]
    return (wide, high) if swaps else (high, wide)


def exif_orientation(data):
    """Return how an image must be rotated or mirrored: 1 (not at all) to 8.

    Args:
        data: Bytes of an image file.

    References:
        CIPA DC-008-2012, EXIF 2.3, section 4.6.4, tag 0x0112.
    """
    if data.startswith(jpeg.START) and not jpeg.has_metadata(data):
        return 1
    try:
        image = jpeg.open_image(data, FORMATS)
        if image.format == "TIFF":  # Pillow has rotated it.
            return 1
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Damaged EXIF does not make an image unreadable.
        return 1
    return found if found in _TURNS else 1


def _turned(pixels, data, name, image_size, orientation):
    """Return the pixels in the wanted order, checked to be of a size."""
    found = exif_orientation(data)
    shown = _turn(pixels, found)
    pixels, other, wanted = (
        (shown, pixels, "ignore")
        if orientation == "apply"
        else (pixels, shown, "apply")
    )
    if image_size is not None and pixels.shape[:2] != tuple(image_size):
        if other.shape[:2] == tuple(image_size):
            raise UnreadableImage(
                f"{name!r} must be {tuple(image_size)} pixels high and wide. "
                f"Received {pixels.shape[:2]}, with orientation="
                f"{orientation!r}; EXIF (orientation {found}) rotates this "
                f"image. Set orientation={wanted!r}.",
                "size",
            )
        of_size(pixels, name, image_size)
    return pixels


def _turn(pixels, orientation):
    if orientation == 1:
        return pixels
    swaps, *flips = _TURNS[orientation]
    pixels = pixels.swapaxes(0, 1) if swaps else pixels
    rows, columns = (slice(None, None, -1 if flip else 1) for flip in flips)
    return np.ascontiguousarray(pixels[rows, columns])


def _pixels(data, name):
    if data.startswith(jpeg.START):
        return jpeg.decode(data)
    image = _open(data)
    bits = _bits_of(image, data)
    if image.mode in ("I;16", "I;16B", "I;16L"):
        gray = _gray_of_many_bits(image, bits, name)
        return np.repeat(gray[..., None], 3, axis=-1)
    if image.mode in ("F", "I"):
        raise UnreadableImage(
            f"{name!r} has pixels of 32 bits, whose range is not known. "
            "Save it with 8 bits per channel.",
            "unsupported",
        )
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    pixels = np.asarray(image.convert("RGB"))
    if bits == 16:  # Of which Pillow keeps the upper eight.
        _check_scaled(int(pixels.max(initial=0)) << 8, name)
    return pixels


def _bits_of(image, data):
    """Return the bits per channel that a PNG or TIFF file has; else 8."""
    if image.format == "PNG":
        return data[24]  # Of its first chunk, IHDR.
    if image.format == "TIFF":
        return image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))[0]
    return 8


def _gray_of_many_bits(image, bits, name):
    """Return `(H, W)` uint8 of a gray image of 9 to 16 bits."""
    values = np.asarray(image)
    if bits == 16:
        _check_scaled(int(values.max(initial=0)), name)
    white_is_zero = image.format == "TIFF" and not image.tag_v2.get(
        TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 1
    )
    if white_is_zero:  # Pillow inverts 8 bits alone.
        values = (1 << bits) - 1 - values
    return (values >> (bits - 8)).astype("uint8")


def _check_scaled(largest, name):
    """Raise `UnreadableImage` for few bits in the lower part of 16."""
    if 0 < largest < 1 << 12:
        raise UnreadableImage(
            f"{name!r} has 16 bits per channel, of which at most 12 are used: "
            f"values up to {largest} of 65535. Shown as it is, it is black. "
            "Multiply its values by 16 if they have 12 bits, or save it with 8 "
            "bits per channel.",
            "unsupported",
        )


def decode_mask(source, name=None, image_size=None, orientation="ignore"):
    """Return the class indices of a mask file, `(H, W, 1)` uint8.

    Args:
        source: Path or bytes of an image with values 0..255: of one channel,
            with a palette (whose colors do not matter), or gray saved as RGB.
        name: What errors call the mask; by default its path.
        image_size: `(H, W)` of the image it belongs to, if given.
        orientation: As for `decode_image`; few masks have EXIF themselves.

    Raises:
        UnreadableImage: As for `decode_image`, or the file holds colors or
            values above 255.
    """
    data, name = _bytes(source, name)
    mask = _decoded(data, name, _indices)
    return _turned(mask, data, name, image_size, orientation)


def _indices(data, name):
    if data.startswith(jpeg.START):
        raise UnreadableImage(
            f"{name!r} is a JPEG, which changes class indices where they "
            "border on others. Write masks without loss, as PNG.",
            "unsupported",
        )
    mask = _open(data)
    values = np.asarray(mask)
    remedy = (
        "Convert its colors to indices, or give `colors` where the data set "
        "takes them."
    )
    if mask.mode in ("RGB", "RGBA", "LA") and _bits_of(mask, data) == 16:
        remedy = "Pillow reads the upper 8 of its 16 bits: save it with 8 bits."
        values = None
    elif mask.mode in ("RGB", "RGBA", "LA"):
        has_alpha = mask.mode != "RGB"
        if has_alpha and values[..., -1].min() < 255:
            remedy = f"It is transparent in places: drop its alpha. {remedy}"
        values = _gray(values, has_alpha)
    elif mask.mode not in ("L", "P", "1") and not mask.mode.startswith("I"):
        values = None
    if values is None or values.min() < 0 or values.max() > 255:
        held = "" if values is None else f" and of values up to {values.max()}"
        raise UnreadableImage(
            f"A mask must hold one class index, 0..255, per pixel. Received "
            f"{name!r} of mode {mask.mode!r}{held}. {remedy}",
            "unsupported",
        )
    return values.astype("uint8")[..., None]


def _gray(values, has_alpha):
    """Return `(H, W)` of equal, opaque channels; None if they differ."""
    if has_alpha:
        if values[..., -1].min() < 255:
            return None
        values = values[..., :-1]
    is_gray = (values == values[..., :1]).all()
    return values[..., 0] if is_gray else None


def read_file(path, name=None):
    """Return the bytes of an image file.

    Args:
        path: A regular file; reading a pipe would block.
        name: What errors call the file; by default its path.

    Raises:
        UnreadableImage: It is missing, cannot be read, or is not a regular
            file of `MAX_BYTES` at most.
    """
    return _bytes(path, name)[0]


def _bytes(source, name):
    """Return the contents of a file, and what to call it."""
    if isinstance(source, bytes):
        return source, name or "an image in memory"
    name = str(name or source)
    try:
        # Without this opener, opening a pipe would block until it has a writer.
        with open(source, "rb", opener=_open_at_once) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_BYTES:
                raise UnreadableImage(
                    f"{name!r} cannot be read: it must be a regular file of "
                    f"at most {MAX_BYTES} bytes. Replace or remove it.",
                    "unreadable",
                )
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


def _open_at_once(path, flags):
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _decoded(data, name, decode):
    """Return `decode(data, name)`, turning errors into `UnreadableImage`."""
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
    except jpeg.TooManyPixels as error:
        raise UnreadableImage(
            f"{name!r} cannot be read as an image: {error}", "size"
        ) from error
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
    # Pillow's WebP plugin has a limit of its own.
    if isinstance(error, Image.DecompressionBombError):
        return "size"
    cut_off = isinstance(error, EOFError) or "truncated" in words
    return "truncated" if cut_off or jpeg.is_cut_off(data) else "damaged"


def _open(data):
    """Return the loaded image of a file that is not a JPEG."""
    if data.startswith(_PNG):
        _check_png(data)
    image = jpeg.open_image(data, FORMATS)
    if image.format == "TIFF":
        # Allocate the pixels here, as Pillow would apply its own size limit.
        stored = getattr(image, "_tile_size", image.size)
        image.im = Image.core.new(image.mode, stored)
    image.load()
    return image


def _check_png(data):
    """Raise `ValueError` for a wrong checksum; Pillow checks only some.

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
    """Return `pixels`, or raise if they are not of a size.

    Args:
        pixels: `(H, W, channels)`.
        name: What the error calls them.
        image_size: `(H, W)` that they must have; None: any.

    Raises:
        UnreadableImage: They have another size.
    """
    if image_size is not None and pixels.shape[:2] != tuple(image_size):
        raise UnreadableImage(
            f"{name!r} must be {tuple(image_size)} pixels high and wide. "
            f"Received {pixels.shape[:2]}. Resize it together with its "
            "annotations.",
            "size",
        )
    return pixels
