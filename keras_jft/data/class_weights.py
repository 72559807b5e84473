"""How much each class counts in a weighted mean over classes: `map_weights`.

The paper's mAP@100 weighs classes by how common they are. The configs of
pre-training and evaluation say in the same words whose counts these are:

- `"equal"`: nobody's; all classes count the same;
- `"frequency"`: those of the training set;
- the name of a split, such as `"val"`: its own, in the same data set;
- a mapping with `dataset` and, if need be, `options` and `split`: those there.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_jft.data.dataset import Info
from keras_jft.data.datasets import check_options, load
from keras_jft.data.subsets import label_counts

_COUNTS: dict[str, dict[str, int]] = {}  # Counted once in a process.


def check_map_weights(given: str | Mapping[str, Any]) -> None:
    """Raise a `ValueError` unless a value is one that `map_weights` takes."""
    if isinstance(given, str):
        return
    if "dataset" not in given or set(given) - {"dataset", "options", "split"}:
        raise ValueError(
            '`map_weights` must be "equal", "frequency", a split, or a mapping '
            "with `dataset` and, if need be, `options` and `split`. Received: "
            f"{sorted(given)}."
        )
    check_options(
        given["dataset"],
        given.get("options", {}),
        split=given.get("split", "train"),
    )


def class_weights(
    given: str | Mapping[str, Any],
    info: Info,
    dataset: str,
    options: Mapping[str, Any],
) -> np.ndarray | None:
    """Return how many images of each class the training set has.

    Args:
        given: The `map_weights` of a config. "frequency" is the split "train".
        info: `info` of the data set with C classes that is measured. Classes
            are matched by name.
        dataset: The name of the data set that a split is of.
        options: Its options.

    Returns:
        `(C,)` numbers, 0 for a class that the training set lacks; None for
        "equal".

    Raises:
        ValueError: The training set has none of the classes.
    """
    if given == "equal":
        return None
    source = given
    if isinstance(source, str):
        split = "train" if source == "frequency" else source
        source = {"dataset": dataset, "options": options, "split": split}
    known = repr(source)
    if known not in _COUNTS:
        _COUNTS[known] = _counts_by_name(**source)
    by_name = _COUNTS[known]
    weights = np.array(
        [by_name.get(name, 0) for name in info.label_names], np.float64
    )
    if not weights.any():
        raise ValueError(
            "`map_weights` must be a training set of the classes that are "
            f"measured, such as {list(info.label_names[:3])}. Received: "
            f"{source['dataset']!r}, whose classes, such as "
            f"{list(by_name)[:3]}, are others."
        )
    return weights


def _counts_by_name(dataset, options=None, split="train"):
    """Return `{label name: images}` of a training set."""
    train = load(dataset, split=split, **(options or {}))
    counts = train.info.class_counts
    if counts is None:
        counts = label_counts(train)
    return dict(zip(train.info.label_names, counts, strict=True))
