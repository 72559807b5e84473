"""Pascal VOC: images with boxes from XML files, on disk or through TFDS.

The folder of a year, such as `VOCdevkit/VOC2007`, has `Annotations/*.xml`,
`JPEGImages` and lists of names such as `ImageSets/Main/trainval.txt`. Any other
folder with that layout will do. After `load` come readers of folders and lists,
which `voc_segmentation` uses too, then the reader of XML files.

Shapes: N objects of an image.
"""

import codecs
import dataclasses
import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from keras_jft import checks, text_files
from keras_jft.data.dataset import Dataset, warn_of_absent_classes
from keras_jft.data.datasets import tfds
from keras_jft.data.datasets.boxed_images import (
    BoxedImages,
    Faults,
    clipped,
    fault_of,
)
from keras_jft.data.datasets.image_files import files_below, files_by_name
from keras_jft.data.label_names import almost, check_forms, checked_names
from keras_jft.text import composed, number_of
from keras_jft.text_files import short
from keras_jft.typing import PathLike

_SOURCES = ("files", "tfds")
# Flags in the list of a class: absent, difficult, present.
_LIST_FLAGS = ("-1", "0", "1")
# What tools write for `difficult`.
_FLAGS = {
    **dict.fromkeys(("", "0", "0.0", "false", "unspecified"), False),
    **dict.fromkeys(("1", "1.0", "true"), True),
}
_SIDES = ("xmin", "ymin", "xmax", "ymax")
# The declaration as ASCII bytes; UTF-16 is recognized by its byte order mark.
_DECLARED = re.compile(
    rb"""(?:\xef\xbb\xbf)?<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']"""
)


def load(
    split: str | None = "train",
    *,
    directory: PathLike | None = None,
    years: Sequence[int | str] | None = None,
    label_names: Sequence[str] | None = None,
    annotated: bool = True,
    one_based: bool = True,
    on_error: str = "raise",
    orientation: str | None = None,
    source: str = "files",
    config: str = "voc/2007",
) -> Dataset:
    """Load the images and boxes of a split, in the order of its list.

    Args:
        split: Name of a list in `ImageSets/Main`: "train", "val", "trainval"
            or "test". Through TFDS also a union, "train+validation".
        directory: A folder with `Annotations`, `ImageSets` and `JPEGImages`,
            or with one such folder `VOC<year>` per year. With `source="tfds"`:
            TFDS's data directory.
        years: Which of those folders: `(2007, 2012)` for the union 07+12. By
            default all that have the list.
        label_names: All classes, in the order of their ids; by default those
            in all annotation files, sorted, which is VOC's own order.
        annotated: Whether images have annotation files; VOC2012's test set has
            none, and images may then have any size.
        one_based: Whether coordinates count pixels from 1, as VOC's do.
        on_error: "raise" for a faulty object, or "drop" it with a warning.
        orientation: What boxes refer to when EXIF rotates an image: "apply",
            the image as it is shown; "ignore", the pixels as they are stored,
            which is the default, with a warning at the first such image.
        source: "files", or "tfds".
        config: Name of the TFDS data set.

    Returns:
        A `Dataset` with `bounding_boxes`; `ignored` are difficult objects. Ids
        are the names in the list; through TFDS they are positions.

    Raises:
        ValueError: As `read` does, or a folder, a list or an image is missing,
            or a class is not in `label_names`.
    """
    checks.one_of("source", source, _SOURCES)
    if source == "tfds":
        shift = -1.0 if one_based else 0.0
        return tfds.load_boxes(
            config, split, directory, on_error, shift, orientation=orientation
        )
    folders = _folders(directory, split, years)
    names = {
        folder: read_list(_list(folder, split), images_in(folder))
        for folder in folders
    }
    ids = [name for listed in names.values() for name in listed]
    if len(set(ids)) < len(ids):
        raise ValueError(
            "Folders must hold different images. Received "
            f"{number_of(len(ids) - len(set(ids)), 'repeated name')} in "
            f"{[str(folder) for folder in folders]}. Pass `years`."
        )
    for folder in folders:
        check_images(folder, names[folder])
    is_declared = label_names is not None
    if not is_declared:
        label_names = _all_names(folders)
        check_forms(label_names, repr(str(directory)))
    else:
        label_names = checked_names(label_names)
    if not annotated:
        return BoxedImages(
            ids,
            [path for f in folders for path in image_paths(names[f])],
            [None] * len(ids),
            None,
            label_names,
            orientation=orientation,
        )
    faults, files, images = Faults(on_error), [], []
    for folder in folders:
        found = [
            read(
                folder / "Annotations" / f"{name}.xml",
                faults,
                one_based=one_based,
            )
            for name in names[folder]
        ]
        wanted = [file.image_name for file in found]
        images += image_paths(names[folder], wanted)
        files += found
    faults.warn(directory)
    labels = {name: label for label, name in enumerate(label_names)}
    data = BoxedImages(
        ids,
        images,
        [file.image_size for file in files],
        [
            _entry(file, labels, name)
            for file, name in zip(files, ids, strict=True)
        ],
        label_names,
        orientation=orientation,
    )
    if is_declared or not label_names:
        warn_of_absent_classes(
            data.info.label_names,
            data.info.class_counts,
            f"image of {split!r} in {str(directory)!r}",
            "Check `label_names`, `split` and the annotation files.",
        )
    return data


def _entry(file, labels, name):
    unknown = sorted(set(file.names) - labels.keys())
    if unknown:
        hint = almost(unknown[0], labels)
        raise ValueError(
            f"The objects of {name!r} must be of the classes {list(labels)}. "
            f"Received: {unknown}{hint}. Add them to `label_names`."
        )
    return {
        "boxes": file.boxes,
        "labels": np.array([labels[name] for name in file.names], "int32"),
        "ignored": file.difficult,
    }


# === Folders ===


def _folders(directory, split, years):
    """Return the folders in VOC's layout that have the list of a split."""
    if directory is None:
        raise ValueError(
            "Pass `directory`, a folder in VOC's layout. Received: None."
        )
    directory = Path(directory)
    if years is not None:
        return [directory / f"VOC{year}" for year in years]
    folders = [directory, *sorted(directory.glob("VOC[0-9]*"))]
    found = [folder for folder in folders if _list(folder, split).is_file()]
    if not found:
        lists = sorted(
            path.stem
            for folder in folders
            for path in _list(folder, split).parent.glob("*.txt")
        )
        beside = [
            str(place)
            for place in (directory, directory / str(split))
            if any(place.glob("*.xml"))
        ]
        hint = (
            f"{beside[0]!r} has annotations beside images: move them to "
            "`Annotations` and `JPEGImages`, and write that list of names."
            if beside
            else "Check `directory` and `split`."
        )
        raise ValueError(
            f"{str(directory)!r}, or a folder VOC<year> in it, must have the "
            f"list ImageSets/Main/{split}.txt. Received the lists {lists[:9]}. "
            + hint
        )
    return found


def _list(folder, split):
    return folder / "ImageSets" / "Main" / f"{split}.txt"


def images_in(folder):
    """Return the images of a folder by name, without suffix.

    Args:
        folder: A folder of VOC's layout.

    Returns:
        `{name: [path]}`, as `files_by_name` does.
    """
    folder = folder / "JPEGImages"
    return files_by_name(folder) if folder.is_dir() else {}


def read_list(path, images):
    """Return the images in the list of a split, `{name: [path]}`.

    A line may have spaces, the suffix of the file, `JPEGImages/` in front, or
    another Unicode form.

    Args:
        path: A text file with one name per line.
        images: The images that names can mean, as `images_in` returns them. A
            name without an image gets no paths.

    Raises:
        ValueError: There is no such file; or a name is repeated, or followed by
            a flag, -1, 0 or 1, as in the list of one class.
    """
    if not path.is_file():
        raise ValueError(
            f"{str(path)!r} is missing. Check `directory`, `years` and `split`."
        )
    meanings = _meanings(images)
    listed = {}
    for number, line in text_files.read_lines(path):
        line = line.strip()
        name, paths = meanings.get(
            composed(line.removeprefix("JPEGImages/")), (line, [])
        )
        words = line.split()
        is_flagged = not paths and len(words) > 1 and words[-1] in _LIST_FLAGS
        if name in listed or is_flagged:
            raise ValueError(
                f"{str(path)!r} must hold one name per line, each once. "
                f"Received: {text_files.short(' '.join(words))} in line "
                f"{number}. The list of one class is not a split."
            )
        listed[name] = paths
    if not listed:
        raise ValueError(
            f"{str(path)!r} must hold one name per line. Received: none."
        )
    return listed


def _meanings(images):
    """Return `{what a line says: (name, [path])}`, with suffix or without."""
    with_suffix = {
        composed(name + path.suffix): (name, [path])
        for name, paths in images.items()
        for path in paths
    }
    names = {composed(name): (name, paths) for name, paths in images.items()}
    return with_suffix | names


def check_images(folder, listed):
    """Raise `ValueError` unless every name of a list is that of an image.

    Args:
        folder: A folder of VOC's layout.
        listed: As `read_list` returns it.
    """
    missing = [name for name, paths in listed.items() if not paths]
    if missing:
        raise ValueError(
            "Every image of the list must be in "
            f"{str(folder / 'JPEGImages')!r}. Missing are {len(missing)} of "
            f"{len(listed)}: {text_files.short(missing[:5])}."
        )


def image_paths(listed, wanted=None):
    """Return the path of each image.

    Args:
        listed: As `read_list` returns it; every name has a path.
        wanted: The file names in the annotations, one per name. They decide
            between files that differ only in their suffix.

    Raises:
        ValueError: Two files differ only in their suffix, and neither is
            named.
    """
    chosen = []
    for number, (name, paths) in enumerate(listed.items()):
        if len(paths) > 1 and wanted is not None:
            paths = [p for p in paths if p.name == wanted[number]] or paths
        if len(paths) > 1:
            raise ValueError(
                f"{str(paths[0].parent)!r} must have one image called "
                f"{name!r}. Received: {[path.name for path in paths]}, of "
                "which neither the list nor the `filename` of an annotation "
                "names one. Write the suffix into the list, or remove the "
                "others."
            )
        chosen.append(paths[0])
    return chosen


def _all_names(folders):
    """Return the classes of all annotation files, so that splits agree."""
    places = [folder / "Annotations" for folder in folders]
    files = [files_below(p, (".xml",)) for p in places if p.is_dir()]
    return tuple(
        sorted(set().union(*map(class_names, itertools.chain(*files))))
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class VocFile:
    """The contents of an annotation file of one image with N objects.

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
    """Read and check an annotation file.

    Args:
        path: The XML file.
        faults: `boxed_images.Faults`, which raise or drop faulty objects.
        one_based: Whether coordinates number pixels from 1, including the
            last, as VOC's do: pixels 1 to 3 reach from 0.0 to 3.0. Otherwise
            coordinates are distances from the corner.

    Returns:
        A `VocFile`.

    Raises:
        ValueError: Something is missing or is not a number; a box is inverted,
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


def class_names(path):
    """Return the names of classes in a file without checking the rest."""
    found = parse(path).findall("object")
    return {(o.findtext("name") or "").strip() for o in found} - {""}


def parse(path, tag="annotation"):
    """Return the root element of an XML file.

    Args:
        path: The file.
        tag: What the element must be called.

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
    if root.tag != tag:
        raise ValueError(
            f"{str(path)!r} must hold an `{tag}`. Received: "
            f"a `{root.tag[:80]}`."
        )
    return root


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree of a document without a declared type."""

    def doctype(self, name, public, system):
        raise ValueError("it declares a document type, which is not allowed")


def _decoded(content):
    """Decode by the declared encoding; keep bytes that the parser knows."""
    declared = _DECLARED.match(content)
    if declared is None:
        return content
    codec = codecs.lookup(declared[1].decode("ascii", "replace")).name
    if codec in ("utf-8", "utf-16", "ascii", "iso8859-1"):
        return content
    return content.decode(codec)


def _object(path, number, found, image_size, one_based):
    """Return name, box and difficulty of one `object`."""
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
