"""JPEG files, decoded strictly: whatever the decoder warns of is an error.

Libraries show a damaged JPEG as an image that is gray or scrambled from the
damage on; TensorFlow and Pillow accept nearly all of them. Here the warnings of
libjpeg-turbo are errors, by simplejpeg (the extra `fast`; without it Pillow
decodes, and most damage within the data goes unnoticed). So are runs of zeros,
which a lost disk block leaves behind and which often decode without a warning.

Shapes: H W image height and width.

References:
    ITU-T T.81, 1992: annex B (markers), annex C (codes).
"""

import functools
import io
import re
import struct

import numpy as np
from PIL import Image, UnidentifiedImageError

START, _END = b"\xff\xd8\xff", b"\xff\xd9"
# An intact scan has fewer consecutive zeros, unless its code for a block equal
# to the one before consists of zeros.
_ZEROS = bytes(16)
_WORD = np.dtype("uint64")
_TABLES, _SEQUENTIAL, _SCAN = 0xC4, (0xC0, 0xC1), 0xDA
_METADATA = 0xE1
# What common sequential files have before their pixels: tables, the frame,
# restart intervals, the scan, application data, comments.
_COMMON = {_TABLES, *_SEQUENTIAL, _SCAN, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE}
# All markers that start a segment, and the marker of the end.
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
# Each scan visits all pixels, however few its bytes; encoders write about 10.
MAX_SCANS = 100
# Pixels per image: 0.8 GB as RGB, and several times that during decoding.
MAX_PIXELS = 2**28


class TooManyPixels(ValueError):
    """An image of more than `MAX_PIXELS`."""


def decode(data):
    """Return `(H, W, 3)` uint8 pixels of the bytes of a JPEG file.

    Raises:
        ValueError: With a short reason. Pillow may raise `OSError` and others.

    Example:

    >>> buffer = io.BytesIO()
    >>> Image.new("L", (16, 8), color=9).save(buffer, "JPEG")
    >>> decode(buffer.getvalue()).shape
    (8, 16, 3)
    """
    if _has_many_scans(data):
        raise ValueError(f"it has more than {MAX_SCANS} scans")
    library = _simplejpeg()
    if library is None:
        pixels = _by_pillow(data)
    else:
        height, width, colors, _ = library.decode_jpeg_header(data)
        _check_size(height, width)
        if colors in ("CMYK", "YCCK"):
            library.decode_jpeg(data, "CMYK")  # Only to detect damage.
            pixels = _by_pillow(data)
        else:
            pixels = library.decode_jpeg(data, "RGB")
    if _has_lost_block(data):
        raise ValueError("its data has a run of zeros, as of a lost block")
    return pixels


def is_cut_off(data):
    """Return whether these are the bytes of a JPEG file without its end."""
    return data.startswith(START) and not data.rstrip(b"\0").endswith(_END)


def _check_size(height, width):
    """Check that an image of this size may be decoded.

    The size in a header may be damaged or malicious, and an intact file of a
    few kilobytes may decode to gigabytes. The size of the file says little: the
    scan of an empty page has 7000 pixels per byte.

    Args:
        height: In pixels.
        width: In pixels.

    Raises:
        TooManyPixels: The size is more than `MAX_PIXELS`.

    Example:

    >>> _check_size(12_240, 16_320)
    >>> _check_size(2**15, 2**14)
    Traceback (most recent call last):
    keras_jft.data.jpeg.TooManyPixels: it has 32768 x 16384 pixels, \
more than the 268435456 that fit into memory safely. Make it smaller, cut it \
into tiles, or, if you trust it and have the memory, raise \
`keras_jft.data.jpeg.MAX_PIXELS`.
    """
    if height * width > MAX_PIXELS:
        raise TooManyPixels(
            f"it has {height} x {width} pixels, more than the {MAX_PIXELS} "
            "that fit into memory safely. Make it smaller, cut it into "
            "tiles, or, if you trust it and have the memory, raise "
            "`keras_jft.data.jpeg.MAX_PIXELS`."
        )


def open_image(data, formats):
    """Return a Pillow image, reading only its header, as `Image.open` does.

    `Image.open` warns of large images and refuses larger ones by a limit for
    the whole process, which other threads may rely on. Here `_check_size` sets
    the limit.

    Args:
        data: Bytes of a file.
        formats: Pillow's names of the accepted formats.

    Raises:
        TooManyPixels: As `_check_size` does.
        UnidentifiedImageError: The file has none of the formats.
    """
    Image.init()
    for name in formats:
        factory, accept = Image.OPEN[name]
        if accept(data[:16]) is not True:  # A string names a missing library.
            continue
        try:
            image = factory(io.BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue  # A plugin's way to say that this is another format.
        _check_size(image.height, image.width)
        return image
    raise UnidentifiedImageError("cannot identify image file")


def has_metadata(data):
    """Return whether a JPEG file has EXIF or the like before its pixels."""
    return any(marker == _METADATA for marker, *_ in _segments(data))


def _has_lost_block(data):
    """Return whether a sequential JPEG has zeros that no encoder writes.

    Args:
        data: Bytes of a whole file.
    """
    # Wherever they begin, they fill a word. This takes a third of the time
    # that `_ZEROS in data` takes.
    if np.frombuffer(data, _WORD, len(data) // _WORD.itemsize).all():
        return False
    zero_codes, components = {}, None
    for marker, start, stop in _segments(data):
        if marker in _SEQUENTIAL:
            components = data[start + 5]
        elif marker == _TABLES:
            zero_codes |= _zero_codes(data[start:stop])
        elif marker == _SCAN:
            if data[start] != components:
                return False  # Progressive, or one scan per component.
            # Zeros are legal, as unchanged blocks, if the all-zero code of
            # every table means "no difference" (DC) or "end of block" (AC).
            used = data[start + 2 : start + 2 + 2 * components : 2]
            tables = [t >> 4 for t in used] + [16 + t % 16 for t in used]
            if not any(zero_codes.get(table) for table in tables):
                return False
            end = data.find(_END, stop)
            end = len(data) if end < 0 else end
            return data.find(_ZEROS, stop, end) >= 0
    return False


def _has_many_scans(data):
    """Return whether the image has more than `MAX_SCANS`.

    Thumbnails within segments, and data after the end of the image, such as the
    video of a "motion photo", may contain the bytes of markers by chance.
    """
    # Counting reads the whole file, which takes as long as resizing it.
    if _has_one_scan(data) or data.count(bytes([0xFF, _SCAN])) <= MAX_SCANS:
        return False
    at, scans = 2, 0
    # Compressed pixels come between a scan's segment and the next marker.
    while (found := _MARKER.search(data, at)) and found[0] != _END:
        scans += found[0][1] == _SCAN
        if scans > MAX_SCANS:
            return True
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    return False


def _has_one_scan(data):
    """Return whether decoders read one scan of a file, whatever follows it.

    So they do if its frame is sequential and the first scan has all of its
    components. False, too, if anything is before the scan that a decoder might
    pass over in another way than `_segments`.
    """
    components, end = None, 2
    for marker, start, stop in _segments(data):
        known = marker in _COMMON and start == end + 4
        if not known or not start <= stop <= len(data):
            return False
        end = stop
        if marker in _SEQUENTIAL:
            if components is not None or stop - start < 6:
                return False
            components = data[start + 5]
        elif marker == _SCAN:
            return stop > start and data[start] == components
    return False


def _segments(data):
    """Yield marker, start and stop of the segments, to the first scan's."""
    at, size = 2, len(data)
    while at + 4 <= size:
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:
            at += 1  # Fill bytes.
            continue
        stop = at + 2 + (data[at + 2] << 8) + data[at + 3]
        yield marker, at + 4, stop
        if marker == _SCAN:
            return
        at = stop


def _zero_codes(tables):
    """Return `{table: symbol}`, the first symbol: the code of all zeros.

    Args:
        tables: Contents of a segment of Huffman tables: for each table its
            number, 16 counts of codes by length, and the symbols in the order
            of their codes.
    """
    codes, at = {}, 0
    while at + 17 < len(tables):
        codes[tables[at]] = tables[at + 17]
        at += 17 + sum(tables[at + 1 : at + 17])
    return codes


def _by_pillow(data):
    return np.asarray(open_image(data, ("JPEG",)).convert("RGB"))


@functools.cache
def _simplejpeg():
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg
