"""The images on which a task of a study trains, validates and is measured.

These are always different ones: the best epoch and the learning rates are
chosen on images that are neither trained on nor measured on.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from keras_jft import data as data_lib
from keras_jft import evaluation
from keras_jft.scaling.study.config_id import config_id
from keras_jft.text import number_of

# Of images without a split to measure on, and without one to choose by.
HELD_OUT, VALIDATED = 0.2, 0.15
_MOST_VALIDATED = 5_000
# Images whose near-duplicates are looked for, so that they are on one side.
_MOST_COMPARED = 20_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Splits:
    """The splits of a task, and the options to load them with.

    Attributes:
        options: Options of `jft.data.load` for the images that the task trains
            on, and for those that it validates on.
        train: The split to train on.
        val: The split to choose epochs and learning rates by; None if there
            are too few images for one.
        test_options: Options for the images that it is measured on.
        test: The split to measure on.
        note: A sentence on images that are held out; None if none are.
    """

    options: dict[str, Any]
    train: str | None
    val: str | None
    test_options: dict[str, Any]
    test: str | None
    note: str | None = None


def choose_splits(name, source, split, known, test, output):
    """Return the `Splits` of a task, holding out images where one is missing.

    Args:
        name: What the task is called.
        source: `dataset` and `options` of `jft.data.load`.
        split: The split to train on.
        known: `{role: split}` of the data set, as of a `Layout`.
        test: The split that the user measures on; None if not chosen. Where it
            is of another data set, `known` does not matter.
        output: The folder of the study, which keeps what is held out.

    Raises:
        ValueError: No image can be held out to measure on.
    """
    options = source["options"]
    val = known.get("val")
    test = test or known.get("test", val)
    if val in (None, test):
        val = None
    as_they_are = Splits(
        options=options, train=split, val=val, test_options=options, test=test
    )
    if source["dataset"] == "synthetic":  # It makes any split.
        return dataclasses.replace(as_they_are, test=test or "test")
    if None not in (val, test):
        return as_they_are
    whole = data_lib.load(source["dataset"], split, **options)
    folder = pathlib.Path(output) / "parts"
    shares = {} if test else {"test": HELD_OUT}
    shares["val"] = min(VALIDATED, _MOST_VALIDATED / len(whole))
    groups, why = None, ""
    if whole.info.people is None and len(whole) <= _MOST_COMPARED:
        groups = _near_duplicates(whole, folder / f"{name}-{config_id(source)}")
        why = ", near-duplicates on one side"
    names = data_lib.hold_out(whole, shares, groups=groups)
    uses = {
        "test": "to measure on",
        "val": "to choose epochs and learning rates by",
    }
    held = {part: int((names == part).sum()) for part in shares}
    if test is None and not held["test"]:
        raise ValueError(
            "There must be images to measure on, other than those to train "
            f"on. Received: {number_of(len(names), 'image')}{why and ', all '}"
            f"{why and 'near-duplicates of one another'}."
        )
    if not any(held.values()):
        return as_they_are
    numbers = [f"{n:,} {uses[part]}" for part, n in held.items() if n]
    is_or_are = "is" if numbers[0].startswith("1 ") else "are"
    numbers[0] = numbers[0].replace(" ", f" {is_or_are} held out ", 1)
    path = folder / f"{name}.jsonl"
    data_lib.write_parts(path, whole, names)
    parts = {**options, "parts": {"path": str(path), "of": split}}
    return Splits(
        options=parts,
        train="train",
        val="val" if held["val"] else None,
        test_options=options if test else parts,
        test=test or "test",
        note=f"{name}: no split {uses[next(iter(shares))]}; of "
        f"{len(names):,} images, {' and '.join(numbers)}, some of every class"
        f"{why} ({path})",
    )


def _near_duplicates(data, folder):
    """Return a group per image of a data set; embeddings go to a folder."""
    found = evaluation.duplicates.embed(
        evaluation.duplicates.thumbnails(),
        data,
        folder,
        transforms=(data_lib.transforms.Resize((32, 32)),),
    )
    rows = np.concatenate([rows for _, rows in found])
    return evaluation.duplicates.groups(rows)
