"""People of COCO's keypoint files: one example per person.

An example is the whole image; its first box and its `keypoints` are those of
one person. `jft.data.transforms.CropPerson` crops the image to that person. Any
set of keypoints will do: names, skeleton and `sigmas` (optional) are those of
the category in the file.

Shapes: K keypoints.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask

from keras_jft import sides
from keras_jft.data.dataset import Dataset, Info
from keras_jft.data.datasets.coco import boxes as boxes_lib
from keras_jft.data.datasets.coco import files
from keras_jft.data.datasets.json_records import read_json, records_of
from keras_jft.data.images import AnnotatedImages
from keras_jft.data.suppression import suppress
from keras_jft.typing import PathLike


def load(
    split: str | None = "train",
    *,
    directory: PathLike | None = None,
    annotations: PathLike | None = None,
    ids: PathLike | Sequence[int | str] | None = None,
    exclude: PathLike | Sequence[int | str] | None = None,
    on_error: str = "raise",
    allow_outside: bool = False,
    detections: PathLike | Sequence[Mapping[str, Any]] | None = None,
    min_score: float = 0.0,
    iou_threshold: float = 0.6,
    max_people: int = 8,
    sigmas: Sequence[float] | None = None,
    flip_pairs: Sequence[tuple[Any, Any]] | None = None,
    orientation: str | None = None,
) -> Dataset:
    """Load people with keypoints, or detected people, image by image.

    Args:
        split: "train", "train2017" or another, one split.
        directory: As for "coco", whose files are
            `annotations/person_keypoints_train2017.json` and so on.
        annotations: As for "coco": an annotation file.
        ids: As for "coco": ids of the images to keep.
        exclude: As for "coco": ids of the images to leave out.
        on_error: "raise" for a faulty annotation, or "drop" it with a warning.
        allow_outside: As for "coco": whether images may lie elsewhere.
        detections: None: examples are the annotated people who are not a crowd
            and have a labeled keypoint. Otherwise detected boxes, one example
            each: a results file in COCO's detection format, or a list of its
            records `{"image_id", "category_id", "bbox", "score"}`; those of
            other categories are skipped. Their `keypoints` are not labeled.
        min_score: Detections with a lower score are skipped.
        iou_threshold: If two detections overlap more than this, the one with
            the lower score is left out.
        max_people: Most boxes per example: the person's and those of the
            nearest others, whose disks the auxiliary loss of `PoseEstimator`
            ignores.
        sigmas: K falloffs for the similarity of keypoints, if the file has
            none; by default those of COCO for joints of the same names.
        flip_pairs: Pairs of keypoints, by name or by position, that change
            places in a mirror; by default those whose names differ only in
            left and right. [] if none do.
        orientation: As for "coco".

    Returns:
        A `Dataset`. Ids are those of the annotations, or the numbers of the
        detections; `image_ids` are those of the images; `info.people` has all
        annotations, including ignored ones.

    Raises:
        ValueError: As `coco.files.read` does; the file has no keypoints;
            images are missing; detections are faulty; or nobody is left.
    """
    boxes_lib.check_chosen(split, annotations, ids, exclude)
    path, folder = boxes_lib.find(
        directory, split, annotations, "person_keypoints"
    )
    file = files.read(path, on_error=on_error)
    if file.keypoints is None:
        raise ValueError(
            f"{str(path)!r} must have a category with `keypoints`. Received: "
            f"{list(file.label_names)} without. Pass the file of keypoints."
        )
    if sigmas is not None and len(sigmas) != len(file.keypoint_names):
        raise ValueError(
            f"`sigmas` must be one per keypoint, {len(file.keypoint_names)}. "
            f"Received: {len(sigmas)}."
        )
    if max_people < 1:
        raise ValueError(
            f"`max_people` must be positive. Received: max_people={max_people}."
        )
    images = boxes_lib.selected(file.image_ids, ids, exclude)
    rows = _annotated(file, images)
    if detections is not None:
        rows = _detected(file, images, detections, min_score, iou_threshold)
    if not rows:
        raise ValueError(
            f"{str(path)!r} must have people, with labeled keypoints unless "
            "`detections` are given. Received: none."
        )
    wanted = list(dict.fromkeys(row.image for row in rows))
    paths = boxes_lib.image_paths(
        file, folder, wanted, allow_outside=allow_outside
    )
    paths = dict(zip(wanted, paths, strict=True))
    if flip_pairs is not None:
        sides.mirrored(file.keypoint_names, flip_pairs)
        flip_pairs = tuple(map(tuple, flip_pairs))
    return People(
        file,
        paths,
        rows,
        images,
        max_people,
        sigmas,
        flip_pairs,
        orientation=orientation,
    )


def of_file(file, paths, images, **options):
    """Return the annotated people of a file, which need not be COCO's.

    Args:
        file: A `CocoFile` with keypoints.
        paths: `{number: path}` of images.
        images: Numbers of the images that count.
        **options: The other arguments of `People`.

    Raises:
        ValueError: Nobody has a labeled keypoint.
    """
    rows = _annotated(file, images)
    if not rows:
        raise ValueError(
            f"{file.path!r} must have people with labeled keypoints. Received: "
            "none."
        )
    return People(file, paths, rows, images, **options)


@dataclasses.dataclass(frozen=True)
class _Row:
    """One person: number of the image, id, box, number of the annotation."""

    image: int
    name: int | str
    box: np.ndarray
    annotation: int | None


class People(Dataset):
    """One example per person.

    Args:
        file: A `CocoFile` with keypoints.
        paths: `{number: path}` of images.
        rows: One `_Row` per person.
        images: Numbers of the images that count.
        max_people: Most boxes of an example.
        sigmas: As for `load`.
        flip_pairs: As for `load`.
        orientation: As for `AnnotatedImages`.
    """

    def __init__(
        self,
        file,
        paths,
        rows,
        images,
        max_people,
        sigmas,
        flip_pairs,
        *,
        orientation,
    ):
        self._images = AnnotatedImages(orientation)
        self._file, self._paths, self._rows = file, paths, rows
        self._max_people = max_people
        self.info = Info(
            num_examples=len(rows),
            label_names=file.label_names,
            category_ids=file.category_ids,
            max_boxes=max_people,
            keypoint_names=file.keypoint_names,
            skeleton=file.skeleton,
            sigmas=tuple(file.sigmas or () if sigmas is None else sigmas),
            flip_pairs=flip_pairs,
            people={
                file.image_ids[image].item(): self._everyone(image)
                for image in images
            },
        )

    def ids(self, positions):
        """Return the ids of annotations, or the numbers of detections."""
        return np.array([self._rows[p].name for p in np.asarray(positions)])

    def __getitem__(self, position):
        position = self._position(position)
        row = self._rows[position]
        image = self._images.decode(
            self._paths[row.image],
            image_size=tuple(map(int, self._file.image_sizes[row.image])),
        )
        return {"images": image, **self._annotations(row)}

    def annotations(self, positions):
        """Return boxes, keypoints and ids without opening an image."""
        return [self._annotations(self._rows[p]) for p in positions]

    def _annotations(self, row):
        keypoints = np.zeros((len(self.info.keypoint_names), 3), "float32")
        if row.annotation is not None:
            keypoints = self._file.keypoints[row.annotation]
        return {
            "bounding_boxes": self._with_others(row, keypoints),
            "keypoints": keypoints,
            "ids": row.name,
            "image_ids": self._file.image_ids[row.image].item(),
        }

    def _everyone(self, image):
        """Return `bounding_boxes` of an image, with keypoints."""
        rows = self._file.annotations_of(image)
        return {
            **self._file.bounding_boxes(image),
            "keypoints": self._file.keypoints[rows],
        }

    def _with_others(self, row, keypoints):
        """Return the boxes, the person's first, then the nearest others'."""
        entry = self._everyone(row.image)
        area = np.prod(row.box[2:] - row.box[:2])
        first = {
            "boxes": row.box,
            "labels": np.int32(0),
            "ignored": False,
            "areas": np.float32(area),
            "keypoints": keypoints,
        }
        others = np.arange(len(entry["labels"]))
        if row.annotation is None:
            others = others[:0]
        else:
            start = self._file.annotations_of(row.image).start
            own = row.annotation - start
            first = {key: values[own] for key, values in entry.items()}
            others = others[others != own]
        centers = entry["boxes"].reshape(-1, 2, 2).mean(axis=1)
        middle = row.box.reshape(2, 2).mean(axis=0)
        distances = np.linalg.norm(centers[others] - middle, axis=1)
        nearest = others[np.argsort(distances, kind="stable")]
        nearest = nearest[: self._max_people - 1]
        return {
            key: np.concatenate([np.asarray(first[key])[None], values[nearest]])
            for key, values in entry.items()
        }


def _labeled(file, rows):
    """Return which annotations have a labeled keypoint."""
    return (file.keypoints[rows, :, 2] > 0).any(axis=1)


def _annotated(file, images):
    found = []
    for image in images:
        rows = file.annotations_of(image)
        kept = _labeled(file, rows) & ~file.ignored[rows]
        for row in rows.start + np.flatnonzero(kept):
            name = file.annotation_ids[row].item()
            found.append(_Row(image, name, file.boxes[row], int(row)))
    return found


# === Detections ===


def _detected(file, images, detections, min_score, iou_threshold):
    """Return detected people, those of each image by falling score."""
    path, records = "detections", detections
    if not isinstance(detections, list):
        path, records = detections, read_json(detections)
    person = {
        file.category_ids[label] for label in np.unique(file.labels)
    } or set(file.category_ids)
    places = {name: i for i, name in enumerate(file.image_ids.tolist())}
    by_image = {int(image): [] for image in images}
    for number, record in enumerate(records_of(path, records, None, "result")):
        if record.integer("category_id") not in person:
            continue
        name, score = record.name("image_id"), record.number("score")
        if name not in places:
            record.fail("image_id", f"the id of one of {len(places)} images")
        box = _box(record, file.image_sizes[places[name]])
        if score >= min_score and places[name] in by_image:
            by_image[places[name]].append((number, box, score))
    found = []
    for image, boxes in by_image.items():
        for number, box in _suppressed(boxes, iou_threshold):
            found.append(_Row(image, number, box, None))
    return found


def _box(record, image_size):
    """Return x1, y1, x2, y2, clipped to the image."""
    x, y, width, height = record.numbers("bbox", 4, "x, y, width and height")
    limits = np.tile(np.asarray(image_size)[::-1], 2)
    box = np.clip([x, y, x + width, y + height], 0, limits)
    if min(width, height) <= 0 or (box[:2] >= box[2:]).any():
        wide, high = limits[:2]
        record.fail("bbox", f"a box, not empty, in {wide} x {high} pixels")
    return box.astype("float32")


def _suppressed(boxes, iou_threshold):
    """Return number and box of the detections of an image that are kept."""
    if not boxes:
        return []
    corners = np.stack([box for _, box, _ in boxes]).astype("float64")
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    overlaps = mask.iou(sides, sides, [False] * len(sides))
    scores = np.array([score for _, _, score in boxes])
    kept = suppress(overlaps, scores, iou_threshold)
    return [boxes[i][:2] for i in kept]
