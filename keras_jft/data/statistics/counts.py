"""Counts of labels, boxes, label pairs and images, in bounded memory.

`LabelCounts`, `BoxCounts` and `LabelPairs` count annotations chunk by chunk.
`examine` reads a sample of images into an `ImageSample`. `compare` puts the
results beside the numbers in the paper for JFT-300M. All of them use the
`Histogram` and the functions at the end.

Shapes: C classes, K classes whose pairs are counted, n images of a chunk.
"""

import concurrent.futures
import os
from collections import Counter
from typing import NamedTuple

import numpy as np
import scipy.sparse

from keras_jft.data.batch import PADDING, VOID
from keras_jft.data.failures import UNREADABLE, Failures
from keras_jft.data.subsets import subset

_ROUND = 256  # Images whose summaries are in memory at once.
_GROUP = 8  # Images that one thread reads together.
_MOST_SIZES = 10_000
JFT300M = {
    "images": "300M",
    "labels": "375M",
    "labels_per_image": "1.26",
    "classes": "18,291",
    "depth": "12",
    "fan_out": "2,876",
    "groups": "vehicle 5,720, animal 1,165 (those that are named)",
    "classes_below_100": "more than 3K",
    "classes_below_20": "approximately 2K",
    "largest_class": "more than 2M (flowers, among those named)",
    "noise": "approximately 20% of the labels are wrong; recall unknown",
}
_NAMES = {
    "images": "images",
    "labels": "labels",
    "labels_per_image": "labels per image",
    "classes": "classes",
    "depth": "depth of the hierarchy",
    "fan_out": "most children of a label",
    "groups": "labels below the largest groups",
    "classes_below_100": "classes below 100 images",
    "classes_below_20": "classes below 20 images",
    "largest_class": "images of the largest class",
    "noise": "noise",
}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FEWEST_SHARED = 20  # With fewer shared images, a high lift means little.


class LabelCounts:
    """Numbers of images, of labels per image and of images per class.

    Args:
        num_classes: C; if 0, it is not known and grows with the labels.
        most_named: How many labels out of range are recorded.

    Attributes:
        given: `Histogram` of distinct labels per image.
        specific: `Histogram` of labels per image without a more specific one.
        closed: How many labels there would be if all sets were closed upward.
        images: `(C,)` int64, images of each class.
        specific_images: `(C,)` int64, the same without images that also have
            a label below the class.
        repeated: Repeats of a label in an image; the label counts once.
        out_of_range: Labels that are not a class; counted nowhere else.
        strays: Pairs of image id and label of the first labels out of range.
    """

    def __init__(self, num_classes=0, most_named=20):
        self.given, self.specific = Histogram(), Histogram()
        self.closed = self.repeated = self.out_of_range = 0
        self.images = np.zeros(num_classes, "int64")
        self.specific_images = self.images
        self.strays, self._most_named = [], most_named

    def add(self, ids, sets):
        """Count a chunk.

        Args:
            ids: The n ids of its images.
            sets: Their `LabelSets`.
        """
        self.given.add(sets.per_image())
        self.specific.add(sets.per_image(sets.is_specific))
        self.closed += sets.num_closed
        self.repeated += sets.repeated
        self.out_of_range += len(sets.strays)
        room = self._most_named - len(self.strays)
        for owner, label in sets.strays[:room].tolist():
            self.strays.append((ids[owner], label))
        size = len(self.images)
        specific = sets.labels[sets.is_specific]
        self.images = _added(
            self.images, np.bincount(sets.labels, minlength=size)
        )
        size = len(self.images)
        self.specific_images = _added(
            self.specific_images, np.bincount(specific, minlength=size)
        )

    @property
    def without_labels(self):
        """How many images have no label."""
        return int(self.given.counts[:1].sum())

    def below(self, num_images):
        """Return how many classes have fewer than `num_images`; None: all."""
        if num_images is None:
            return len(self.images)
        return int((self.images < num_images).sum())


class BoxCounts:
    """Numbers of boxes per image and of boxes per class.

    Boxes to be ignored (crowd, difficult) are counted separately.

    Args:
        num_classes: C; if 0, it is not known and grows with the labels.

    Attributes:
        per_image: `Histogram` of boxes per image.
        boxes: `(C,)` int64, boxes of each class.
        ignored: Boxes to be ignored.
    """

    def __init__(self, num_classes=0):
        self.per_image = Histogram()
        self.boxes = np.zeros(num_classes, "int64")
        self.ignored = 0

    def add(self, entries):
        """Count the `bounding_boxes` of some images."""
        rows = [counted_labels(entry) for entry in entries]
        labels = np.concatenate([np.zeros(0, "int64"), *rows])
        self.per_image.add([len(row) for row in rows])
        size = len(self.boxes)
        inside = labels[(labels >= 0) & (labels < (size or np.inf))]
        self.boxes = _added(self.boxes, np.bincount(inside, minlength=size))
        self.ignored += sum(
            int(np.sum(entry["ignored"][entry["labels"] != PADDING]))
            for entry in entries
            if "ignored" in entry
        )


def counted_labels(entry):
    """Return the labels of the boxes that are neither padding nor ignored.

    Args:
        entry: `bounding_boxes` of one image.
    """
    labels = np.asarray(entry["labels"])
    counted = labels != PADDING
    if "ignored" in entry:
        counted &= ~np.asarray(entry["ignored"], bool)
    return labels[counted]


class Pair(NamedTuple):
    """Two labels that occur on the same images.

    Attributes:
        first: Label id.
        second: Label id, the larger one.
        images: Number of images with both.
        lift: `images` over its expected value for independent labels.
    """

    first: int
    second: int
    images: int
    lift: float


class LabelPairs:
    """A K x K table of how many images each two of K classes share.

    Only the most specific labels of an image are paired: that a corgi is also a
    dog is known from the hierarchy, not from the data.

    Args:
        classes: `(K,)` sorted label ids; other labels are left out.
    """

    def __init__(self, classes):
        self.classes = np.asarray(classes, "int64")
        self.num_images = 0
        self._shared = np.zeros((len(self.classes),) * 2, "int64")

    def add(self, sets):
        """Count a chunk of `LabelSets`."""
        self.num_images += sets.num_images
        labels = sets.labels[sets.is_specific]
        places = np.searchsorted(self.classes, labels)
        places[places == len(self.classes)] = 0
        chosen = np.isin(labels, self.classes)
        cells = (sets.owners[sets.is_specific][chosen], places[chosen])
        present = scipy.sparse.csr_array(
            (np.ones(len(cells[0]), "int32"), cells),
            shape=(sets.num_images, len(self.classes)),
        )
        together = (present.T @ present).tocoo()
        self._shared[together.coords] += together.data

    def top(self, num_pairs, by="images", fewest=1):
        """Return the pairs that stand out, most first.

        Args:
            num_pairs: How many.
            by: "images", or "lift".
            fewest: Images that a pair must share.

        Returns:
            A list of `Pair`.
        """
        first, second = np.nonzero(np.triu(self._shared >= max(1, fewest), 1))
        images = self._shared[first, second]
        alone = self._shared.diagonal()
        # Float64 before the product: 300M squared would overflow.
        expected = alone[first].astype("float64") * alone[second]
        lift = images * self.num_images / expected
        worth = {"images": images, "lift": lift}[by]
        order = np.lexsort((second, first, -worth))[:num_pairs]
        return [
            Pair(
                int(self.classes[first[i]]),
                int(self.classes[second[i]]),
                int(images[i]),
                float(lift[i]),
            )
            for i in order
        ]


class ImageSample:
    """Statistics of the images that were read.

    Args:
        most_named: How many unreadable images are recorded.

    Attributes:
        read: Images that could be read.
        heights: `Histogram`, pixels.
        widths: `Histogram`, pixels.
        sizes: `Counter` of (height, width), of the first 10,000 sizes.
        gray: Images with three equal channels.
        failures: `Failures`.
        mask_pixels: `(256,)` int64, pixels of each mask value.
        mask_images: `(256,)` int64, images with each mask value.
    """

    def __init__(self, most_named=20):
        self.read = self.gray = 0
        self.heights, self.widths = Histogram(), Histogram()
        self.sizes, self.failures = Counter(), Failures(most_named)
        self.mask_pixels = np.zeros(VOID + 1, "int64")
        self.mask_images = np.zeros(VOID + 1, "int64")

    @property
    def examined(self):
        """Number of images that were tried, readable or not."""
        return self.read + len(self.failures)

    @property
    def has_masks(self):
        """Whether any image has a mask."""
        return bool(self.mask_pixels.any())

    def add(self, summaries):
        """Count the results of `_summary` for some images."""
        if not summaries:
            return
        sizes, grays, masks = zip(*summaries, strict=True)
        heights, widths = np.array(sizes).T
        self.read += len(sizes)
        self.gray += sum(grays)
        self.heights.add(heights)
        self.widths.add(widths)
        for size in sizes:
            if size in self.sizes or len(self.sizes) < _MOST_SIZES:
                self.sizes[size] += 1
        for counts in masks:
            if counts is not None:
                self.mask_pixels += counts
                self.mask_images += counts > 0


def examine(data, num_images, *, seed=0, most_named=20):
    """Read images and return their `ImageSample`.

    Args:
        data: A `Dataset`.
        num_images: How many images, the first in the order of `subset`. With
            as many as there are, all are read in their own order.
        seed: Seed of that order.
        most_named: How many unreadable images are recorded.
    """
    sample = ImageSample(most_named)
    num_images = min(num_images, len(data))
    if not num_images:
        return sample
    if num_images < len(data):
        data = subset(data, num_images, seed)
    workers = min(8, os.cpu_count())
    with concurrent.futures.ThreadPoolExecutor(workers) as executor:
        for start in range(0, num_images, _ROUND):
            stop = min(start + _ROUND, num_images)
            groups = [
                range(first, min(first + _GROUP, stop))
                for first in range(start, stop, _GROUP)
            ]
            parts = executor.map(lambda group: _read(data, group), groups)
            for summaries, failed in parts:
                sample.add(summaries)
                for position, error in failed:
                    name = np.asarray(data.ids([position])).tolist()[0]
                    sample.failures.add(name, error)
    return sample


def _read(data, positions):
    """Return summaries of readable images, and (position, error) of others."""
    try:
        return [_summary(example) for example in data.take(positions)], []
    except UNREADABLE:
        summaries, failed = [], []
    for position in positions:
        try:
            summaries.append(_summary(data.take([position])[0]))
        except UNREADABLE as error:
            failed.append((position, error))
    return summaries, failed


def _summary(example):
    """Return size, whether it is gray, and pixels of each mask value."""
    image = np.asarray(example["images"])
    gray = (image[..., :1] == image[..., 1:]).all()
    mask = example.get("segmentation_masks")
    if mask is not None:
        mask = np.bincount(np.ravel(mask), minlength=VOID + 1)
    return image.shape[:2], bool(gray), mask


def compare(found):
    """Return rows of a quantity, its value here, and that of JFT-300M.

    Labels are the most specific ones of each image, since those of JFT-300M
    were counted before the hierarchy added the rest.

    Args:
        found: The result of `Description.to_dict`.

    Returns:
        A list of rows of three strings.
    """
    labels, hierarchy = found["labels"], found["hierarchy"]
    here = dict.fromkeys(JFT300M, "no labels" if labels is None else "")
    here["images"] = f"{found['num_images']:,}"
    here["depth"] = here["fan_out"] = here["groups"] = "no hierarchy"
    here["noise"] = "not known from the labels alone"
    if hierarchy is not None:
        here["depth"] = f"{hierarchy['depth']:,}"
        here["fan_out"] = f"{hierarchy['fan_out']:,}"
        here["groups"] = ", ".join(
            f"{name} {below:,}" for name, below in hierarchy["groups"][:2]
        )
    if labels is not None:
        classes = found["classes"]
        specific = labels["specific"]
        here["labels"] = f"{specific['total']:,}"
        here["labels_per_image"] = number(specific["mean"])
        here["classes"] = f"{classes['total']:,}"
        for most in (20, 100):
            key = f"below_{most}"
            here[f"classes_{key}"] = share(classes[key], classes["total"])
        here["largest_class"] = f"{classes['largest']:,}"
    return [[_NAMES[key], here[key], JFT300M[key]] for key in JFT300M]


def number(value):
    """Format a number as people write it; a dash for None."""
    if value is None:
        return "-"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def share(part, whole):
    """Format a count and its percentage."""
    return f"{part:,} ({part / whole:.0%})" if whole else f"{part:,}"


class Histogram:
    """Counts of whole numbers of 0 or more.

    Attributes:
        counts: `(largest + 1,)` int64, how often each number was seen.

    Example:

    >>> seen = Histogram()
    >>> seen.add(np.array([1, 1, 4]))
    >>> seen.counts, seen.mean, seen.quantile(0.5)
    (array([0, 2, 0, 0, 1]), 2.0, 1)
    """

    def __init__(self):
        self.counts = np.zeros(0, "int64")

    def add(self, numbers):
        """Count `numbers`, integers of any shape."""
        self.counts = _added(
            self.counts, np.bincount(np.ravel(numbers).astype("int64"))
        )

    @property
    def total(self):
        """How many numbers were seen."""
        return int(self.counts.sum())

    @property
    def sum(self):
        """The sum of all numbers."""
        return int(self.counts @ np.arange(len(self.counts)))

    @property
    def mean(self):
        """Their mean; None if there are none."""
        return self.sum / self.total if self.total else None

    @property
    def largest(self):
        """The largest number; None if there are none."""
        return len(self.counts) - 1 if self.total else None

    def quantile(self, q):
        """Return the smallest number that a fraction `q` do not exceed."""
        if not self.total:
            return None
        reached = np.cumsum(self.counts) >= q * self.total
        return int(np.flatnonzero(reached & (self.counts > 0))[0])

    def to_dict(self):
        """Return `{"mean", "5%", ..., "largest", "counts"}`."""
        return {
            "mean": self.mean,
            **{f"{q:.0%}": self.quantile(q) for q in QUANTILES},
            "largest": self.largest,
            "counts": self.counts.tolist(),
        }


def _added(total, more):
    """Return the sum of two arrays of counts, as long as the longer.

    Args:
        total: `(n,)` int64.
        more: `(m,)` integers.
    """
    longer, shorter = (
        (total, more) if len(total) >= len(more) else (more, total)
    )
    out = longer.astype("int64")
    out[: len(shorter)] += shorter
    return out
