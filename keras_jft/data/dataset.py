"""The contract of a data set: examples with stable ids, read at any position.

Random access is the whole contract: shuffling, sharding, nested subsets and
resuming are then arithmetic on positions, and nothing is held in memory.
"""

import dataclasses
import functools
import hashlib
import operator
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_jft.data.hierarchy import LabelHierarchy
from keras_jft.data.label_names import check_forms
from keras_jft.text import number_of
from keras_jft.text_files import short
from keras_jft.typing import Example, Positions

_PIXELS = ("images", "segmentation_masks")
_GROUP = 64  # Images held at once when only the annotations are wanted.
_PROBES = 64  # Examples by which a data set is recognized.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Info:
    """What is known about a data set before any example is read.

    Shapes: C classes, K keypoints.

    Attributes:
        num_examples: Number of examples.
        label_names: One name per label id; `len(label_names)` is the number of
            classes.
        hierarchy: The `jft.data.LabelHierarchy` over `label_names`, or None.
        max_labels: Most labels of any example; batches pad to it.
        max_boxes: Most boxes of any example; batches pad to it.
        category_ids: Original id of each detection class, by class index.
        class_counts: `(C,)` examples per class, where known without reading.
        keypoint_names: One name per keypoint, in the order of `keypoints`.
        skeleton: Pairs of keypoints that a bone joins, counted from 0.
        flip_pairs: Pairs of keypoints, by name or by position, that change
            places in a mirror; None: take them from the names.
        sigmas: `(K,)` falloffs for the similarity of keypoints, if the data
            set specifies them; otherwise ().
        people: `{image id: bounding_boxes}` with everyone in each image, for
            data sets of one example per person; None for others.
        mask_names: One name per segmentation class, in order of its value.
    """

    num_examples: int
    label_names: tuple[str, ...] = ()
    hierarchy: LabelHierarchy | None = None
    max_labels: int | None = None
    max_boxes: int | None = None
    category_ids: tuple[int, ...] | None = None
    class_counts: np.ndarray | None = None
    keypoint_names: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] = ()
    flip_pairs: tuple[tuple, ...] | None = None
    people: Mapping | None = None
    mask_names: tuple[str, ...] = ()

    def __post_init__(self):
        """Raise `ValueError` for names that differ in their Unicode form."""
        for field in ("label_names", "mask_names", "keypoint_names"):
            check_forms(map(str, getattr(self, field)), f"`{field}`")


def warn_of_absent_classes(names, counts, where, hint=""):
    """Warn if declared classes occur nowhere, or if there are no classes.

    A model learns nothing about such classes and scores leave them out, so a
    mistake in names or mask values would look like success. Call this only for
    classes that the user or a file of the data declares, when a whole data set
    is loaded and its counts are known. A hierarchy, or the fixed table of a
    published data set, may name more classes than one data set contains.

    Args:
        names: One name per class.
        counts: `(C,)` occurrences of each class.
        where: Where classes are looked for, such as "mask".
        hint: A sentence that says what may be wrong.
    """
    absent = [
        str(name)
        for name, count in zip(names, counts, strict=True)
        if not count
    ]
    if not len(names):
        warnings.warn(
            f"No {where} has a label, so there are no classes. {hint}",
            stacklevel=3,
        )
    if not absent:
        return
    some = ", ".join(map(repr, absent[:5])) + ", ..." * (len(absent) > 5)
    occur = "occurs" if len(absent) == 1 else "occur"
    warnings.warn(
        f"{len(absent)} of {number_of(len(names), 'class', 'classes')} {occur} "
        f"in no {where}: {some}. "
        + (hint or "Check their names, or leave them out."),
        stacklevel=3,
    )


def _checked(method):
    """Return a method of positions that is only given those that exist."""

    @functools.wraps(method)
    def checked(self, positions):
        # A data set may ask itself for the id at one position.
        if method.__name__ == "ids" and not np.iterable(positions):
            return method(self, self._position(positions))
        return method(self, self._positions(positions))

    return checked


def _checked_one(method):
    """Return a method of one position that is only given one that exists."""

    @functools.wraps(method)
    def checked(self, position):
        return method(self, self._position(position))

    return checked


class Dataset:
    """Examples with stable ids, read at any position, deterministically.

    A subclass sets `info` and writes `ids` and one of `__getitem__` and
    `take` (where many examples at once are cheaper). `ids`, `take`,
    `annotations` and `image_bytes` are given positions that exist: all others
    are an error before a subclass sees them.

    An example is a dict, one row of the batch contract (`jft.data.check_batch`)
    without the batch axis and without padding. `images` and `ids` are always
    there; a data set may have any of the others:

    - `images`: `(H, W, 3)` uint8.
    - `ids`: A stable int or str.
    - `labels`: An int32 scalar for one label, `(L,)` int32 for many.
    - `unknown_labels`: `(U,)` int32, padded with -1 to the same U everywhere.
    - `bounding_boxes`: `{"boxes": (N, 4) float32 xyxy pixels, "labels": (N,)
      int32}` and, where known, `ignored` `(N,)` bool, `areas` `(N,)` float32
      and `keypoints` `(N, K, 3)`.
    - `segmentation_masks`: `(H, W, 1)` uint8; 255 is void.
    - `keypoints`: `(K, 3)` float32 x, y in pixels and visibility, of the person
      whose box is the first.
    - `image_ids`: The id of the image, where `ids` are those of people.
    """

    info: Info

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check the positions that a subclass is asked for."""
        super().__init_subclass__(**kwargs)
        for name, check in _POSITIONS_OF.items():
            if name in vars(cls):
                setattr(cls, name, check(vars(cls)[name]))

    def __len__(self) -> int:
        return self.info.num_examples

    def ids(self, positions: Positions) -> np.ndarray:
        """Return the stable ids at `positions`, `(n,)` int64 or str, unread."""
        raise NotImplementedError

    @_checked_one
    def image_bytes(self, position: int) -> bytes | None:
        """Return the file that `images` at `position` is read from.

        None if the pixels are not those of a file.
        """
        return None

    def __iter__(self) -> Iterator[Example]:
        """Iterate over all examples, in order."""
        return (self[position] for position in range(len(self)))

    def __getitem__(self, position: int) -> Example:
        return self.take([self._position(position)])[0]

    def _position(self, position):
        """Return a position as an `int`, checked.

        Raises:
            TypeError: It is not a whole number, but a slice for example.
            IndexError: There is no such example. Negative positions do not
                count from the end.
        """
        try:
            place = operator.index(position)
        except TypeError:
            raise TypeError(
                f"A position must be a whole number. Received: {position!r}. "
                "`data.take(range(2))` reads several examples, "
                "`jft.data.subset` chooses some."
            ) from None
        if not 0 <= place < len(self):
            raise IndexError(
                f"A position must be in 0..{len(self) - 1}. Received: {place}."
            )
        return place

    def _positions(self, positions):
        """Return positions as an array, `(n,)` int64, checked.

        Raises:
            TypeError: They are not whole numbers.
            IndexError: There is no such example.
        """
        several = np.iterable(positions) and not isinstance(positions, str)
        places = np.asarray(
            [*positions] if isinstance(positions, Iterator) else positions
        )
        if (
            not several
            or places.ndim != 1
            or (places.size and places.dtype.kind not in "iu")
        ):
            raise TypeError(
                "Positions must be whole numbers, such as `range(2)` or an "
                f"array. Received: {short(positions)}. `np.flatnonzero(mask)` "
                "gives those where a mask is True."
            )
        if places.size:
            self._position(places.min())
            self._position(places.max())
        return places.astype("int64")

    @_checked
    def take(self, positions: Positions) -> list[Example]:
        """Return examples at `positions`, in their order."""
        return [self[int(position)] for position in positions]

    @_checked
    def annotations(self, positions: Positions) -> list[Example]:
        """Return examples without `images` and `segmentation_masks`.

        Labels and boxes are counted from these. A subclass that knows them
        without reading pixels overrides this method.
        """
        return [
            {key: example[key] for key in example if key not in _PIXELS}
            for start in range(0, len(positions), _GROUP)
            for example in self.take(positions[start : start + _GROUP])
        ]


_POSITIONS_OF = {
    "ids": _checked,
    "take": _checked,
    "annotations": _checked,
    "image_bytes": _checked_one,
}


def check_data(data):
    """Raise `ValueError` for anything that is not a `Dataset`."""
    if not (hasattr(data, "info") and hasattr(data, "take")):
        raise ValueError(
            "`data` must be a data set, such as `jft.data.load` returns. "
            f"Received: {short(data)}."
        )


def spread(count, most):
    """Return at most `most` evenly spread positions, from 0 to `count - 1`.

    >>> spread(10, most=4).tolist(), spread(2, most=4).tolist()
    ([0, 3, 6, 9], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, most).astype("int64"))[:count]


def probes(data):
    """Return the positions of the examples by which data are recognized."""
    return spread(len(data), _PROBES)


def fingerprint(data):
    """Return a digest of the ids of some examples, 16 hexadecimal digits.

    Data sets of one size and fingerprint have the same examples in the same
    order, as far as their ids tell. No example is read.
    """
    ids = np.asarray(data.ids(probes(data))).tolist()
    return hashlib.sha256(repr(ids).encode()).hexdigest()[:16]


class Wrapped(Dataset):
    """A data set made from another one: the base of subsets, noise and caches.

    On its own it has the same examples. A subclass overrides `change` to have
    other labels or boxes, and `positions_in_data` to have fewer examples or
    another order. If it changes images, it also overrides `image_bytes`.

    Args:
        data: The `Dataset` to wrap.
        **info: The attributes of `Info` that differ from those of `data`.

    Example:

    >>> class Merged(keras_jft.data.Wrapped):
    ...     def __init__(self, data):
    ...         super().__init__(data, label_names=("thing",))
    ...
    ...     def change(self, examples):
    ...         return [{**e, "labels": np.int32(0)} for e in examples]
    >>> data = Merged(keras_jft.data.load("synthetic", num_examples=9))
    >>> int(data[8]["labels"]), data.info.label_names
    (0, ('thing',))
    """

    def __init__(self, data: Dataset, **info: Any):
        check_data(data)
        self.data = data
        self.info = (
            dataclasses.replace(data.info, **info) if info else data.info
        )

    def positions_in_data(self, positions: Positions) -> Positions:
        """Return where the examples at `positions` are in `data`."""
        return positions

    def change(self, examples: list[Example]) -> list[Example]:
        """Return examples of `data`, or their annotations, with the changes.

        Args:
            examples: A list of dicts, which must not be changed in place.
        """
        return examples

    def ids(self, positions: Positions) -> np.ndarray:
        """Return the ids that the examples have in `data`."""
        return self.data.ids(self.positions_in_data(positions))

    def image_bytes(self, position: int) -> bytes | None:
        """Return the image file that `data` has."""
        (position,) = self.positions_in_data([position])
        return self.data.image_bytes(position)

    def take(self, positions: Positions) -> list[Example]:
        """Return examples at `positions` with the changes."""
        return self.change(self.data.take(self.positions_in_data(positions)))

    def annotations(self, positions: Positions) -> list[Example]:
        """Return annotations at `positions` with the changes."""
        return self.change(
            self.data.annotations(self.positions_in_data(positions))
        )
