"""A world of painted objects: images from an index and a seed, labels known.

Image i of a seed, split and task is always the same, whatever the size of the
data set, so subsets are nested, workers agree and a data set of 300,000,000
images takes no space. Pre-training names 200 combinations of shape, texture and
color, with a hierarchy, a long tail and label noise at known rates; transfer
tasks show the 280 other combinations, and human figures.
"""

import numbers
from typing import Any

import numpy as np

from keras_jft import checks
from keras_jft.data.dataset import Dataset
from keras_jft.data.datasets.synthetic.tasks import MASKS, TASKS
from keras_jft.data.datasets.synthetic.vocabulary import (
    NUM_NAMED,
    PRESETS,
    Preset,
)
from keras_jft.data.datasets.synthetic.world import View

__all__ = ["MASKS", "PRESETS", "TASKS", "Preset", "load"]

SPLITS = ("train", "test")


def load(
    split: str = "train",
    *,
    task: str = "many_label",
    num_examples: int | None = None,
    image_size: int | tuple[int, int] = 32,
    preset: str | Preset = "standard",
    seed: int = 0,
    wrong_labels: float | None = None,
    missing_labels: float | None = None,
    num_names: int | None = None,
    long_tail: float | None = None,
    masks: str | None = None,
    void_ring: bool = False,
    threads: int | None = None,
) -> Dataset:
    """Load the synthetic world as a data set.

    Args:
        split: "train", or "test": different images and, for "many_label",
            labels without noise.
        task: One of `TASKS`. "many_label": labels, closed upward, for
            pre-training. "classification": one of 20 combinations that
            pre-training does not name. "segmentation": a mask.
            "detection": boxes labeled by shape. "pose": a figure with 17
            keypoints in COCO's order, and its box.
        num_examples: Number of images; each task has a default.
        image_size: Side in pixels, or (height, width). Scenes are laid out in
            units of the shorter side, so they are the same at every size.
        preset: How hard things are to see: a name in `PRESETS`, or a `Preset`.
        seed: Each seed is a different world with the same vocabulary.
        wrong_labels: "many_label" only: probability that a name is replaced,
            mostly by that of another color. Default: 0.2 in "train", 0 in
            "test".
        missing_labels: "many_label" only: probability that an object has no
            name, so that some images have none. Default: 0.1 in "train", 0 in
            "test".
        num_names: "many_label" only: how many combinations are shown and
            named, evenly taken from common and rare ones; all 200 if None.
        long_tail: "many_label" only: exponent of Zipf's law of their
            frequencies; 0.8 if None. With 0, all are equally common.
        masks: "segmentation" only: what the classes are, one of `MASKS`;
            "color" if None.
        void_ring: "segmentation" only: whether the pixels just outside of an
            object are 255.
        threads: How many threads render a large request; all cores if None.

    Returns:
        A `Dataset`. Neither `num_examples` nor label noise affects the images.

    Raises:
        ValueError: An unknown split, task, preset or kind of mask; an option
            of another task; or a number out of range.

    Example:

    >>> data = load("train", num_examples=300_000_000)
    >>> example = data[299_999_999]
    >>> example["images"].shape
    (32, 32, 3)
    >>> for label in example["labels"]:
    ...     print(data.info.label_names[label])
    curved
    cool
    round
    ring
    green
    banded ring
    green banded ring
    """
    checks.one_of("split", split, SPLITS)
    checks.one_of("task", task, TASKS)
    kind = TASKS[task]
    if not isinstance(preset, Preset):
        checks.one_of("preset", preset, PRESETS)
        preset = PRESETS[preset]
    if num_examples is None:
        num_examples = kind.DEFAULT_SIZES[split]
    height, width = _sides(image_size)
    _check_whole("num_examples", num_examples)
    _check_probability("wrong_labels", wrong_labels)
    _check_probability("missing_labels", missing_labels)
    if num_names is not None:
        _check_whole("num_names", num_names)
        if not 2 <= num_names <= NUM_NAMED:
            raise ValueError(
                f"`num_names` must be in 2..{NUM_NAMED}. Received: "
                f"{num_names!r}."
            )
    _check_number("long_tail", long_tail)
    if long_tail is not None and not long_tail >= 0:
        raise ValueError(
            f"`long_tail` must be 0 or more. Received: {long_tail!r}."
        )
    if masks is not None:
        checks.one_of("masks", masks, MASKS)
    if threads is not None:
        _check_whole("threads", threads)
    options: dict[str, Any] = {
        "wrong_labels": wrong_labels,
        "missing_labels": missing_labels,
        "num_names": num_names,
        "long_tail": long_tail,
        "masks": masks,
        "void_ring": void_ring or None,
    }
    options = {k: v for k, v in options.items() if v is not None}
    for name in options:
        if name not in kind.OPTIONS:
            raise ValueError(
                f"`{name}` is not an option of task {task!r}, which has "
                f"{list(kind.OPTIONS)}. Leave it out."
            )
    view = View(
        task=task,
        split=split,
        num_examples=num_examples,
        height=height,
        width=width,
        preset=preset,
        seed=seed,
        threads=threads,
    )
    return kind(view, **options)


def _check_whole(name, value):
    boolean = isinstance(value, (bool, np.bool))
    if boolean or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(
            f"`{name}` must be a whole number above 0. Received: {value!r}."
        )


def _check_number(name, value):
    if value is not None and not isinstance(value, numbers.Real):
        raise ValueError(f"`{name}` must be a number. Received: {value!r}.")


def _check_probability(name, value):
    _check_number(name, value)
    if value is not None and not 0 <= value <= 1:
        raise ValueError(
            f"`{name}` must be a probability, 0 to 1. Received: {value!r}."
        )


def _sides(image_size):
    sides = np.atleast_1d(image_size)
    if sides.shape not in ((1,), (2,)):
        raise ValueError(
            "`image_size` must be one side or (height, width). Received: "
            f"{image_size!r}."
        )
    for side in sides:
        _check_whole("image_size", side)
    return int(sides[0]), int(sides[-1])
