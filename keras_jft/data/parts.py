"""Parts of a data set that has no splits, or none to measure on.

`hold_out` chooses them, `write_parts` keeps the choice in a file that says of
each id which part it belongs to, and `load(..., parts=...)` reads one.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_jft import checks, files, text
from keras_jft.data import keyed_random, subsets
from keras_jft.data.dataset import Dataset, Wrapped
from keras_jft.text_files import read_json_lines, short


def hold_out(
    data: Dataset,
    fractions: Mapping[str, float],
    seed: int = 0,
    groups: Sequence | np.ndarray | None = None,
) -> np.ndarray:
    """Divide a data set into parts, with each class in each, as far as it goes.

    Examples are divided class by class; of several labels or boxes, the rarest
    class counts. Examples of one image stay together, and so do those of one
    group, such as near-duplicates. The choice depends on ids and seed alone.

    Args:
        data: A `Dataset`.
        fractions: `{name: fraction}` of the parts to hold out; the others are
            "train".
        seed: Integer.
        groups: One number or text per example; equal ones stay together.

    Returns:
        `(n,)` names of parts, in the order of `data`.

    Raises:
        ValueError: Fractions are not positive, or leave nothing for "train".

    Example:

    >>> data = keras_jft.data.load("synthetic", num_examples=100)
    >>> names = hold_out(data, {"test": 0.2})
    >>> np.unique(names).tolist()
    ['test', 'train']
    """
    for name, fraction in fractions.items():
        checks.number(name, fraction, 0, 1, above=True)
    if sum(fractions.values()) >= 1:
        raise ValueError(
            "`fractions` must leave some for 'train'. Received: "
            f"{dict(fractions)}."
        )
    positions = np.arange(len(data))
    rows = data.annotations(positions)
    ids = np.asarray(data.ids(positions))
    images = [str(row.get("image_ids", row["ids"])) for row in rows]
    own = images if groups is None else _joined(images, groups)
    strata = _rarest(rows)
    # Of a group the first example, in the order of ids, speaks for all.
    order = np.argsort(keyed_random.hash64(seed, ids), kind="stable")
    first: dict[str, int] = {}
    for position in order:
        first.setdefault(own[position], position)
    speakers = np.array(list(first.values()))
    # Classes of one example are divided together.
    found, counts = np.unique(strata[speakers], return_counts=True)
    strata[np.isin(strata, found[counts == 1])] = -1
    part_of = {}
    for stratum in np.unique(strata[speakers]):
        some = speakers[strata[speakers] == stratum]
        names = _shares(len(some), fractions)
        for position, name in zip(some, names, strict=True):
            part_of[own[position]] = name
    return np.array([part_of[name] for name in own])


def _joined(images, groups):
    """Return a group per example that joins equal groups and equal images."""
    leader = {}
    for image, group in zip(images, groups, strict=True):
        leader.setdefault(image, str(group))
    return [leader[image] for image in images]


def _rarest(rows):
    """Return `(n,)` the rarest class of each example; -1 without any."""
    labels = [
        np.unique(
            row.get("labels", row.get("bounding_boxes", {}).get("labels", ()))
        )
        for row in rows
    ]
    labels = [own[own >= 0].astype("int64") for own in labels]
    counts = np.bincount(np.concatenate([*labels, np.zeros(0, "int64")]))
    return np.array(
        [own[np.argmin(counts[own])] if len(own) else -1 for own in labels]
    )


def _shares(count, fractions):
    """Return the part of each of `count` examples of a class, in their order.

    A class of two examples or more has one in each part that fits.
    """
    names = []
    for name, fraction in fractions.items():
        share = max(1, round(fraction * count))
        names += [name] * min(share, max(0, count - 1 - len(names)))
    return names + ["train"] * (count - len(names))


def write_parts(
    path: str | os.PathLike, data: Dataset, names: Iterable[str]
) -> None:
    """Write which part each example belongs to, as JSON Lines.

    Args:
        path: The file, `*.jsonl`; it is written whole or not at all.
        data: A `Dataset`.
        names: The name of a part per example.
    """
    ids = np.asarray(data.ids(np.arange(len(data)))).tolist()
    with (
        files.atomic_write(path) as partial,
        open(partial, "w", **text.ENCODING) as file,
    ):
        for name, part in zip(ids, names, strict=True):
            line = json.dumps({"id": name, "split": str(part)})
            file.write(f"{line}\n")


def part(data: Dataset, path: str | os.PathLike, split: str | None) -> Dataset:
    """Return the examples of a part, in the order of the file.

    Args:
        data: The whole `Dataset`.
        path: A file that `write_parts` wrote.
        split: The name of a part, or of several: "train+val".

    Raises:
        ValueError: The file is missing or faulty, there is no such part, or
            one of its ids is not in `data`.
    """
    wanted = str(split).split("+")
    ids, known = [], set()
    for number, line in read_json_lines(Path(path)):
        if not isinstance(line, dict) or not {"id", "split"} <= line.keys():
            raise ValueError(
                f"{str(path)!r}, line {number}: expected an object with `id` "
                f"and `split`. Received: {short(line)}."
            )
        known.add(line["split"])
        if line["split"] in wanted:
            ids.append(line["id"])
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise ValueError(
            f"`split` must be among {sorted(known)}, the parts in "
            f"{str(path)!r}. Received: {split!r}."
        )
    chosen = subsets.select(data, ids)
    if data.info.people is None:
        return chosen
    rows = chosen.annotations(np.arange(len(chosen)))
    kept = {row["image_ids"] for row in rows}
    people = {k: v for k, v in data.info.people.items() if k in kept}
    return Wrapped(chosen, people=people)
