"""Boxes in an XML file per image, as labelImg and Roboflow write them.

The files are Pascal VOC's, but not its folders: annotations lie beside the
images, or in a folder of their own, and no list names the images of a split.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_jft.data.dataset import Dataset
from keras_jft.data.datasets import drawn_objects, voc
from keras_jft.data.datasets.boxed_images import Faults
from keras_jft.data.datasets.image_files import files_below
from keras_jft.files import check_split
from keras_jft.text import number_of
from keras_jft.text_files import short
from keras_jft.typing import PathLike


def load(
    directory: PathLike,
    split: str | None = None,
    *,
    images: str | None = None,
    annotations: str | None = None,
    label_names: Sequence[str] | None = None,
    one_based: bool = True,
    on_error: str = "raise",
    orientation: str | None = None,
) -> Dataset:
    """Load the images that have an annotation file, ordered by its path.

    An image belongs to the XML file with the path that its own has apart from
    the suffix. Images without annotations are left out, for they may not have
    been looked at yet; an image without objects has a file that says so.

    Args:
        directory: Folder that the two folders are in.
        split: The text that replaces `{split}` in their names.
        images: Folder of images; by default `directory`, or "{split}".
        annotations: Folder of XML files; by default that of the images.
        label_names: All classes, in the order of their ids; by default those
            in all annotation files below `directory`, sorted.
        one_based: Whether coordinates count pixels from 1, as VOC's do.
        on_error: "raise" for a faulty object, or "drop" it with a warning.
        orientation: As for `voc`.

    Returns:
        A `Dataset` with `bounding_boxes`; ids are paths without suffix.

    Raises:
        ValueError: There are no annotation files, one has no image, or as
            `voc.read` does.
    """
    root = Path(directory)
    images = images or ("" if split is None else "{split}")
    annotations = images if annotations is None else annotations
    check_split(
        split,
        [root / images, root / annotations],
        "Write `{split}` into `images` and `annotations`, or pass split=None.",
    )
    places = [
        root / place.format(split=split) for place in (images, annotations)
    ]
    pictures: dict = {}
    for path in _below(places[0]):
        pictures.setdefault(_name(path, places[0]), []).append(path)
    faults, found, missing = Faults(on_error), [], []
    for path in _below(places[1], (".xml",)):
        name = _name(path, places[1])
        file = voc.read(path, faults, one_based=one_based)
        paths = pictures.get(name, [])
        paths = [p for p in paths if p.name == file.image_name] or paths
        if len(paths) != 1:
            missing.append(f"{name} ({number_of(len(paths), 'image')})")
            continue
        found.append(
            drawn_objects.Drawn(
                name=name,
                path=paths[0],
                image_size=file.image_size,
                names=file.names,
                boxes=file.boxes,
                outlines=(None,) * len(file.names),
                ignored=np.asarray(file.difficult),
            )
        )
    if missing:
        raise ValueError(
            f"Every XML file in {str(places[1])!r} must have one image of its "
            f"name in {str(places[0])!r}. {len(missing)} have not: "
            f"{short(missing[:5])}."
        )
    faults.warn(places[1])
    names: set = set()
    if label_names is None:
        names = names.union(*map(voc.class_names, _below(root, (".xml",))))
    return drawn_objects.data_set(
        found,
        label_names,
        "boxes",
        repr(str(places[1])),
        all_names=names,
        orientation=orientation,
    )


def _below(folder, *suffixes):
    if not folder.is_dir():
        raise ValueError(
            f"There must be a folder {str(folder)!r}. Received none. Check "
            "`directory`, `images`, `annotations` and `split`."
        )
    return files_below(folder, *suffixes)


def _name(path, folder):
    return path.relative_to(folder).with_suffix("").as_posix()
