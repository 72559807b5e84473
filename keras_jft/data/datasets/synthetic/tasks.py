"""The tasks of the synthetic world: what an image shows and how it is labeled.

`TASKS` lists one class per task. Below them are the annotations of rendered
images (boxes, masks) and the names that pre-training gives to objects.

Shapes: N images, H W image height and width, S slots of objects per image, C
labels, L combinations that are named, n choices.
"""

import functools

import numpy as np

from keras_jft.data.batch import VOID
from keras_jft.data.dataset import Info
from keras_jft.data.datasets.synthetic import figures, scene, vocabulary
from keras_jft.data.datasets.synthetic.world import View, World
from keras_jft.typing import Example, Positions

# The classes of a segmentation mask after the background, by kind of mask.
MASKS = {
    "color": tuple(vocabulary.COLORS),
    "shape": tuple(vocabulary.SHAPES),
    "family": tuple(vocabulary.FAMILIES),
}

_CHUNK = 2_048  # Examples that are named together.
_COUNTS = (0.67, 0.25, 0.08)  # Of 1, 2 and 3 objects; 1.41 on average.
_ZIPF_EXPONENT = 0.8
# Rates of wrong and of missing names. As in JFT-300M, a fifth of the training
# labels are wrong, and there are 1.26 labels per image (1.41 less 10%).
_NOISE = {"train": (0.2, 0.1), "test": (0.0, 0.0)}
_CONFUSABLE = 0.7  # Share of wrong names that are a sibling's.


class ManyLabel(World):
    """Pre-training: objects with noisy names, closed upward."""

    DEFAULT_SIZES = {"train": 100_000, "test": 2_000}
    OPTIONS = ("wrong_labels", "missing_labels", "num_names", "long_tail")

    def __init__(
        self,
        view: View,
        wrong_labels: float | None = None,
        missing_labels: float | None = None,
        num_names: int | None = vocabulary.NUM_NAMED,
        long_tail: float | None = _ZIPF_EXPONENT,
    ):
        super().__init__(view)
        wrong, missing = _NOISE[view.split]
        self.wrong_labels = wrong if wrong_labels is None else wrong_labels
        self.missing_labels = (
            missing if missing_labels is None else missing_labels
        )
        self.num_names = num_names
        self.frequencies = _frequencies(num_names, long_tail)
        hierarchy = vocabulary.hierarchy()
        closed = max(len(hierarchy.close([leaf])) for leaf in hierarchy.leaves)
        self.info = Info(
            num_examples=view.num_examples,
            label_names=hierarchy.names,
            hierarchy=hierarchy,
            max_labels=closed * len(_COUNTS),
            class_counts=_expected_counts(
                view.num_examples,
                self.wrong_labels,
                self.missing_labels,
                self.frequencies,
            ),
        )

    def annotations(self, positions: Positions) -> list[Example]:
        """Return labels and ids without rendering."""
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
        """Return combinations and the column of labels of each image."""
        true = _combinations(
            keys,
            _names(self.num_names),
            _COUNTS,
            self.frequencies,
        )
        given = _given_names(
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
    """One object of one of 20 combinations, equally many of each."""

    DEFAULT_SIZES = {"train": 400, "test": 1_000}

    def __init__(self, view: View):
        super().__init__(view)
        classes = vocabulary.classes()
        every, rest = divmod(view.num_examples, len(classes))
        self.info = Info(
            num_examples=view.num_examples,
            label_names=tuple(vocabulary.name(c) for c in classes),
            class_counts=every + (np.arange(len(classes)) < rest),
        )

    def annotations(self, positions: Positions) -> list[Example]:
        """Return labels and ids without rendering."""
        ids = self.ids(positions)
        return self._rows(ids, {"labels": self._classes(ids)})

    def _classes(self, ids):
        return (ids % len(vocabulary.classes())).astype("int32")

    def _examples(self, ids, keys):
        labels = self._classes(ids)
        _, images, _ = self._look(keys, vocabulary.classes()[labels][:, None])
        return {"images": images, "labels": labels}


class Segmentation(World):
    """A mask of the class of each pixel; 0 is background."""

    DEFAULT_SIZES = {"train": 200, "test": 400}
    OPTIONS = ("masks", "void_ring")
    COUNTS = (0.3, 0.4, 0.3)

    def __init__(
        self, view: View, masks: str = "color", void_ring: bool = False
    ):
        super().__init__(view)
        self.masks = masks
        self.void_ring = void_ring
        self.info = Info(
            num_examples=view.num_examples,
            mask_names=("background", *MASKS[masks]),
        )

    def _examples(self, ids, keys):
        shown = _combinations(keys, vocabulary.unseen(), self.COUNTS)
        things, images, top = self._look(keys, shown)
        tags = _tags_of(things, top)
        shape, _, color = vocabulary.parts(tags.clip(0))
        kinds = {
            "color": color,
            "shape": shape,
            "family": vocabulary.families()[shape],
        }
        masks = np.where(tags < 0, 0, 1 + kinds[self.masks]).astype("uint8")
        if self.void_ring:
            masks = _void_rings(masks)
        return {"images": images, "segmentation_masks": masks[..., None]}


class Detection(World):
    """A box around the visible part of each object, labeled by its shape."""

    DEFAULT_SIZES = {"train": 400, "test": 400}
    COUNTS = (0.2, 0.3, 0.3, 0.2)

    def __init__(self, view: View):
        super().__init__(view)
        self.info = Info(
            num_examples=view.num_examples,
            label_names=tuple(vocabulary.SHAPES),
            max_boxes=len(self.COUNTS),
        )

    def _examples(self, ids, keys):
        shown = _combinations(keys, vocabulary.unseen(), self.COUNTS)
        things, images, top = self._look(keys, shown)
        slots = range(self.first, self.first + shown.shape[1])
        boxes = np.stack([_boxes_of(top == s) for s in slots], axis=1)
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

    def __init__(self, view: View):
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
        boxes = _boxes_of(_tags_of(things, top) == 0)
        person = np.zeros(1, "int32")
        return {
            "images": images,
            "keypoints": keypoints.astype("float32"),
            "bounding_boxes": [
                {"boxes": box[None], "labels": person} for box in boxes
            ],
        }


TASKS: dict[str, type[World]] = {
    "many_label": ManyLabel,
    "classification": Classification,
    "segmentation": Segmentation,
    "detection": Detection,
    "pose": Pose,
}


def _boxes_of(visible):
    """Return `(N, 4)` float32 boxes, xyxy in pixels, around what is visible.

    The box of an image where nothing is visible is empty: its sides are 0.

    Args:
        visible: `(N, H, W)` bool.
    """
    sides = []
    for axis in (1, 2):  # Over rows for x, over columns for y.
        line = visible.any(axis=axis)
        first = line.argmax(axis=1)
        last = line.shape[1] - line[:, ::-1].argmax(axis=1)
        sides.append((first, np.where(line.any(axis=1), last, first)))
    (x0, x1), (y0, y1) = sides
    return np.stack([x0, y0, x1, y1], axis=1).astype("float32")


def _tags_of(things, top):
    """Return the `(N, H, W)` tag of the thing on top of each pixel, or -1.

    Args:
        things: `scene.Things` of N images.
        top: `(N, H, W)` slot on top, -1 where none.
    """
    none = np.full((len(top), 1), -1)
    lookup = np.concatenate([things.tag, none], axis=1)
    flat = np.take_along_axis(lookup, top.reshape(len(top), -1), axis=1)
    return flat.reshape(top.shape)


def _void_rings(masks):
    """Return `masks` with a one-pixel ring of `VOID` around higher classes.

    A pixel is void if one of its four neighbors has a higher class: just
    outside of every object, and on one side of the border between objects.

    Args:
        masks: `(N, H, W)` uint8.

    Example:

    >>> _void_rings(np.array([[[0, 0, 0, 2, 2, 1, 1]]], "uint8"))
    array([[[  0,   0, 255,   2,   2, 255,   1]]], dtype=uint8)
    """
    around = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    neighbors = (
        around[:, :-2, 1:-1],
        around[:, 2:, 1:-1],
        around[:, 1:-1, :-2],
        around[:, 1:-1, 2:],
    )
    highest = np.maximum.reduce(neighbors)
    return np.where(highest > masks, np.uint8(VOID), masks)


def _combinations(keys, choices, counts, frequencies=None):
    """Draw the `(N, S)` combinations of the objects of each image, or -1.

    Args:
        keys: `(N,)` uint64, one per image.
        choices: `(n,)` combinations to draw from.
        counts: `(S,)` probabilities of 1..S objects.
        frequencies: `(n,)` probabilities of `choices`; by default equal.
    """
    slots = scene.slot_keys(keys, "what", len(counts))
    if frequencies is None:
        frequencies = np.full(len(choices), 1 / len(choices))
    number = _pick(np.cumsum(counts), scene.draw(keys, "number"))
    drawn = choices[_pick(np.cumsum(frequencies), scene.draw(slots, "what"))]
    return np.where(np.arange(len(counts)) <= number[:, None], drawn, -1)


def _names(number=vocabulary.NUM_NAMED):
    """Return `(L,)` combinations that pre-training names, commonest first.

    Args:
        number: L; if fewer than all, they are spread evenly over common and
            rare ones.
    """
    places = np.arange(number) * vocabulary.NUM_NAMED // number
    return vocabulary.named()[places]


def _frequencies(number=vocabulary.NUM_NAMED, long_tail=_ZIPF_EXPONENT):
    """Return `(L,)` shares of each of `_names(number)` among objects.

    Args:
        number: L.
        long_tail: Exponent of Zipf's law; with 0, all are equally common.
    """
    shares = np.arange(1, number + 1.0) ** -long_tail
    return shares / shares.sum()


def _given_names(keys, true, wrong, missing, number=vocabulary.NUM_NAMED):
    """Draw the `(N, S)` combinations that name the objects of each image.

    Args:
        keys: `(N,)` uint64, one per image.
        true: `(N, S)` of `_names(number)`; -1 is an empty slot.
        wrong: Probability that a name is replaced by another of them.
        missing: Probability that an object has no name.
        number: L.
    """
    known = _names(number)
    slots = scene.slot_keys(keys, "name", true.shape[1])
    ranks = np.zeros(vocabulary.NUM_COMBINATIONS, int)
    ranks[known] = np.arange(number)
    chances = np.cumsum(_confusion(wrong, number), axis=1)[ranks[true]]
    picked = (chances <= scene.draw(slots, "wrong")[..., None]).sum(axis=-1)
    named = (true >= 0) & (scene.draw(slots, "missing") >= missing)
    return np.where(named, known[picked.clip(max=number - 1)], -1)


@functools.lru_cache(maxsize=4)
def _confusion(wrong, number=vocabulary.NUM_NAMED):
    """Return `(L, L)` probabilities that row is given the name of column."""
    pairs = _names(number) // len(vocabulary.COLORS)
    others = 1 - np.eye(len(pairs))
    siblings = (pairs[:, None] == pairs) * others
    others /= others.sum(axis=1, keepdims=True)
    counts = siblings.sum(axis=1, keepdims=True)
    # If there are few names, some have no sibling; then all others are equal.
    siblings = np.where(counts > 0, siblings / counts.clip(min=1), others)
    mistakes = _CONFUSABLE * siblings + (1 - _CONFUSABLE) * others
    return (1 - wrong) * np.eye(len(pairs)) + wrong * mistakes


def _expected_counts(num_examples, wrong, missing, shares):
    """Return `(C,)` float64 expected numbers of images with each label.

    Args:
        num_examples: Number of images.
        wrong: Probability that a name is replaced by another.
        missing: Probability that an object has no name.
        shares: `(L,)` shares of `_names(L)` among objects.
    """
    hierarchy = vocabulary.hierarchy()
    leaves = vocabulary.leaf_ids()[_names(len(shares))]
    an_object = np.zeros(len(hierarchy))
    shares = shares @ _confusion(wrong, len(shares))
    for leaf, share in zip(leaves, shares, strict=True):
        an_object[hierarchy.close([leaf])] += share * (1 - missing)
    numbers = np.arange(1, len(_COUNTS) + 1)
    none = np.array(_COUNTS) @ (1 - an_object) ** numbers[:, None]
    return num_examples * (1 - none)


def _pick(cumulative, draws):
    """Pick positions with the probabilities that `cumulative` sums."""
    picked = np.searchsorted(cumulative, draws, side="right")
    return picked.clip(max=len(cumulative) - 1)
