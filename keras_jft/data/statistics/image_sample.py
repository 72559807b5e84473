"""What is seen in the images themselves: sizes, masks, unreadable files."""

import concurrent.futures
import os
from collections import Counter

import numpy as np

from keras_jft.data.batch import VOID
from keras_jft.data.statistics.failures import UNREADABLE, Failures
from keras_jft.data.statistics.histogram import Histogram
from keras_jft.data.subsets import subset

_ROUND = 256  # Images whose summaries are held at once.
_GROUP = 8  # Images that one thread reads together.
_MOST_SIZES = 10_000


class ImageSample:
    """Images that were read, one by one, and what was seen in them.

    Args:
        most_named: How many unreadable images are named.

    Attributes:
        read: Images that could be read.
        heights: `Histogram`, pixels.
        widths: `Histogram`, pixels.
        sizes: `Counter` of (height, width), of the first 10,000 sizes.
        gray: Images with three equal channels.
        failures: `Failures`.
        mask_pixels: `(256,)` int64, pixels of each mask value.
        mask_images: `(256,)` int64, images with each mask value.
        shown: Positions of the first readable images, to be looked at.
    """

    def __init__(self, most_named=20):
        self.read = self.gray = 0
        self.heights, self.widths = Histogram(), Histogram()
        self.sizes, self.failures = Counter(), Failures(most_named)
        self.mask_pixels = np.zeros(VOID + 1, "int64")
        self.mask_images = np.zeros(VOID + 1, "int64")

    @property
    def examined(self):
        """Images that were tried."""
        return self.read + len(self.failures)

    @property
    def has_masks(self):
        """Whether any image has a mask."""
        return bool(self.mask_pixels.any())

    def add(self, summaries):
        """Counts what `_summary` gave of some images."""
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
    """Reads images and gives their `ImageSample`.

    Args:
        data: A `Dataset`.
        num_images: How many, the first in the keyed order of `subset`; all of
            them in their own order, if as many as there are.
        seed: Of that order.
        most_named: How many unreadable images are named.
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
    """Summaries of the readable images, and pairs of those that are not."""
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
    """`(height, width)`, whether it is gray, and pixels of each mask value."""
    image = np.asarray(example["images"])
    gray = (image[..., :1] == image[..., 1:]).all()
    mask = example.get("segmentation_masks")
    if mask is not None:
        mask = np.bincount(np.ravel(mask), minlength=VOID + 1)
    return image.shape[:2], bool(gray), mask
