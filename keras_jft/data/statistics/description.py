"""What a data set holds, as a dict, as a table, as text and as a page."""

import dataclasses

import numpy as np
import pandas as pd

from keras_jft import html_page
from keras_jft.data.failures import Failures
from keras_jft.data.hierarchy import LabelHierarchy
from keras_jft.data.statistics import counts as counts_lib
from keras_jft.data.statistics import page
from keras_jft.data.statistics.counts import BoxCounts, ImageSample, LabelCounts
from keras_jft.text import printable

# Classes are counted from one of these numbers of images up to the next.
SIZES = (0, 1, 20, 100, 1_000, 10_000, 100_000, 1_000_000)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Description:
    """What `jft.data.describe` found.

    Attributes:
        title: Name of the data set.
        split: Name of its split, or None.
        num_examples: Its length.
        num_images: The same, but where examples are people.
        label_names: One name a class; "0", "1", ... where it has none.
        mask_names: One name a value of its masks.
        hierarchy: Its `LabelHierarchy`, or None.
        labels: `LabelCounts`; None if no example has labels or boxes.
        labels_are: "labels", "classes of boxes", or None.
        boxes: `BoxCounts`, or None if there are none.
        pairs: Pairs of labels on the most images, and those of highest lift.
        paired: How many classes were looked at for pairs.
        failures: `Failures` to read annotations.
        sample: The `ImageSample`.
        samples: Small pictures of the data set, a `Gallery` or None.
        prototypes: `{label id: list of Bin}`, the paper's Figure 2.
        galleries: The same as galleries, `{label id: tuple of Gallery}`.
        seconds: What it took.
        seed: Of the sample.
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

    def to_dict(self):
        """All of it in numbers, strings, lists and dicts, for JSON."""
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

    def table(self):
        """A row a class, the commonest first.

        Returns:
            A DataFrame, indexed by label id: `name`, `images`,
            `specific_images` (those without a more specific label), with boxes
            `boxes`, with a hierarchy `level` and `children`.
        """
        columns = {"name": [printable(name) for name in self.label_names]}
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
        table = pd.DataFrame(columns).rename_axis("label")
        if "images" not in table:
            return table
        return table.sort_values("images", ascending=False, kind="stable")

    def save(self, path):
        """Writes the page, one HTML file, and its Markdown beside it.

        Args:
            path: Where it goes, `*.html`.

        Returns:
            The paths of both files.

        Raises:
            ValueError: `path` is no `*.html`.
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
    }


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
    """Without the counts, one of each side that there could be."""
    return {k: v for k, v in histogram.to_dict().items() if k != "counts"}


def _padded(counts, size):
    return np.pad(counts, (0, max(0, size - len(counts))))[:size]
