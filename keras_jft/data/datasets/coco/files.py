"""COCO's annotation files, instances and person keypoints, checked strictly.

Evaluators silently score malformed files: a NaN box as a hit, an annotation of
id 0 as missing. So everything is checked when it is read; an error names the
file, the record and the field. Some deviations from the format are accepted:

- ids that are strings, and the id 0;
- a missing or null `area` (replaced by that of the box), `iscrowd` (0) or
  `num_keypoints` (counted);
- boxes that reach up to one pixel out of the image (clipped);
- images without annotations;
- the root category 0 that Roboflow adds, which is not a class and is left out.

Shapes: N images, A annotations, K keypoints.

References:
    Lin et al. 2014, "Microsoft COCO", https://arxiv.org/abs/1405.0312;
    https://cocodataset.org/#format-data.
"""

import dataclasses

import numpy as np

from keras_jft.data.datasets.boxed_images import Faults, clipped, fault_of
from keras_jft.data.datasets.json_records import read_json, records_of
from keras_jft.data.label_names import check_forms
from keras_jft.text import number_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class CocoFile:
    """The contents of an annotation file, annotations sorted by image.

    Attributes:
        path: The file.
        image_ids: `(N,)` int64 or text, in the order of the file.
        file_names: One path per image, relative to the folder of images.
        image_sizes: `(N, 2)` heights and widths.
        category_ids: Ids of the categories, ascending: class c is the c-th of
            them, even if they have gaps.
        label_names: Their names.
        starts: `(N + 1,)`; image i has the annotations
            `starts[i]:starts[i + 1]`, in the order of the file.
        annotation_ids: `(A,)` int64 or text.
        boxes: `(A, 4)` float32 x1, y1, x2, y2 in pixels.
        labels: `(A,)` int32 classes.
        ignored: `(A,)` bool, crowds.
        areas: `(A,)` float32, of the segments, in square pixels.
        keypoints: `(A, K, 3)` float32 x, y in pixels and visibility 0, 1, 2;
            None if no category has keypoints.
        keypoint_names: K names.
        skeleton: Pairs of keypoints that a bone joins, counted from 0.
        sigmas: K falloffs for the similarity of keypoints, if the category
            has `sigmas`; else None.
    """

    path: str
    image_ids: np.ndarray
    file_names: tuple[str, ...]
    image_sizes: np.ndarray
    category_ids: tuple[int, ...]
    label_names: tuple[str, ...]
    starts: np.ndarray
    annotation_ids: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray
    areas: np.ndarray
    keypoints: np.ndarray | None
    keypoint_names: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] | None = None

    def annotations_of(self, image):
        """Return the slice of the annotations of image number `image`."""
        return slice(int(self.starts[image]), int(self.starts[image + 1]))

    def bounding_boxes(self, image):
        """Return the `bounding_boxes` entry of image number `image`."""
        rows = self.annotations_of(image)
        return {
            "boxes": self.boxes[rows],
            "labels": self.labels[rows],
            "ignored": self.ignored[rows],
            "areas": self.areas[rows],
        }


def read(path, *, on_error="raise", annotated=True):
    """Read and check an annotation file.

    Args:
        path: JSON with `images`, `categories` and `annotations`.
        on_error: "raise" for the first faulty annotation, or "drop": faulty
            annotations are left out with one warning. (COCO's own files have a
            few boxes without height.) A fault in an image, in a category or in
            the file as a whole is always raised.
        annotated: Whether `annotations` is required; test sets lack it.

    Returns:
        A `CocoFile`.

    Raises:
        ValueError: Something is missing, of the wrong type, not finite,
            repeated, or refers to an unknown id; or a box is inverted, empty
            or outside of its image. The error names file, record and field.
    """
    faults = Faults(on_error)
    root = read_json(path)
    images = _images(records_of(path, root, "images", "image"))
    categories = records_of(path, root, "categories", "category")
    if not annotated and root.get("annotations") is None:
        root["annotations"] = []
    annotations = records_of(path, root, "annotations", "annotation")
    categories = _without_root(categories, annotations)
    classes = _categories(categories)
    keypoints = _keypoints(categories)
    reader = _Reader(
        images,
        classes,
        len(keypoints.get("keypoint_names", ())),
        {c.fields["id"] for c in categories if "keypoints" in c},
    )
    for record in annotations:
        with faults:
            reader.add(record)
    faults.warn(path)
    return CocoFile(
        path=str(path),
        image_ids=np.array(list(images)),
        file_names=tuple(name for name, _ in images.values()),
        image_sizes=np.array([size for _, size in images.values()]),
        category_ids=tuple(classes),
        label_names=tuple(classes.values()),
        **reader.columns(),
        **keypoints,
    )


# === Images and categories ===


def _images(records):
    """Return `{id: (file name, (height, width))}`, in the file's order."""
    images, owners = {}, {}
    for record in records:
        size = tuple(
            record.integer(side, 1, f"Write the {side} of its file in pixels.")
            for side in ("height", "width")
        )
        file_name = record.text("file_name")
        _add(images, record, (file_name, size))
        owner = owners.setdefault(file_name, record.fields["id"])
        if owner != record.fields["id"]:
            # An object labeled in one would be background in the other.
            record.fail("file_name", f"another file than image id {owner!r}")
    _check_one_type(images, records)
    return images


def _without_root(categories, annotations):
    """Return the categories without the root that Roboflow adds.

    The root has id 0 and the name of the project, which may also be that of a
    class, and nothing is labeled with it.
    """
    roots = [c.fields for c in categories if c.fields.get("id") == 0]
    others = [c for c in categories if c.fields.get("id") != 0]
    is_root = (
        len(roots) == 1
        and len(others) > 0
        and roots[0].get("supercategory") == "none"
        and all(
            c.fields.get("supercategory") == roots[0].get("name")
            for c in others
        )
        and all(a.fields.get("category_id") != 0 for a in annotations)
    )
    return others if is_root else categories


def _categories(records):
    """Return `{id: name}`, in the order of the ids."""
    categories, names = {}, set()
    for record in records:
        record.integer("id")
        name = record.text("name")
        _add(categories, record, name)
        if name in names:
            record.fail("name", "a name that no other category has")
        names.add(name)
    if records:
        check_forms(names, f"{str(records[0].path)!r}, categories")
    return dict(sorted(categories.items()))


def _add(table, record, value):
    name = record.name("id")
    if name in table:
        record.fail("id", f"an id that no other {record.kind} has")
    table[name] = value


def _check_one_type(table, records):
    kinds = {isinstance(name, str) for name in table}
    if len(kinds) > 1:
        first = isinstance(next(iter(table)), str)
        odd = next(
            r for r in records if isinstance(r.fields["id"], str) != first
        )
        odd.fail("id", "an id of the type of the others")


def _keypoints(records):
    """Return names, skeleton and sigmas of the categories with keypoints."""
    found = {}
    for record in records:
        if "keypoints" not in record:
            continue
        names = record.fields["keypoints"]
        texts = isinstance(names, list) and all(
            isinstance(name, str) and name for name in names
        )
        if not texts or not names or len(set(names)) < len(names):
            record.fail("keypoints", "a list of different names")
        layout = {
            "keypoint_names": tuple(names),
            "skeleton": _skeleton(record, len(names)),
        }
        if "sigmas" in record:
            sigmas = record.numbers("sigmas", len(names), "one per keypoint")
            layout["sigmas"] = tuple(map(float, sigmas))
        if found and found != layout:
            record.fail("keypoints", "the keypoints of the other categories")
        found = layout
    return found


def _skeleton(record, count):
    """Return the bones as positions from 0; the file counts from 1."""
    bones = record.fields.get("skeleton") or []
    right = isinstance(bones, list) and all(
        isinstance(bone, list)
        and len(bone) == 2
        and all(type(end) is int and 1 <= end <= count for end in bone)
        for bone in bones
    )
    if not right:
        record.fail("skeleton", f"pairs of numbers in 1..{count}")
    return tuple((a - 1, b - 1) for a, b in bones)


# === Annotations ===


class _Reader:
    """Checks annotations one by one and collects their values.

    Args:
        images: `{id: (file name, size)}`.
        categories: `{id: name}`.
        num_keypoints: K, 0 if there are none.
        keyed: Ids of the categories with keypoints.
    """

    def __init__(self, images, categories, num_keypoints, keyed):
        self._places = {name: place for place, name in enumerate(images)}
        self._sizes = [size for _, size in images.values()]
        self._labels = {name: label for label, name in enumerate(categories)}
        self._num_keypoints, self._keyed = num_keypoints, keyed
        self._ids, self._rows, self._kept_keypoints = {}, [], []

    def add(self, record):
        """Add an annotation, or raise an error that says what is wrong."""
        name = record.name("id")
        if name in self._ids:
            record.fail("id", "an id that no other annotation has")
        place = self._find(record, "image_id", self._places, "image")
        label = self._find(record, "category_id", self._labels, "category")
        box = _box(record, self._sizes[place])
        side = box[2] - box[0], box[3] - box[1]
        area = side[0] * side[1]
        if "area" in record:
            area = record.number("area", lowest=0)
        row = place, label, record.flag("iscrowd"), area, *box
        if self._num_keypoints:
            self._kept_keypoints.append(self._keypoints_of(record))
        self._ids[name] = len(self._rows)
        self._rows.append(row)

    def columns(self):
        """Return all annotations, sorted by image, as fields of `CocoFile`."""
        rows = np.array(self._rows, "float64").reshape(-1, 8)
        order = np.argsort(rows[:, 0], kind="stable")
        rows = rows[order]
        counts = np.bincount(
            rows[:, 0].astype("int64"), minlength=len(self._places)
        )
        keypoints = None
        if self._num_keypoints:
            keypoints = np.array(self._kept_keypoints, "float32")
            keypoints = keypoints.reshape(-1, self._num_keypoints, 3)[order]
        ids = np.array(list(self._ids), None if self._ids else "int64")
        return {
            "starts": np.concatenate([[0], np.cumsum(counts)]),
            "annotation_ids": ids[order],
            "labels": rows[:, 1].astype("int32"),
            "ignored": rows[:, 2].astype("bool"),
            "areas": rows[:, 3].astype("float32"),
            "boxes": rows[:, 4:].astype("float32"),
            "keypoints": keypoints,
        }

    def _find(self, record, field, table, kind):
        name = record.name(field)
        if name not in table:
            record.fail(
                field, f"the id of one of the {len(table)} {kind} records"
            )
        return table[name]

    def _keypoints_of(self, record):
        """Return the 3K numbers of a record's keypoints, checked."""
        count = self._num_keypoints
        if "keypoints" not in record and (
            record.fields["category_id"] not in self._keyed
        ):
            return [0] * (3 * count)  # An object without keypoints: a ball.
        what = f"x, y and visibility of {number_of(count, 'keypoint')}"
        values = record.numbers("keypoints", 3 * count, what)
        if not set(values[2::3]) <= {0, 1, 2}:
            record.fail("keypoints", "visibilities 0, 1 or 2")
        labeled = sum(flag > 0 for flag in values[2::3])
        if "num_keypoints" in record:
            stated = record.integer("num_keypoints")
            if stated != labeled:
                record.fail("num_keypoints", f"{labeled}, as in `keypoints`")
        return values


def _box(record, image_size):
    """Return x1, y1, x2, y2 inside the image."""
    x, y, width, height = record.numbers(
        "bbox", 4, "x, y, width and height of a box"
    )
    box = x, y, x + width, y + height
    fault = fault_of(box, image_size)
    if fault:
        record.fail("bbox", fault)
    return clipped(box, image_size)
