"""Subsets of a data set: of a given size, of given ids, or of given classes.

- `subset` takes a number of examples. Its results are nested: the 10,000
  examples of a seed are among the 30,000 of the same seed.
- `write_ids`, `read_ids` and `select` record a choice of examples in a file.
- `class_subset`, `with_labels` and `OnlyLabels` choose by label; `match_labels`
  finds the labels of another data set's classes, and `label_counts` counts.
"""

import collections
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_jft import checks, files, text
from keras_jft.data import keyed_random
from keras_jft.data.dataset import Dataset, Info, Wrapped, check_data
from keras_jft.data.label_names import checked_list, is_text
from keras_jft.text import number_of
from keras_jft.text_files import (
    read_json,
    read_json_lines,
    read_lines,
    short,
)
from keras_jft.typing import PathLike

_HASHED = 1_000_000  # Ids that are hashed at once.
_READ = 10_000  # Examples whose ids or labels are read at once.


def subset(data: Dataset, num_examples: int, seed: int = 0) -> Dataset:
    """Return the first `num_examples` of `data` in a random order of ids.

    The order depends on ids and seed alone, so the subsets of one seed are
    nested, and the same in whatever order the data set lists its examples. If
    ids are 0..N - 1, the order is a keyed permutation, which needs no memory;
    otherwise examples are sorted by `hash64(seed, id)`.

    Args:
        data: A `Dataset` of N examples.
        num_examples: Size of the subset.
        seed: Integer. Each seed gives a different subset.

    Returns:
        A `Dataset` in that order.

    Raises:
        ValueError: `data` has fewer examples, or `num_examples` is not
            positive.
    """
    check_data(data)
    num_examples = checks.whole("num_examples", num_examples)
    if not 0 < num_examples <= len(data):
        raise ValueError(
            f"`num_examples` must be in 1..{len(data)}, the size of the data "
            f"set. Received: num_examples={num_examples}."
        )
    # So a subset of a subset is the same as that subset of the whole.
    if isinstance(data, Subset) and data.seed == seed:
        positions, data = data.positions, data.data
    elif _ids_are_positions(data):
        positions = keyed_random.permutation(len(data), seed)
    else:
        ids = np.asarray(data.ids(np.arange(len(data))))
        positions = _in_order_of_ids(ids, seed).__getitem__
    return Subset(data, positions, num_examples, seed)


class Subset(Wrapped):
    """The first `num_examples` examples of a data set in a given order.

    Args:
        data: The `Dataset` that is wrapped.
        positions: A function from an array of places in the order to an array
            of positions in `data`.
        num_examples: Size of the subset.
        seed: The seed of the order, or None.
    """

    def __init__(self, data, positions, num_examples, seed):
        super().__init__(
            data, num_examples=num_examples, class_counts=None, people=None
        )
        self.positions = positions
        self.seed = seed

    def positions_in_data(self, positions):
        """Return positions in the whole data set."""
        return self.positions(np.asarray(positions, "int64"))


def at(data, positions):
    """Return the examples at an array of positions, in that order."""
    return Subset(data, positions.__getitem__, len(positions), seed=None)


def _in_order_of_ids(ids, seed):
    """Return positions in an order that depends on the ids and seed alone."""
    if ids.dtype.kind in "ui" and ids.max() == len(ids) - 1:
        by_id = np.argsort(ids)
        if np.array_equal(ids[by_id], np.arange(len(ids))):
            # Ids 0..N - 1 in another order: choose as if they were in order.
            shuffle = keyed_random.permutation(len(ids), seed)
            return by_id[shuffle(np.arange(len(ids)))]
    return np.argsort(keyed_random.hash64(seed, ids), kind="stable")


def _ids_are_positions(data):
    """Return whether the ids are 0..N - 1, in constant memory."""
    for start in range(0, len(data), _HASHED):
        positions = np.arange(start, min(start + _HASHED, len(data)))
        ids = np.asarray(data.ids(positions))
        if ids.dtype.kind not in "ui" or not np.array_equal(ids, positions):
            return False
    return True


def write_ids(data: Dataset, path: PathLike) -> None:
    """Write which examples a data set has, in its order, as JSON Lines.

    Each line has the `id` of an example and, if it has labels, the names of its
    `labels`. If ids are paths of images, `load("manifest", path=path,
    image_column="id")` can read the file. The first n lines written of a
    `subset` are the subset of n. The file is written whole or not at all.

    Args:
        data: A `Dataset`.
        path: The path of the file, `*.jsonl`.

    Raises:
        ValueError: The path does not end in `.jsonl`.
    """
    if files.as_path("path", path, "ids.jsonl").suffix != ".jsonl":
        raise ValueError(f"`path` must end in .jsonl. Received: {str(path)!r}.")
    with (
        files.atomic_write(path) as partial,
        open(partial, "w", **text.ENCODING) as file,
    ):
        file.writelines(_lines(data))


def _lines(data):
    names = data.info.label_names
    for start in range(0, len(data), _READ):
        positions = np.arange(start, min(start + _READ, len(data)))
        for example in data.annotations(positions):
            line = {"id": example["ids"]}
            if isinstance(line["id"], np.generic):
                line["id"] = line["id"].item()
            if "labels" in example and names:
                labels = np.atleast_1d(example["labels"]).tolist()
                line["labels"] = [
                    names[label] for label in labels if label >= 0
                ]
            text = json.dumps(line, ensure_ascii=False)
            try:
                text.encode()
            except UnicodeEncodeError:  # A file name that is not UTF-8.
                text = json.dumps(line)
            yield text + "\n"


def read_ids(path: PathLike, num_examples: int | None = None) -> np.ndarray:
    """Read the ids of a file, `(n,)` int64 or str.

    Args:
        path: A file of `write_ids`, `*.jsonl`; a JSON list, `*.json`; or any
            other text file with one id per line, all of them strings.
        num_examples: How many ids to read; by default all.

    Raises:
        ValueError: The file is missing or too short; or an id is neither a
            string nor a whole number, has another type than those before, or is
            repeated. The error names its place. Blank lines are skipped.
    """
    file = files.as_path("path", path, "ids.jsonl")
    if not file.is_file():
        raise ValueError(f"There must be a file {str(path)!r}. Received none.")
    ids: dict = {}
    for place, name in itertools.islice(_ids_in(file), num_examples):
        kind = type(next(iter(ids), name))
        is_id = is_text(name) or (type(name) is int and abs(name) < 2**63)
        if not is_id or type(name) is not kind or name in ids:
            raise ValueError(
                f"{str(path)!r}, {place}: expected an id, a whole number or a "
                "text, that occurs nowhere else in the file. Received: "
                f"{short(name)}."
            )
        ids[name] = place
    if not ids or len(ids) < (num_examples or 0):
        raise ValueError(
            f"{str(path)!r} must have {num_examples or 'some'} ids. "
            f"Received {len(ids)}."
        )
    return np.array(list(ids))


def _ids_in(path):
    """Yield the place of each id in a file, for errors, and the id."""
    if path.suffix == ".jsonl":
        for number, line in read_json_lines(path):
            is_object = isinstance(line, dict)
            yield f"line {number}", line.get("id") if is_object else None
    elif path.suffix == ".json":
        ids = read_json(path)
        if not isinstance(ids, list):
            raise ValueError(
                f"{str(path)!r} must hold a list of ids. Received: "
                f"{short(ids)}."
            )
        yield from ((f"number {i}", name) for i, name in enumerate(ids))
    else:
        for number, line in read_lines(path):
            yield f"line {number}", line.strip()


def select(
    data: Dataset,
    ids: Sequence[int | str] | np.ndarray | PathLike,
    num_examples: int | None = None,
) -> Dataset:
    """Return the examples with the given ids, in their order.

    Args:
        data: A `Dataset`.
        ids: Ids, or the path of a file that `read_ids` reads.
        num_examples: How many of the ids to use; by default all.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: As `read_ids` does; or an id is not in `data` or is
            repeated.
    """
    if isinstance(ids, (str, Path)):
        ids = read_ids(ids, num_examples)
    ids = np.asarray(ids)[:num_examples]
    positions = find_ids(ids, data.ids(np.arange(len(data))))
    if not len(ids):
        raise ValueError("`ids` must name at least one example. Received none.")
    if len(np.unique(positions)) < len(positions):
        raise ValueError(
            f"`ids` must not be repeated. Received {len(ids)}, of which "
            f"{len(np.unique(positions))} differ."
        )
    return at(data, positions)


def find_ids(ids, known, argument="ids"):
    """Return the position of each id among the known ones, `(n,)` int64.

    Args:
        ids: n ids.
        known: Different ids of examples.
        argument: What errors call `ids`.

    Raises:
        ValueError: An id is not known, or of another type.
    """
    ids, known = np.asarray(ids), np.asarray(known)
    order = np.argsort(known, kind="stable")
    if not len(ids):
        return order[:0]
    positions, missing = order[:0], ids
    if ids.dtype.kind == known.dtype.kind:
        places = np.searchsorted(known, ids, sorter=order)
        positions = order[np.minimum(places, len(known) - 1)]
        missing = ids[known[positions] != ids]
    if len(missing):
        raise ValueError(
            f"`{argument}` must be ids of examples, such as "
            f"{known[:3].tolist()}. Received {len(missing)} of {len(ids)} that "
            f"are not: {missing[:5].tolist()}."
        )
    return positions


def class_subset(
    data: Dataset,
    labels: Sequence[int | str],
    num_examples: int | None = None,
    *,
    seed: int = 0,
    only: bool = False,
) -> tuple[Dataset, Dataset]:
    """Return examples with given labels, and a control of the same size.

    Both are nested and depend on ids and seed alone, as for `subset`. The
    control is drawn from all examples, including those with the labels.

    Args:
        data: A `Dataset` with `labels`.
        labels: Ids, names or keys of labels.
        num_examples: Size of each; by default the number of examples with at
            least one of the labels.
        seed: Integer.
        only: Whether the chosen examples keep only `labels`, renumbered in
            this order, without a hierarchy. By default they keep all labels.

    Returns:
        Two `Dataset`s of the same size: the chosen examples and the control.

    Raises:
        ValueError: A label is unknown, or there are not enough examples.

    Example:

    >>> data = keras_jft.data.load("synthetic", num_examples=200)
    >>> chosen, control = class_subset(data, [0, 1])
    >>> len(chosen) == len(control) < 200
    True
    >>> all(np.isin(example["labels"], [0, 1]).any() for example in
    ...     chosen.annotations(np.arange(len(chosen))))
    True
    """
    chosen = with_labels(data, labels)
    if num_examples is None:
        num_examples = len(chosen)
    chosen = subset(chosen, num_examples, seed)
    if only:
        chosen = OnlyLabels(chosen, labels)
    return chosen, subset(data, num_examples, seed)


def with_labels(data: Dataset, labels: Sequence[int | str]) -> Dataset:
    """Return the examples with at least one of some labels, in their order.

    Reads the annotations once, and keeps one position per example in memory.

    Args:
        data: A `Dataset` with `labels`.
        labels: Ids, names or keys of labels.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: A label is unknown, or no example has one.
    """
    is_wanted = np.zeros(len(data.info.label_names) + 1, bool)
    is_wanted[label_ids(data.info, labels)] = True  # -1, padding, stays False.
    found = []
    for start in range(0, len(data), _READ):
        positions = np.arange(start, min(start + _READ, len(data)))
        rows = [_labels_of(row) for row in data.annotations(positions)]
        owners = np.repeat(positions, [*map(len, rows)])
        found.append(np.unique(owners[is_wanted[np.concatenate(rows)]]))
    positions = np.concatenate(found)
    if not len(positions):
        raise ValueError(
            "There must be an example with one of `labels`. Received: "
            f"{number_of(len(data), 'example')}, none with any of "
            f"{list(labels)[:5]}."
        )
    return at(data, positions)


def label_counts(data: Dataset) -> np.ndarray:
    """Return how many examples have each label, `(C,)` int64.

    Reads the annotations once.

    Args:
        data: A `Dataset` with `labels`.

    Example:

    >>> data = keras_jft.data.load("synthetic", num_examples=200)
    >>> int(label_counts(data).max())
    117
    """
    counts = np.zeros(len(data.info.label_names), "int64")
    for start in range(0, len(data), _READ):
        stop = min(start + _READ, len(data))
        for example in data.annotations(np.arange(start, stop)):
            ids = np.unique(_labels_of(example))
            counts[ids[ids >= 0]] += 1
    return counts


def match_labels(
    classes: Sequence[str] | Mapping[str, str], info: Info
) -> dict[str, str]:
    """Return the label that corresponds directly to each class of another set.

    A class corresponds to the label of its key, or else to the one label that
    has one of its names: "tench, Tinca tinca" has two. Capitals, underscores
    and hyphens do not matter. A class that has no label, or more than one, is
    left out, and so are classes that would share a label.

    Args:
        classes: Names of the classes, or `{key: names}`, such as the WordNet
            ids of ImageNet's classes.
        info: `info` of the data set whose labels are wanted.

    Returns:
        `{class: label}`, the label's key if there is a hierarchy, else its
        name, as `only_labels` of `jft.data.load` takes them.

    Example:

    >>> info = keras_jft.data.load("synthetic", num_examples=1).info
    >>> match_labels(["Green, verdant", "crane"], info)
    {'Green, verdant': 'green'}

    References:
        Sun et al. 2017, section 5.2, Table 6: 941 labels of JFT-300M have a
        direct correspondence among the 1,000 of ImageNet.
    """
    hierarchy = info.hierarchy
    keys = info.label_names if hierarchy is None else hierarchy.keys
    by_text: dict[str, set] = {}
    for key, name in zip(keys, info.label_names, strict=True):
        by_text.setdefault(_plain(name), set()).add(str(key))
    known = {str(key) for key in keys}
    found = {}
    for one in classes:
        names = classes[one] if isinstance(classes, Mapping) else one
        labels = set().union(
            *(by_text.get(_plain(name), ()) for name in names.split(","))
        )
        labels = {one} if one in known else labels
        if len(labels) == 1:
            found[one] = labels.pop()
    shared = collections.Counter(found.values())
    return {one: label for one, label in found.items() if shared[label] == 1}


def _plain(name):
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


class OnlyLabels(Wrapped):
    """The examples of a data set with only some labels, renumbered.

    Label i is the i-th of `labels`; there is no hierarchy.

    Args:
        data: A `Dataset` with many `labels` per example.
        labels: Ids, names or keys of labels.
    """

    def __init__(self, data, labels):
        ids = label_ids(data.info, labels)
        self._new = np.full(len(data.info.label_names) + 1, -1, "int32")
        self._new[ids] = np.arange(len(ids))
        counts, most = data.info.class_counts, data.info.max_labels
        super().__init__(
            data,
            label_names=tuple(data.info.label_names[i] for i in ids),
            hierarchy=None,
            class_counts=None if counts is None else counts[ids],
            max_labels=None if most is None else min(most, len(ids)),
        )

    def change(self, examples):
        """Return the examples without other labels."""
        return [*map(self._renumbered, examples)]

    def _renumbered(self, example):
        renumbered = dict(example)
        for key in example.keys() & {"labels", "unknown_labels"}:
            new = self._new[np.atleast_1d(example[key])]
            kept = np.sort(new[new >= 0])
            if key == "labels" and np.ndim(example[key]) == 0:
                kept = kept[0]
            elif key == "unknown_labels":
                kept = np.append(kept, np.full(len(new) - len(kept), -1))
            renumbered[key] = kept.astype("int32")
        return renumbered


def label_ids(info, labels):
    """Return the ids of labels, `(n,)` int64.

    Args:
        info: The `Info` of a data set.
        labels: Ids, names or, with a hierarchy, keys; each label once.

    Raises:
        ValueError: A label is unknown or repeated, or `labels` is empty.
    """
    by_name = {name: label for label, name in enumerate(info.label_names)}
    ids = []
    for label in checked_list(labels, "labels"):
        if isinstance(label, str) and info.hierarchy is not None:
            ids.append(info.hierarchy.index(label))
        elif isinstance(label, str):
            ids.append(by_name.get(label, -1))
        else:
            ids.append(int(label))
        if not 0 <= ids[-1] < len(info.label_names):
            raise ValueError(
                "`labels` must be names or ids of the "
                f"{number_of(len(info.label_names), 'label')}. Received: "
                f"{label!r}."
            )
    if not ids or len(set(ids)) < len(ids):
        raise ValueError(
            "`labels` must name at least one label, each once. Received: "
            f"{len(ids)}, of which {len(set(ids))} differ."
        )
    return np.array(ids)


def _labels_of(example):
    if "labels" not in example:
        raise ValueError(
            f"Examples must have `labels`. Received the keys {sorted(example)}."
        )
    return np.atleast_1d(example["labels"])
