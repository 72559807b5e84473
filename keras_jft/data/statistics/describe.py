"""`describe` reads a data set once or twice, in chunks, in constant memory."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_jft.data.dataset import Dataset, check_data
from keras_jft.data.failures import UNREADABLE, Failures
from keras_jft.data.label_names import checked_list
from keras_jft.data.label_sets import label_sets
from keras_jft.data.statistics.counts import (
    FEWEST_SHARED,
    BoxCounts,
    LabelCounts,
    LabelPairs,
    counted_labels,
    examine,
)
from keras_jft.data.statistics.description import Description
from keras_jft.data.statistics.page import captions, file_name, thumbnails
from keras_jft.data.statistics.prototypes import Members, bin_by_distance
from keras_jft.data.subsets import subset
from keras_jft.html_page import Gallery
from keras_jft.text import number_of

CHUNK = 8_192
_NONE = np.zeros(0, "int32")
_MOST_MEMBERS = 5_000  # Images per class that are clustered.
_FEWEST_MEMBERS = 20  # Images that a class needs to be chosen by default.
_NUM_SHOWN = 12  # Examples in the first gallery.


def describe(
    data: Dataset,
    *,
    images: int | str = 200,
    split: str | None = None,
    title: str = "What is in the data",
    embeddings: Any = None,
    classes: Sequence[str] | None = None,
    num_pairs: int = 15,
    pairs_among: int = 1_000,
    most_named: int = 20,
    seed: int = 0,
) -> Description:
    """Describe the contents of a data set, to be read before training on it.

    Labels are counted from `Dataset.annotations`, chunk by chunk, so memory
    grows with the number of classes, not of images; if reading annotations
    opens no files, 1M label rows take seconds. A label that is not a class
    counts only as out of range; a repeated label of an image counts once. If
    there are boxes but no labels, the labels of an image are the classes of its
    boxes that are not ignored.

    Args:
        data: A `Dataset`.
        images: How many images to open, for sizes, masks and unreadable files:
            a number, the first in the order of `subset`, or "all". 0 opens
            none.
        split: Name of the split, to be printed.
        title: Title of the page.
        embeddings: `(num_examples, D)` array or memory map, one row per example
            in the order of `data`, to sort the images of a class by their
            distance to its K-means centroids.
        classes: Names or ids of classes to sort; by default the three
            commonest of the most specific ones with 20 images or more.
        num_pairs: How many pairs of labels are listed.
        pairs_among: Pairs are counted among this many of the commonest classes,
            in a square table of 8 bytes per cell. With more classes than that,
            annotations are read twice.
        most_named: How many unreadable examples, and labels out of range, are
            listed.
        seed: Seed of the sample and of K-means.

    Returns:
        A `Description`, which can be printed, saved as a page (`save(path)`)
        or read (`to_dict()`, `table()`).

    Raises:
        ValueError: `images` is neither a number nor "all"; `embeddings` do not
            fit the data; or a class is unknown.

    Example:

    >>> data = jft.data.load("synthetic", num_examples=1_000)
    >>> found = describe(data, images=0, split="train")
    >>> found.to_dict()["hierarchy"]["depth"]
    5
    >>> found.table().head(2)[["name", "images"]].to_dict("records")
    [{'name': 'warm', 'images': 626}, {'name': 'angular', 'images': 609}]

    References:
        Sun et al. 2017, https://arxiv.org/abs/1707.02968, section 3, Figure 2.
    """
    check_data(data)
    began = time.perf_counter()
    num_images = _how_many(images, data)
    _check_embeddings(embeddings, data)
    if classes is not None and embeddings is None:
        raise ValueError(
            "`classes` need `embeddings`. Received: "
            f"classes={classes} without embeddings. Pass both."
        )
    info = data.info
    failures = Failures(most_named)
    counts, boxes, pairs, kind = _count(data, pairs_among, most_named, failures)
    names = info.label_names or tuple(map(str, range(len(counts.images))))
    chosen = []
    if embeddings is not None:
        chosen = _chosen(classes, names, counts)
    members = Members(chosen, _MOST_MEMBERS, seed)
    if kind is not None:
        pairs = _look_again(data, pairs, members, counts, pairs_among)
    prototypes = {
        label: bin_by_distance(embeddings, positions, seed=seed)
        for label, positions in members.positions.items()
    }
    sample = examine(data, num_images, seed=seed, most_named=most_named)
    caption = captions(names, info.hierarchy)
    return Description(
        title=title,
        split=split,
        num_examples=len(data),
        num_images=len(data if info.people is None else info.people),
        label_names=names,
        mask_names=info.mask_names,
        hierarchy=info.hierarchy,
        labels=counts if kind else None,
        labels_are=kind,
        boxes=boxes,
        pairs=(
            pairs.top(num_pairs),
            pairs.top(num_pairs, "lift", fewest=FEWEST_SHARED),
        )
        if kind
        else ([], []),
        paired=len(pairs.classes) if kind else 0,
        failures=failures,
        sample=sample,
        samples=_samples(data, min(num_images, _NUM_SHOWN), seed, caption),
        prototypes=prototypes,
        galleries={
            label: _galleries(data, bins) for label, bins in prototypes.items()
        },
        seconds=time.perf_counter() - began,
        seed=seed,
    )


def _how_many(images, data):
    whole = isinstance(images, (int, np.integer)) and images >= 0
    if images != "all" and not whole:
        raise ValueError(
            '`images` must be a number of images to open, or "all". Received: '
            f"{images!r}. 0 opens none."
        )
    return len(data) if images == "all" else int(images)


def _check_embeddings(embeddings, data):
    if embeddings is None:
        return
    if data.info.people is not None:
        raise ValueError(
            "`embeddings` sort the images of a class. Received a data set of "
            "one example per person. Leave them out."
        )
    if np.ndim(embeddings) != 2 or len(embeddings) != len(data):
        raise ValueError(
            f"`embeddings` must have shape ({len(data)}, D), one row per "
            f"example. Received: {np.shape(embeddings)}. Embed every example, "
            "in the order of the data set."
        )


def _count(data, pairs_among, most_named, failures):
    """Count labels, boxes and pairs; return also what the labels are.

    Each but the first is None if there is none of it. Pairs are counted in the
    same pass if there are few enough classes.
    """
    num_classes, hierarchy = len(data.info.label_names), data.info.hierarchy
    counts = LabelCounts(num_classes, most_named)
    boxes, kind = BoxCounts(num_classes), None
    pairs = None
    if 0 < num_classes <= pairs_among:
        pairs = LabelPairs(np.arange(num_classes))
    for chunk in _scan(data, failures):
        sets = label_sets(chunk.rows, num_classes, hierarchy)
        counts.add(chunk.ids, sets)
        boxes.add(chunk.entries)
        if pairs is not None:
            pairs.add(sets)
        if chunk.has_labels:
            kind = "labels"
        elif chunk.entries:
            kind = kind or "classes of boxes"
    return counts, boxes if boxes.per_image.total else None, pairs, kind


def _look_again(data, pairs, members, counts, pairs_among):
    """Return `LabelPairs` and fill `members`, reading again if needed."""
    commonest = np.argsort(-counts.specific_images, kind="stable")
    if pairs is None:
        wanted = LabelPairs(np.sort(commonest[:pairs_among]))
    elif members.positions:
        wanted = pairs
    else:
        return pairs
    num_classes, hierarchy = len(data.info.label_names), data.info.hierarchy
    for chunk in _scan(data):
        sets = label_sets(chunk.rows, num_classes, hierarchy)
        if pairs is None:
            wanted.add(sets)
        members.add(chunk.positions, np.asarray(chunk.ids), sets)
    return wanted


def _chosen(classes, names, counts):
    """Return the ids of the classes to sort by distance."""
    if classes is None:
        common = np.argsort(-counts.specific_images, kind="stable")[:3]
        enough = counts.specific_images[common] >= _FEWEST_MEMBERS
        return common[enough].tolist()
    return [
        _label_id(label, names) for label in checked_list(classes, "classes")
    ]


def _label_id(label, names):
    if label in names:
        return names.index(label)
    if isinstance(label, (int, np.integer)) and 0 <= label < len(names):
        return int(label)
    raise ValueError(
        "`classes` must be names or ids of "
        f"{number_of(len(names), 'class', 'classes')}. Received: {label!r}. "
        f"The names are: {', '.join(map(str, names[:5]))}, ..."
    )


def _samples(data, num_images, seed, caption):
    if not (num_images and len(data)):
        return None
    some = subset(data, min(num_images, len(data)), seed)
    return Gallery(
        "Some of them, at random", thumbnails(some, range(len(some)), caption)
    )


def _galleries(data, bins):
    """Return one `Gallery` per bin with images, captioned by file names."""
    return tuple(
        Gallery(
            f"Distance {found.low:.3g} to {found.high:.3g}: "
            f"{found.num_images:,} image{'s' * (found.num_images > 1)}",
            thumbnails(data, found.positions, file_name),
        )
        for found in bins
        if found.num_images
    )


class _Chunk(NamedTuple):
    """The annotations of n consecutive examples.

    Attributes:
        positions: `(n,)` int64.
        ids: List of n.
        examples: List of n annotations.
    """

    positions: np.ndarray
    ids: list
    examples: list

    @property
    def has_labels(self):
        """Whether any example has `labels`."""
        return any("labels" in example for example in self.examples)

    @property
    def entries(self):
        """`bounding_boxes` of the examples that have them."""
        return [
            example["bounding_boxes"]
            for example in self.examples
            if "bounding_boxes" in example
        ]

    @property
    def rows(self):
        """The labels of each example, or the classes of its boxes."""
        return list(map(_labels, self.examples))


def _labels(example):
    if "labels" in example:
        return example["labels"]
    if "bounding_boxes" in example:
        return np.unique(counted_labels(example["bounding_boxes"]))
    return _NONE


def _scan(data, failures=None):
    """Yield one `_Chunk` after the other; leave out unreadable examples.

    A data set of one example per person is read image by image, since several
    of its examples share the boxes of an image.

    Args:
        data: A `Dataset`.
        failures: `Failures` that count unreadable examples, or None.
    """
    if data.info.people is not None:
        people = list(data.info.people.items())
        for start in range(0, len(people), CHUNK):
            ids, entries = zip(*people[start : start + CHUNK], strict=True)
            examples = [{"bounding_boxes": entry} for entry in entries]
            yield _Chunk(start + np.arange(len(ids)), list(ids), examples)
        return
    for start in range(0, len(data), CHUNK):
        positions = np.arange(start, min(start + CHUNK, len(data)))
        try:
            examples = data.annotations(positions)
        except UNREADABLE:
            # Read one by one, to find the unreadable ones.
            found = [_one(data, p, failures) for p in positions]
            kept = [example is not None for example in found]
            positions = positions[kept]
            examples = [example for example in found if example is not None]
        if examples:
            ids = [example["ids"] for example in examples]
            yield _Chunk(positions, ids, examples)


def _one(data, position, failures):
    try:
        return data.annotations([position])[0]
    except UNREADABLE as error:
        if failures is not None:
            failures.add(np.asarray(data.ids([position])).tolist()[0], error)
        return None
