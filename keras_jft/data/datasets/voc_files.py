"""Pascal VOC's annotation files, one XML an image, checked strictly.

An error names the file, the object and the field. What is accepted besides
the letter of the format: no `difficult`, or an empty one (0), or True and
False, no pose and other notes, coordinates that are not whole numbers, sizes
such as 80.0, boxes that reach up to one pixel
out of the image (clipped), files without objects, and any encoding that the
file declares. Declarations of a document type are refused: entities can make a
small file huge, or read another one.

References:
    Everingham et al. 2010, "The Pascal Visual Object Classes (VOC) Challenge",
    https://doi.org/10.1007/s11263-009-0275-4; the development kit of VOC2007.
"""

import codecs
import dataclasses
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from keras_jft.data.datasets.boxed_images import clipped, fault_of
from keras_jft.text_files import short

# What tools write for 0 and 1.
_FLAGS = {
    **dict.fromkeys(("", "0", "0.0", "false", "unspecified"), False),
    **dict.fromkeys(("1", "1.0", "true"), True),
}
_SIDES = ("xmin", "ymin", "xmax", "ymax")
# As ASCII bytes: UTF-16 tells itself by its mark.
_DECLARED = re.compile(
    rb"""(?:\xef\xbb\xbf)?<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']"""
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VocFile:
    """What an annotation file says of one image with N objects.

    Attributes:
        image_name: Name of the image file, without its folder, or "".
        image_size: `(height, width)`.
        names: N names of classes.
        boxes: `(N, 4)` float32 x1, y1, x2, y2 in pixels.
        difficult: `(N,)` bool.
    """

    image_name: str
    image_size: tuple[int, int]
    names: tuple[str, ...]
    boxes: np.ndarray
    difficult: np.ndarray


def read(path, faults, *, one_based=True):
    """Reads and checks an annotation file.

    Args:
        path: The XML file.
        faults: `boxed_images.Faults`, which drop or raise faulty objects.
        one_based: Whether coordinates are those of pixels counted from 1, the
            last one within the box, as VOC's are: pixels 1 to 3 reach from
            0.0 to 3.0. If not they are distances from the corner.

    Returns:
        A `VocFile`.

    Raises:
        ValueError: Something is missing or no number; a box is inverted,
            empty or outside of the image.
    """
    root = parse(path)
    size = _side(path, root, "height"), _side(path, root, "width")
    rows = []
    for number, found in enumerate(root.findall("object")):
        with faults:
            rows.append(_object(path, number, found, size, one_based))
    names, boxes, difficult = zip(*rows, strict=True) if rows else ((), (), ())
    return VocFile(
        image_name=re.split(r"[\\/]", root.findtext("filename") or "")[
            -1
        ].strip(),
        image_size=size,
        names=tuple(names),
        boxes=np.array(boxes, "float32").reshape(-1, 4),
        difficult=np.array(difficult, "bool"),
    )


def names_in(path):
    """Return the names of classes in a file, unchecked otherwise."""
    found = parse(path).findall("object")
    return {(o.findtext("name") or "").strip() for o in found} - {""}


def parse(path):
    """Return the root element, `annotation`, of an XML file.

    Raises:
        ValueError: There is no such file, it is not XML, it declares a
            document type, or it holds something else.
    """
    if not Path(path).is_file():
        raise ValueError(
            f"{str(path)!r} does not exist. Every image of a list needs its "
            "annotation file."
        )
    parser = ElementTree.XMLParser(target=_Builder())
    try:
        parser.feed(_decoded(Path(path).read_bytes()))
        root = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(
            f"{str(path)!r} is not XML: {error}. It may be cut short or of "
            "another encoding than it declares: write or fetch it again."
        ) from None
    if root.tag != "annotation":
        raise ValueError(
            f"{str(path)!r} must hold an `annotation`. Received: "
            f"a `{root.tag[:80]}`."
        )
    return root


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree of a document without a declared type."""

    def doctype(self, name, public, system):
        raise ValueError("a document type is declared, which none needs")


def _decoded(content):
    """Text of the declared encoding; bytes where the parser knows it."""
    declared = _DECLARED.match(content)
    if declared is None:
        return content
    codec = codecs.lookup(declared[1].decode("ascii", "replace")).name
    if codec in ("utf-8", "utf-16", "ascii", "iso8859-1"):
        return content
    return content.decode(codec)


def _object(path, number, found, image_size, one_based):
    """Name, box and whether it is difficult, of one `object`."""
    name = (found.findtext("name") or "").strip()
    if not name:
        _fail(path, number, "name", "the name of a class", name)
    sides = [_number(path, number, found, side) for side in _SIDES]
    if one_based:
        sides[:2] = sides[0] - 1, sides[1] - 1
    fault = fault_of(sides, image_size)
    if fault:
        given = [found.findtext(f"bndbox/{side}") for side in _SIDES]
        _fail(path, number, "bndbox", fault, given)
    difficult = (found.findtext("difficult") or "").strip()
    if difficult.lower() not in _FLAGS:
        _fail(path, number, "difficult", "0 or 1", difficult)
    return name, clipped(sides, image_size), _FLAGS[difficult.lower()]


def _number(path, number, found, side):
    text = found.findtext(f"bndbox/{side}")
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if text and "_" in text:  # Python reads 1_0 as ten.
        value = math.nan
    if not math.isfinite(value):
        _fail(path, number, f"bndbox/{side}", "a finite number", text)
    return value


def _side(path, root, side):
    text = root.findtext(f"size/{side}")
    digits = re.sub(r"\.0*$", "", (text or "").strip())
    is_whole = digits.isdecimal() and len(digits) < 10
    if not is_whole or int(digits) < 1:
        raise ValueError(
            f"{str(path)!r}, field `size/{side}`: expected a whole number "
            f"above 0. Received: {short(text)}. Write the image's {side}."
        )
    return int(digits)


def _fail(path, number, field, expected, received):
    raise ValueError(
        f"{str(path)!r}: object number {number}, field `{field}`: expected "
        f"{expected}. Received: {short(received)}."
    )
