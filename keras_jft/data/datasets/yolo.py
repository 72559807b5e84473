"""Boxes, polygons and keypoints in a text file per image, as YOLO has them.

`data.yaml` names the classes and the folders of images; the labels of
`images/train/1.jpg` are in `labels/train/1.txt`, one object per line:

    class x y width height              a box: its center and its sides
    class x1 y1 x2 y2 x3 y3 ...         a polygon
    class x y width height px py v ...  a box and keypoints (`kpt_shape`)

All are fractions of the image as it is shown.

References:
    https://docs.ultralytics.com/datasets/
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from keras_jft import checks
from keras_jft.data.dataset import Dataset
from keras_jft.data.datasets import drawn_objects
from keras_jft.data.datasets.boxed_images import Faults
from keras_jft.data.datasets.coco import people
from keras_jft.data.datasets.coco.files import CocoFile
from keras_jft.data.datasets.image_files import files_below
from keras_jft.data.images import image_size
from keras_jft.data.label_names import checked_names
from keras_jft.text import number_of
from keras_jft.text_files import read_lines, read_text, short
from keras_jft.typing import PathLike

SPLITS = ("train", "val", "test")
TARGETS = (*drawn_objects.TARGETS, "keypoints")
_LONGEST = 1 << 20  # Bytes of `data.yaml`.
# The share of a person's box that the person covers, for OKS (Ultralytics).
_COVERED = 0.53


def load(
    directory: PathLike,
    split: str | None = "train",
    *,
    target: str = "boxes",
    on_error: str = "raise",
    allow_outside: bool = False,
    sigmas: Sequence[float] | None = None,
    max_people: int = 8,
) -> Dataset:
    """Load the images of a split, ordered by path.

    An image without a text file has no objects.

    Args:
        directory: Folder of `data.yaml`, or the path of another such file.
        split: "train", "val" or "test".
        target: "boxes", around every object; "masks" of its polygons, of which
            "background" is class 0; or "keypoints", one example per person.
        on_error: "raise" for a faulty object, or "drop" it with a warning.
        allow_outside: Whether images may lie outside of the folder of the file.
        sigmas: As for `coco_people`, for keypoints.
        max_people: As for `coco_people`, for keypoints.

    Returns:
        A `Dataset` with `bounding_boxes`, `segmentation_masks` or `keypoints`;
        ids are paths of images without suffix.

    Raises:
        ValueError: `data.yaml` is missing or wrong, the split has no images or
            none of them has labels, or an object is faulty.
    """
    checks.one_of("target", target, TARGETS)
    about = read_yaml(directory)
    root = about["root"]
    folders = folders_of(about, split, allow_outside=allow_outside)
    paths = [path for folder in folders for path in files_below(folder)]
    faults, images, rows = Faults(on_error), [], []
    num_labels = 0
    for path in paths:
        lines, size = labels_of(path), image_size(str(path))
        num_labels += lines is not None
        objects, points = [], []
        for where, words in lines or ():
            with faults:
                found = _object(words, size, where, about)
                objects.append(found[:3])
                points.append(found[3])
        name = os.path.relpath(path.with_suffix(""), root).replace(os.sep, "/")
        images.append(drawn_objects.drawn(name, path, size, objects))
        rows.append(points)
    faults.warn(root)
    if not num_labels:
        raise ValueError(
            f"The images of {split!r} in {str(root)!r} must have labels, in a "
            "folder `labels` beside `images`, or beside the images. Received: "
            f"{number_of(len(paths), 'image')} without."
        )
    if target == "keypoints":
        return _people(about, images, rows, sigmas, max_people)
    return drawn_objects.data_set(
        images,
        about["names"],
        target,
        repr(str(root)),
        all_names=about["names"],
        orientation="apply",
    )


def read_yaml(directory):
    """Return the contents of `data.yaml`.

    Args:
        directory: As for `load`.

    Returns:
        A dict of `root` (the folder of the file), `names` (of classes),
        `keypoints` (their number, 0 for none), `dimensions` (2 or 3 numbers per
        keypoint), `keypoint_names`, `flip_pairs`, `path`, and the folders of
        `train`, `val` and `test`.

    Raises:
        ValueError: There is no such file, or it is not one of YOLO's.
    """
    path = Path(directory)
    if path.is_dir():
        path = path / "data.yaml"
    text = read_text(path)
    if len(text) > _LONGEST:
        raise ValueError(f"{str(path)!r} is too long for a list of classes.")
    try:
        about = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is not YAML: {error}.") from None
    if not isinstance(about, dict) or "names" not in about:
        raise ValueError(
            f"{str(path)!r} must have `names`, those of the classes. Received: "
            f"{short(about)}."
        )
    names = about["names"]
    if isinstance(names, dict):
        numbers = sorted(names, key=lambda n: (not isinstance(n, int), str(n)))
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise ValueError(
                f"{str(path)!r}: `names` must number the classes from 0. "
                f"Received: {short(numbers)}."
            )
        names = [names[number] for number in range(len(names))]
    names = checked_names(names, f"names of {path}")
    if about.get("nc", len(names)) != len(names):
        raise ValueError(
            f"{str(path)!r} must have a name for each of its `nc` classes. "
            f"Received: nc={about['nc']!r}, {number_of(len(names), 'name')}."
        )
    count, dimensions = _keypoint_shape(path, about)
    return {
        "root": path.parent,
        "path": about.get("path"),
        "names": names,
        "keypoints": count,
        "dimensions": dimensions,
        "keypoint_names": _keypoint_names(about, count),
        "flip_pairs": _flip_pairs(path, about, count),
        **{split: about.get(split) for split in SPLITS},
    }


def _keypoint_shape(path, about):
    shape = about.get("kpt_shape") or [0, 3]
    fine = (
        isinstance(shape, list)
        and len(shape) == 2
        and all(type(n) is int for n in shape)
        and 0 <= shape[0] < 1000
        and shape[1] in (2, 3)
    )
    if not fine:
        raise ValueError(
            f"{str(path)!r}: `kpt_shape` must be the number of keypoints, and "
            f"2 or 3. Received: {short(shape)}."
        )
    return shape


def _keypoint_names(about, count):
    """Return the names of keypoints; those of a number have none."""
    names = about.get("kpt_names")
    if isinstance(names, dict):  # By class; all of them have the same.
        names = next(iter(names.values()), None)
    if isinstance(names, list) and len(names) == count:
        return checked_names(names, "kpt_names")
    return tuple(f"keypoint_{i}" for i in range(count))


def _flip_pairs(path, about, count):
    """Return pairs of keypoints that change places in a mirror, or None."""
    index = about.get("flip_idx")
    if index is None:
        return None
    if sorted(map(str, index)) != sorted(map(str, range(count))):
        raise ValueError(
            f"{str(path)!r}: `flip_idx` must have each of the {count} "
            f"keypoints once. Received: {short(index)}."
        )
    return tuple((i, k) for i, k in enumerate(index) if i < k)


def folders_of(about, split, *, allow_outside=False):
    """Return the folders of images of a split.

    A path is relative to `path`, or else to the file itself; that of an export
    of Roboflow begins with one `../` too many.

    Args:
        about: As `read_yaml` returns it.
        split: "train", "val" or "test".
        allow_outside: As for `load`.

    Raises:
        ValueError: The split has no folder, or one that is missing or outside.
    """
    checks.one_of("split", split, SPLITS)
    given = about[split]
    if given is None:
        known = [name for name in SPLITS if about[name] is not None]
        raise ValueError(
            f"`split` must be one of {known}, for which data.yaml in "
            f"{str(about['root'])!r} has a folder. Received: {split!r}."
        )
    root = about["root"]
    found = []
    for place in given if isinstance(given, list) else [given]:
        place = str(place)
        tries = [
            root / str(about["path"] or "") / place,
            root / place,
            root / place.removeprefix("../"),
        ]
        folders = [path for path in tries if path.is_dir()]
        inside = [
            path
            for path in folders
            if allow_outside or path.resolve().is_relative_to(root.resolve())
        ]
        if not inside:
            there = ", which is outside: allow_outside=True" if folders else ""
            raise ValueError(
                f"`{split}` of data.yaml must be a folder of images in "
                f"{str(root)!r}. Received: {place!r}{there}."
            )
        found.append(inside[0])
    return found


def labels_of(path):
    """Return the lines of the labels of an image, or None without a file.

    Args:
        path: The image.

    Returns:
        A list of pairs: what errors call a line, and its words.
    """
    parts = list(path.parts)
    places = [path.with_suffix(".txt")]
    if "images" in parts[:-1]:
        last = len(parts) - 1 - parts[::-1].index("images")
        parts[last] = "labels"
        places.insert(0, Path(*parts).with_suffix(".txt"))
    for place in places:
        if place.is_file():
            return [
                (f"{str(place)!r}, line {number}", line.split())
                for number, line in read_lines(place)
            ]
    return None


def _object(words, size, where, about):
    """Return class, box, polygon and keypoints of a line."""
    count = about["keypoints"] * about["dimensions"]
    try:
        label, *numbers = map(float, words)
        values = np.array(numbers)
    except ValueError:
        values, label = np.array([np.nan]), np.nan
    is_class = label in range(len(about["names"]))
    if not is_class or not np.isfinite(values).all():
        raise ValueError(
            f"{where}: expected a class, 0 to {len(about['names']) - 1}, and "
            f"numbers. Received: {short(' '.join(words))}."
        )
    name, (height, width) = about["names"][int(label)], size
    if len(values) == 4 + count:
        center, sides = values[:2], values[2:4]
        corners = np.stack([center - sides / 2, center + sides / 2])
        points = values[4:].reshape(-1, about["dimensions"])
        if (sides <= 0).any():
            corners = corners[:1].repeat(2, axis=0)  # It has no area.
    elif not count and len(values) >= 6 and len(values) % 2 == 0:
        corners, points = values.reshape(-1, 2), None
    else:
        kinds = f"4 and {count} numbers" if count else "4, or 6 or more pairs"
        raise ValueError(
            f"{where}: expected a class and {kinds}. Received: "
            f"{len(values)} numbers."
        )
    found = drawn_objects.checked(
        name, corners * (width, height), size, where, is_box=points is not None
    )
    return *found, _in_pixels(points, size)


def _in_pixels(points, size):
    """Return `(K, 3)` x, y and visibility; unlabeled keypoints are zeros."""
    if points is None or not len(points):
        return None
    height, width = size
    labeled = (points[:, :2] != 0).any(axis=1)
    visible = points[:, 2] if points.shape[1] == 3 else 2.0 * labeled
    found = np.column_stack([points[:, :2] * (width, height), visible])
    found[(visible == 0) | ~labeled] = 0
    return found


def _people(about, images, rows, sigmas, max_people):
    """Return the people of images, by the reader of COCO's."""
    if not about["keypoints"]:
        raise ValueError(
            f"data.yaml in {str(about['root'])!r} must have `kpt_shape` for "
            "target='keypoints'. Received none."
        )
    if sigmas is not None and len(sigmas) != about["keypoints"]:
        raise ValueError(
            f"`sigmas` must be one per keypoint, {about['keypoints']}. "
            f"Received: {len(sigmas)}."
        )
    counts = [len(points) for points in rows]
    boxes = np.concatenate([image.boxes for image in images])
    labels = {name: i for i, name in enumerate(about["names"])}
    keypoints = [p for points in rows for p in points]
    file = CocoFile(
        path=str(about["root"]),
        image_ids=np.array([image.name for image in images]),
        file_names=tuple(str(image.path) for image in images),
        image_sizes=np.array([image.image_size for image in images]),
        category_ids=tuple(range(len(labels))),
        label_names=about["names"],
        starts=np.cumsum([0, *counts]),
        annotation_ids=np.arange(len(boxes)),
        boxes=boxes,
        labels=np.array(
            [labels[n] for image in images for n in image.names], "int32"
        ),
        ignored=np.zeros(len(boxes), bool),
        areas=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) * _COVERED,
        keypoints=np.array(keypoints, "float32").reshape(
            len(boxes), about["keypoints"], 3
        ),
        keypoint_names=about["keypoint_names"],
    )
    return people.of_file(
        file,
        dict(enumerate(image.path for image in images)),
        range(len(images)),
        max_people=max_people,
        sigmas=sigmas,
        flip_pairs=about["flip_pairs"],
        orientation="apply",
    )
