"""The tasks of the synthetic world: what an image shows, what is told of it."""

import numpy as np

from keras_jft.data.dataset import Info
from keras_jft.data.datasets.synthetic import (
    annotations,
    figures,
    naming,
    vocabulary,
)
from keras_jft.data.datasets.synthetic.world import World

# What the classes of a segmentation mask are, after the background.
MASKS = {
    "color": tuple(vocabulary.COLORS),
    "shape": tuple(vocabulary.SHAPES),
    "family": tuple(vocabulary.FAMILIES),
}

_CHUNK = 2_048  # Examples that are named together.


class ManyLabel(World):
    """Pre-training: objects with names, noisy names, closed upward."""

    DEFAULT_SIZES = {"train": 100_000, "test": 2_000}
    OPTIONS = ("wrong_labels", "missing_labels", "num_names", "long_tail")

    def __init__(
        self,
        view,
        wrong_labels=None,
        missing_labels=None,
        num_names=vocabulary.NUM_NAMED,
        long_tail=naming.ZIPF_EXPONENT,
    ):
        super().__init__(view)
        wrong, missing = naming.NOISE[view.split]
        self.wrong_labels = wrong if wrong_labels is None else wrong_labels
        self.missing_labels = (
            missing if missing_labels is None else missing_labels
        )
        self.num_names = num_names
        self.frequencies = naming.frequencies(num_names, long_tail)
        hierarchy = vocabulary.hierarchy()
        closed = max(len(hierarchy.close([leaf])) for leaf in hierarchy.leaves)
        self.info = Info(
            num_examples=view.num_examples,
            label_names=hierarchy.names,
            hierarchy=hierarchy,
            max_labels=closed * len(naming.COUNTS),
            class_counts=naming.expected_counts(
                view.num_examples,
                self.wrong_labels,
                self.missing_labels,
                self.frequencies,
            ),
        )

    def annotations(self, positions):
        """Labels and ids; nothing is rendered."""
        ids = self.ids(positions)
        chunks = [ids[i : i + _CHUNK] for i in range(0, len(ids), _CHUNK)]
        return [
            row
            for chunk in chunks
            for row in self._rows(chunk, self._names(self._keys(chunk))[1])
        ]

    def _examples(self, ids, keys):
        true, labels = self._names(keys)
        _, images, _ = self._look(keys, true)
        return {"images": images, **labels}

    def _names(self, keys):
        """Combinations and the column of labels of each image."""
        true = naming.combinations(
            keys,
            naming.names(self.num_names),
            naming.COUNTS,
            self.frequencies,
        )
        given = naming.given(
            keys,
            true,
            self.wrong_labels,
            self.missing_labels,
            self.num_names,
        )
        leaves = np.where(given < 0, -1, vocabulary.leaf_ids()[given])
        closed = self.info.hierarchy.close_batch(leaves)
        return true, {"labels": [row[row >= 0] for row in closed]}


class Classification(World):
    """One object of one of 20 combinations, as many of each."""

    DEFAULT_SIZES = {"train": 400, "test": 1_000}

    def __init__(self, view):
        super().__init__(view)
        classes = vocabulary.classes()
        every, rest = divmod(view.num_examples, len(classes))
        self.info = Info(
            num_examples=view.num_examples,
            label_names=tuple(vocabulary.name(c) for c in classes),
            class_counts=every + (np.arange(len(classes)) < rest),
        )

    def annotations(self, positions):
        """Labels and ids; nothing is rendered."""
        ids = self.ids(positions)
        return self._rows(ids, {"labels": self._classes(ids)})

    def _classes(self, ids):
        return (ids % len(vocabulary.classes())).astype("int32")

    def _examples(self, ids, keys):
        labels = self._classes(ids)
        _, images, _ = self._look(keys, vocabulary.classes()[labels][:, None])
        return {"images": images, "labels": labels}


class Segmentation(World):
    """A mask of what each pixel belongs to; 0 is background."""

    DEFAULT_SIZES = {"train": 200, "test": 400}
    OPTIONS = ("masks", "void_ring")
    COUNTS = (0.3, 0.4, 0.3)

    def __init__(self, view, masks="color", void_ring=False):
        super().__init__(view)
        self.masks = masks
        self.void_ring = void_ring
        self.info = Info(
            num_examples=view.num_examples,
            mask_names=("background", *MASKS[masks]),
        )

    def _examples(self, ids, keys):
        shown = naming.combinations(keys, vocabulary.unseen(), self.COUNTS)
        things, images, top = self._look(keys, shown)
        tags = annotations.tags(things, top)
        shape, _, color = vocabulary.parts(tags.clip(0))
        kinds = {
            "color": color,
            "shape": shape,
            "family": vocabulary.families()[shape],
        }
        masks = np.where(tags < 0, 0, 1 + kinds[self.masks]).astype("uint8")
        if self.void_ring:
            masks = annotations.void_rings(masks)
        return {"images": images, "segmentation_masks": masks[..., None]}


class Detection(World):
    """A box around what is visible of each object, labeled by its shape."""

    DEFAULT_SIZES = {"train": 400, "test": 400}
    COUNTS = (0.2, 0.3, 0.3, 0.2)

    def __init__(self, view):
        super().__init__(view)
        self.info = Info(
            num_examples=view.num_examples,
            label_names=tuple(vocabulary.SHAPES),
            max_boxes=len(self.COUNTS),
        )

    def _examples(self, ids, keys):
        shown = naming.combinations(keys, vocabulary.unseen(), self.COUNTS)
        things, images, top = self._look(keys, shown)
        slots = range(self.first, self.first + shown.shape[1])
        boxes = np.stack([annotations.boxes(top == s) for s in slots], axis=1)
        labels = vocabulary.parts(shown.clip(0))[0].astype("int32")
        seen = boxes[..., 2] > boxes[..., 0]
        boxes = [
            {"boxes": box[keep], "labels": label[keep]}
            for box, label, keep in zip(boxes, labels, seen, strict=True)
        ]
        return {"images": images, "bounding_boxes": boxes}


class Pose(World):
    """One figure, its box and its keypoints."""

    DEFAULT_SIZES = {"train": 400, "test": 400}

    def __init__(self, view):
        super().__init__(view)
        self.info = Info(
            num_examples=view.num_examples,
            label_names=("person",),
            max_boxes=1,
            keypoint_names=figures.KEYPOINTS,
        )

    def _examples(self, ids, keys):
        parts, x, y, own = figures.people(keys, self.extent)
        middle = x[:, 5:].mean(axis=1), y[:, 5:].mean(axis=1)
        disc = *middle, np.full(len(keys), 0.25)
        things, images, top = self._photograph(keys, parts, disc)
        flags = figures.visibility(things, x, y, own + self.first, self.extent)
        short = min(self.view.height, self.view.width)
        keypoints = np.stack([x * short, y * short, flags], axis=-1)
        keypoints *= (flags > 0)[..., None]
        boxes = annotations.boxes(annotations.tags(things, top) == 0)
        person = np.zeros(1, "int32")
        return {
            "images": images,
            "keypoints": keypoints.astype("float32"),
            "bounding_boxes": [
                {"boxes": box[None], "labels": person} for box in boxes
            ],
        }


TASKS = {
    "many_label": ManyLabel,
    "classification": Classification,
    "segmentation": Segmentation,
    "detection": Detection,
    "pose": Pose,
}
