"""The description of a data set: as a dict, a table, text and a page."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_jft import html_page
from keras_jft.data.failures import Failures
from keras_jft.data.hierarchy import LabelHierarchy
from keras_jft.data.statistics import counts as counts_lib
from keras_jft.data.statistics import page
from keras_jft.data.statistics.counts import BoxCounts, ImageSample, LabelCounts
from keras_jft.text import printable
from keras_jft.typing import PathLike

_GROUPS = 10  # Groups of labels that are listed.
# Bins of classes by their number of images: from each number up to the next.
SIZES = (0, 1, 20, 100, 1_000, 10_000, 100_000, 1_000_000)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Description:
    """The result of `jft.data.describe`.

    Attributes:
        title: Title of the page.
        split: Name of the split, or None.
        num_examples: Number of examples.
        num_images: Number of images; differs where examples are people.
        label_names: One name per class; "0", "1", ... where it has none.
        mask_names: One name per value of its masks.
        hierarchy: The `LabelHierarchy`, or None.
        labels: `LabelCounts`; None if no example has labels or boxes.
        labels_are: What counts as labels: "labels", "classes of boxes", or
            None.
        boxes: `BoxCounts`, or None if there are none.
        pairs: Pairs of labels on the most images, and those of highest lift.
        paired: Number of classes whose pairs were counted.
        failures: `Failures` to read annotations.
        sample: The `ImageSample`.
        samples: Small pictures of the data set, a `Gallery` or None.
        prototypes: `{label id: list of Bin}`, the paper's Figure 2.
        galleries: Pictures of the bins, `{label id: tuple of Gallery}`.
        seconds: Wall time of the call.
        seed: Seed of the sample.
    """

    title: str
    split: str | None
    num_examples: int
    num_images: int
    label_names: tuple[str, ...]
    mask_names: tuple[str, ...]
    hierarchy: LabelHierarchy | None
    labels: LabelCounts | None
    labels_are: str | None
    boxes: BoxCounts | None
    pairs: tuple[list, list]
    paired: int
    failures: Failures
    sample: ImageSample
    samples: html_page.Gallery | None
    prototypes: dict
    galleries: dict
    seconds: float
    seed: int

    def __str__(self):
        rows = counts_lib.compare(self.to_dict())
        wide = [max(len(row[i]) for row in rows) for i in (0, 1)]
        lines = [
            f"{name:{wide[0]}}  {here:>{wide[1]}}  (JFT-300M: {there})"
            for name, here, there in rows
        ]
        lines = [page.headline(self), *lines, *page.remarks(self)]
        return printable("\n".join(lines))

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in numbers, strings, lists and dicts, for JSON."""
        return {
            "title": self.title,
            "split": self.split,
            "num_examples": self.num_examples,
            "num_images": self.num_images,
            "labels_are": self.labels_are,
            "labels": self.labels and _labels(self.labels),
            "classes": self.labels and _classes(self.labels),
            "hierarchy": self.hierarchy and _hierarchy(self.hierarchy),
            "pairs": [self._pair(pair) for pair in self.pairs[0]],
            "pairs_by_lift": [self._pair(pair) for pair in self.pairs[1]],
            "paired_classes": self.paired,
            "boxes": self.boxes and self._boxes(),
            "images": _images(self.sample),
            "masks": self._masks() if self.sample.has_masks else None,
            "unreadable_annotations": self.failures.to_dict(),
            "prototypes": {
                self.label_names[label]: [
                    [found.low, found.high, found.num_images] for found in bins
                ]
                for label, bins in self.prototypes.items()
            },
            "jft300m": dict(counts_lib.JFT300M),
            "seconds": self.seconds,
            "seed": self.seed,
        }

    def table(self) -> pd.DataFrame:
        """Return one row per class, the commonest first.

        Returns:
            A DataFrame, indexed by label id, with the columns `name`, `images`
            and `specific_images` (those without a more specific label); with
            boxes also `boxes`, with a hierarchy also `level`, `children` and
            `below`, the labels below it at any depth.
        """
        columns: dict[str, Any] = {
            "name": [printable(name) for name in self.label_names]
        }
        if self.labels is not None:
            columns["images"] = self.labels.images
            columns["specific_images"] = self.labels.specific_images
        if self.boxes is not None:
            columns["boxes"] = _padded(self.boxes.boxes, len(self.label_names))
        if self.hierarchy is not None:
            columns["level"] = self.hierarchy.levels
            columns["children"] = [
                len(self.hierarchy.children(label))
                for label in range(len(self.hierarchy))
            ]
            columns["below"] = self.hierarchy.num_below
        table = pd.DataFrame(columns).rename_axis("label")
        if "images" not in table:
            return table
        return table.sort_values("images", ascending=False, kind="stable")

    def save(self, path: PathLike) -> tuple[Path, Path]:
        """Write the page, one HTML file, and its Markdown beside it.

        Args:
            path: Where the page goes, `*.html`.

        Returns:
            The paths of both files.

        Raises:
            ValueError: `path` is not `*.html`.
        """
        html_page.check_path(path)
        return html_page.write(path, self.title, page.blocks(self))

    def _pair(self, pair):
        return {
            "first": self.label_names[pair.first],
            "second": self.label_names[pair.second],
            "images": pair.images,
            "lift": pair.lift,
        }

    def _boxes(self):
        return {
            "total": self.boxes.per_image.sum,
            "ignored": self.boxes.ignored,
            "per_image": self.boxes.per_image.to_dict(),
        }

    def _masks(self):
        pixels = self.sample.mask_pixels
        values = np.flatnonzero(pixels).tolist()
        return {
            page.mask_name(self, value): {
                "pixels": pixels[value] / pixels.sum(),
                "images": int(self.sample.mask_images[value]),
            }
            for value in values
        }


def _labels(labels):
    return {
        "total": labels.given.sum,
        "per_image": labels.given.to_dict(),
        "specific": {
            "total": labels.specific.sum,
            **labels.specific.to_dict(),
        },
        "closed": labels.closed,
        "images_without": labels.without_labels,
        "repeated": labels.repeated,
        "out_of_range": labels.out_of_range,
        "out_of_range_named": [list(pair) for pair in labels.strays],
    }


def _classes(labels):
    return {
        "total": len(labels.images),
        "without_images": labels.below(1),
        "below_20": labels.below(20),
        "below_100": labels.below(100),
        "largest": int(labels.images.max(initial=0)),
        "by_size": {
            _range(low, high): labels.below(high) - labels.below(low)
            for low, high in zip(SIZES, [*SIZES[1:], None], strict=True)
        },
    }


def _range(low, high):
    if high is None:
        return f"{low:,} or more"
    return "0" if high == 1 else f"{low:,}-{high - 1:,}"


def _hierarchy(hierarchy):
    return {
        "labels": len(hierarchy),
        "leaves": len(hierarchy.leaves),
        "roots": int((hierarchy.levels == 1).sum()),
        "depth": hierarchy.depth,
        "fan_out": hierarchy.fan_out,
        "groups": _groups(hierarchy),
    }


def _groups(hierarchy):
    """Return the largest groups of labels, pairs of name and labels below.

    They are the roots or, if all labels are below one root, its children.
    """
    below = hierarchy.num_below
    tops = np.flatnonzero(hierarchy.levels == 1)
    if len(tops) == 1:
        tops = hierarchy.children(tops[0])
    tops = tops[np.argsort(-below[tops], kind="stable")]
    return [[hierarchy.names[i], int(below[i])] for i in tops[:_GROUPS]]


def _images(sample):
    sizes = sample.sizes.most_common(10)
    return {
        "examined": sample.examined,
        "heights": _sides(sample.heights),
        "widths": _sides(sample.widths),
        "common_sizes": [[*size, count] for size, count in sizes],
        "gray": sample.gray,
        "unreadable": sample.failures.to_dict(),
    }


def _sides(histogram):
    """Return a histogram as a dict without its long list of counts."""
    return {k: v for k, v in histogram.to_dict().items() if k != "counts"}


def _padded(counts, size):
    return np.pad(counts, (0, max(0, size - len(counts))))[:size]
