"""One evaluation: a model and a data set to numbers.

Truth is that of the images as they are; predictions about transformed images
are moved back to them. So scores do not depend on how images are brought to
the size that a model needs.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_jft import checks, data, metrics
from keras_jft.evaluation import original_pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """An evaluation.

    Attributes:
        task: A name in `jft.metrics.METRICS`.
        dataset: A name in `jft.data.DATASETS`.
        options: What its `load` takes besides `split`.
        split: The split to measure on.
        transforms: A name in `jft.data.TRANSFORMS`, or a tuple of transforms.
        batch_size: Images a step; the scores do not depend on it, unless
            images are padded to the largest of a batch.

    Raises:
        ValueError: If `task` is unknown.
    """

    task: str
    dataset: str = "synthetic"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    split: str = "test"
    transforms: str | tuple = "none"
    batch_size: int = 128

    def __post_init__(self):
        checks.one_of("task", self.task, metrics.METRICS)


def run(config, model, examples=None, duplicates=None):
    """Measures a model by the metric of its task.

    Args:
        config: A `Config`.
        model: A model of that task.
        examples: The data set of `config.dataset`, where it is loaded already.
        duplicates: Ids of examples to leave out of a second set of scores,
            such as `jft.evaluation.duplicates.find` names; none are named by
            an empty sequence.

    Returns:
        `{name: number}`, fractions in [0, 1]. Where `duplicates` is given,
        every name also stands there with `_without_duplicates` behind it, and
        `num_duplicates` is their number.

    Raises:
        ValueError: `duplicates` holds ids that no example has, or all.
    """
    if examples is None:
        examples = data.load(
            config.dataset, split=config.split, **config.options
        )
    task = TASKS[config.task]
    make = functools.partial(
        metrics.METRICS[config.task], **task.options(model, examples.info)
    )
    metric, second = make(), None
    if duplicates is not None:
        second = _Without(make(), duplicates)
    batches = data.iterate(
        examples,
        batch_size=config.batch_size,
        transforms=config.transforms,
        originals=True,
    )
    for batch in batches:
        originals = batch.pop("originals")
        outputs = _predict(model, batch, config.batch_size, task.logits)
        predictions = task.predictions(model, outputs, batch, originals)
        truth = task.truth(originals)
        metric.update(truth, predictions)
        if second:
            second.update(truth, predictions, originals)
    scores = metric.result()
    return {**scores, **second.result()} if second else scores


class _Without:
    """A metric of all examples but some.

    Args:
        metric: What is updated.
        left_out: Ids of those that it does not see.
    """

    def __init__(self, metric, left_out):
        self.metric = metric
        self.left_out = set(np.asarray(left_out).tolist())
        self.seen, self.kept = set(), 0

    def update(self, truth, predictions, originals):
        ids = [np.asarray(example["ids"]).item() for example in originals]
        self.seen.update(self.left_out.intersection(ids))
        rows = [i for i, name in enumerate(ids) if name not in self.left_out]
        self.kept += len(rows)
        if rows:
            self.metric.update(_rows(truth, rows), _rows(predictions, rows))

    def result(self):
        unknown = self.left_out - self.seen
        if unknown or not self.kept:
            raise ValueError(
                "`duplicates` must be ids of examples, and not of all. "
                f"Received {len(self.left_out)}, of which {len(unknown)} are "
                f"of no example ({list(unknown)[:3]}); {self.kept} examples "
                "are left. Give ids of the data set that is evaluated."
            )
        scores = {
            f"{name}_without_duplicates": value
            for name, value in self.metric.result().items()
        }
        return {**scores, "num_duplicates": len(self.left_out)}


def _rows(values, rows):
    """Some rows of truth or predictions: arrays, lists, or dicts of them."""
    if isinstance(values, dict):
        return {key: _rows(value, rows) for key, value in values.items()}
    if isinstance(values, list):
        return [values[i] for i in rows]
    return np.asarray(values)[rows]


def _predict(model, batch, batch_size, logits):
    """Predictions of one batch, which is filled up to save a second trace."""
    size = len(batch["images"])
    filled = {
        key: np.concatenate(
            [batch[key], np.repeat(batch[key][-1:], batch_size - size, axis=0)]
        )
        for key in ("images", "image_sizes")
        if key in batch
    }
    x = filled if "image_sizes" in filled else filled["images"]
    options = {"logits": True} if logits else {}
    outputs = model.predict_on_batch(x, **options)
    return keras.tree.map_structure(lambda array: array[:size], outputs)


# === What differs from task to task ===


def _of_each_image(model, outputs, batch, originals):
    return outputs


def _masks(model, logits, batch, originals):
    return original_pixels.masks(
        logits, batch["placements"], _sizes(originals), model.logits_stride
    )


def _boxes(model, predictions, batch, originals):
    return original_pixels.boxes(
        predictions, batch["placements"], _sizes(originals)
    )


def _keypoints(model, predictions, batch, originals):
    return original_pixels.keypoints(predictions, batch["placements"])


def _sizes(originals):
    return [example["images"].shape[:2] for example in originals]


def _entry(key):
    """The truth that is one entry of a contract batch."""

    def truth(originals):
        return data.collate([{key: e[key]} for e in originals])[key]

    return truth


def _true_masks(originals):
    return [example["segmentation_masks"] for example in originals]


def _num_classes(model, info):
    return {"num_classes": model.num_classes}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """How one task is measured.

    Attributes:
        truth: `truth(originals)`: what the metric's `update` takes as truth,
            of a list of examples as the data set gives them.
        predictions: `predictions(model, outputs, batch, originals)`: what it
            takes as predictions, about the originals.
        logits: Whether `outputs` are the model's raw ones.
        options: `options(model, info)`: the arguments of the metric.
    """

    truth: Callable
    predictions: Callable = _of_each_image
    logits: bool = False
    options: Callable = _num_classes


TASKS = {
    "multi_label": Task(truth=_entry("labels")),
    "classification": Task(truth=_entry("labels")),
    "segmentation": Task(truth=_true_masks, predictions=_masks, logits=True),
    "detection": Task(truth=_entry("bounding_boxes"), predictions=_boxes),
    "pose": Task(truth=_entry("keypoints"), predictions=_keypoints),
}
