"""Evaluate a model on a data set.

Scores are computed on the original images: predictions on transformed images
are mapped back to the originals. Scores therefore do not depend on how images
are brought to the size that a model needs.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from keras_jft import checks, data, metrics, transfer
from keras_jft.data.dataset import Dataset
from keras_jft.evaluation import original_pixels, poses
from keras_jft.text import number_of
from keras_jft.typing import Arrays


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The config of an evaluation.

    Attributes:
        task: A name in `jft.metrics.METRICS`; None: the task of the model's
            head.
        dataset: A name in `jft.data.DATASETS`.
        options: Arguments of its `load` other than `split`.
        split: The split to measure on.
        transforms: A name in `jft.data.TRANSFORMS`, or a tuple of transforms.
        batch_size: Images per step. Scores do not depend on it, unless images
            are padded to the largest in a batch.
        metric_options: Arguments of the metric; they override those derived
            from the data set and model, such as `torso` or `sigmas` for "pose".
        map_weights: Of "multi_label": how much each class counts in a second
            score, `weighted_map`: "equal", without one; "frequency", as many
            images as the split "train" has; or the counts of another split, or
            of a mapping with `dataset`, `options` and `split`. Classes are
            matched by name; one that is not there counts nothing.

    Raises:
        ValueError: If a name or an option is unknown, or a value is of another
            kind or out of range.
    """

    task: str | None = None
    dataset: str = "synthetic"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    split: str | None = "test"
    transforms: str | tuple = "none"
    batch_size: int = 128
    metric_options: Mapping[str, Any] | None = dataclasses.field(
        default=None, metadata={"added": True}
    )
    map_weights: str | Mapping[str, Any] = dataclasses.field(
        default="equal", metadata={"added": True}
    )

    def __post_init__(self) -> None:
        checks.fields(self)
        self._check_map_weights()
        if self.task is not None:
            checks.one_of("task", self.task, metrics.METRICS)
            _check_metric_options(self, self.task)
        elif not any(map(self._are_options_of, metrics.METRICS.values())):
            raise ValueError(
                "`metric_options` must be those of the metric of one task. "
                f"Received: {list(self.metric_options or {})}. Give the `task`."
            )
        checks.within(self, 1, math.inf, "batch_size")
        data.check_options(self.dataset, self.options, split=self.split)
        shown = data.annotated_for(self.dataset, self.options)
        # Labels may be had from a hierarchy or from boxes, masks from masks
        # alone. A synthetic data set has what its options say.
        is_open = None in (shown, self.task) or self.dataset == "synthetic"
        tasks = {shown, self.task}
        if not is_open and len(tasks) > 1 and "segmentation" in tasks:
            raise ValueError(
                f"`task` must be {shown!r}, what {self.dataset!r} is "
                f"annotated for. Received: {self.task!r}."
            )
        data.check_transforms(self.transforms)

    def _are_options_of(self, metric):
        taken = inspect.signature(metric).parameters
        return all(name in taken for name in self.metric_options or {})

    def _check_map_weights(self):
        if self.map_weights == "equal":
            return
        if self.task not in (None, "multi_label"):
            raise ValueError(
                "`map_weights` are for the task 'multi_label'. Received: "
                f"task={self.task!r}."
            )
        if (self.metric_options or {}).get("variant") == "B":
            raise ValueError(
                "`map_weights` weigh the precision of each class, which "
                'variant "B" of the metric does not have. Choose "A" or "C".'
            )
        data.check_map_weights(self.map_weights)


def run(
    config: Config,
    model: keras.Model,
    examples: Dataset | None = None,
    duplicates: Arrays | None = None,
) -> dict[str, Any]:
    """Measure a model by the metric of its task.

    Args:
        config: A `Config`.
        model: A model of that task.
        examples: The data set of `config.dataset`, if it is already loaded.
        duplicates: Ids of examples to leave out of a second set of scores,
            such as those that `jft.evaluation.duplicates.find` returns; ids of
            images if several examples share an image. An empty sequence means
            that there are no duplicates.

    Returns:
        `{name: number}`, fractions in [0, 1]. If `duplicates` is given, there
        is also a `<name>_without_duplicates` for every name, and
        `num_duplicates`.

    Raises:
        ValueError: If `duplicates` has ids that no example has, or all ids.
    """
    examples = _examples(config, examples)
    scores: list[_Scores | _Without]
    scores = [_Scores(config, model, examples.info)]
    if duplicates is not None:
        scores.append(_Without(config, model, examples.info, duplicates))
    for originals, predictions in predict(config, model, examples):
        for part in scores:
            part.update(originals, predictions)
    return {
        name: value for part in scores for name, value in part.result().items()
    }


def predict(config, model, examples):
    """Yield predictions on the original images of a data set, by batch.

    Args:
        config: A `Config`.
        model: A model of its task.
        examples: The data set.

    Yields:
        Pairs of a list of examples as the data set returns them, and the
        predictions on them in the form that the task's metric takes.
    """
    task = TASKS[_task_of(config, model)]
    batches = data.iterate(
        examples,
        batch_size=config.batch_size,
        transforms=config.transforms,
        originals=True,
    )
    for batch in batches:
        originals = batch.pop("originals")
        outputs = _predict(model, batch, config.batch_size, task.logits)
        yield originals, task.predictions(model, outputs, batch, originals)


def predictions(
    config: Config, model: keras.Model, examples: Dataset | None = None
) -> Iterable[tuple[Any, Any]]:
    """Return the ground truth and the predictions on the original images.

    Args:
        config: A `Config`.
        model: A model of that task.
        examples: The data set of `config.dataset`, if it is already loaded.

    Returns:
        An iterable of pairs of truth and predictions, as the `update` of the
        task's metric takes them.
    """
    examples, task = _examples(config, examples), TASKS[_task_of(config, model)]
    found = predict(config, model, examples)
    pairs = ((task.truth(originals), p) for originals, p in found)
    return (
        pairs if task.gathered is None else task.gathered(pairs, examples.info)
    )


def metric(config, model, info):
    """Return a new metric for a config's task.

    Args:
        config: A `Config`.
        model: A model of that task.
        info: `info` of the data set.
    """
    task = _task_of(config, model)
    _check_metric_options(config, task)
    options = dict(TASKS[task].options(model, info))
    options |= config.metric_options or {}
    return metrics.METRICS[task](**options)


def _check_metric_options(config, task):
    """Raise a `ValueError` unless the metric of a task takes the options."""
    checks.keywords(
        "metric_options", config.metric_options or {}, metrics.METRICS[task]
    )


def weighted_mean(scores, weights):
    """Return the weighted mean of the scores that are not nan; or nan."""
    counted = np.isfinite(scores)
    total = weights[counted].sum()
    return (
        float(weights[counted] @ scores[counted] / total) if total else np.nan
    )


def _task_of(config, model):
    """Return the task of a config, or that of the model's head.

    Args:
        config: A `Config`.
        model: A model.

    Raises:
        ValueError: If the config has none and the model is not one of
            `jft.transfer.HEADS`.
    """
    if config.task is not None:
        return config.task
    for head in transfer.HEADS.values():
        if isinstance(model, head.build):
            return head.task
    raise ValueError(
        f"A {type(model).__name__} does not say what its task is. Give `task`, "
        f"one of {list(metrics.METRICS)}."
    )


def _examples(config, examples):
    if examples is not None:
        return examples
    return data.load(config.dataset, split=config.split, **config.options)


class _Scores:
    """The metric of a task, updated with examples and predictions."""

    def __init__(self, config, model, info):
        self.task, self.info = TASKS[_task_of(config, model)], info
        self.metric = metric(config, model, info)
        self.weights = data.class_weights(
            config.map_weights, info, config.dataset, config.options
        )
        self.pairs = []

    def update(self, originals, predictions):
        pair = self.task.truth(originals), predictions
        if self.task.gathered is None:
            self.metric.update(*pair)
        else:  # Pairs hold no images, so they are small enough to keep.
            self.pairs.append(pair)

    def result(self):
        if self.task.gathered is not None:
            pairs = self.task.gathered(self.pairs, self.info)
            return self.metric.evaluate(pairs)
        result = self.metric.result()
        if self.weights is not None:
            weighted = weighted_mean(result["per_class"], self.weights)
            result = {"weighted_map": weighted, **result}
        return result


class _Without:
    """Scores of all examples except some.

    Args:
        config: A `Config`.
        model: A model of its task.
        info: `info` of the data set.
        left_out: Ids of the examples to leave out.
    """

    def __init__(self, config, model, info, left_out):
        self.left_out = set(np.asarray(left_out).tolist())
        self.seen, self.kept = set(), 0
        if info.people:
            # Ids of images whose people have no crop are valid, too.
            self.seen |= self.left_out & info.people.keys()
            people = {
                image: everyone
                for image, everyone in info.people.items()
                if image not in self.left_out
            }
            info = dataclasses.replace(info, people=people)
        self.scores = _Scores(config, model, info)

    def update(self, originals, predictions):
        ids = [
            np.asarray(example.get("image_ids", example["ids"])).item()
            for example in originals
        ]
        self.seen.update(self.left_out.intersection(ids))
        rows = [i for i, name in enumerate(ids) if name not in self.left_out]
        self.kept += len(rows)
        if rows:
            self.scores.update(
                [originals[i] for i in rows], _rows(predictions, rows)
            )

    def result(self):
        unknown = self.left_out - self.seen
        if unknown:
            raise ValueError(
                "`duplicates` must be ids of examples that are evaluated. "
                f"Received {number_of(len(self.left_out), 'id')}, of which "
                f"{len(unknown)} belong to no example ({list(unknown)[:3]})."
            )
        if not self.kept:
            raise ValueError(
                f"All {number_of(len(self.left_out), 'example')} that are "
                "evaluated are in `duplicates`, near-duplicates of images of "
                "the pre-training: no score would say anything about new "
                "images. Evaluate on others, or pre-train without these."
            )
        scores = {
            f"{name}_without_duplicates": value
            for name, value in self.scores.result().items()
        }
        return {**scores, "num_duplicates": len(self.left_out)}


def _rows(values, rows):
    """Return some rows of predictions: arrays, lists, or dicts of them."""
    if isinstance(values, dict):
        return {key: _rows(value, rows) for key, value in values.items()}
    if isinstance(values, list):
        return [values[i] for i in rows]
    return np.asarray(values)[rows]


def _predict(model, batch, batch_size, logits):
    """Return the predictions of a batch, padded to avoid a second trace."""
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
    """Return a function to the truth that is one entry of a contract batch."""

    def truth(originals):
        return data.collate([{key: e[key]} for e in originals])[key]

    return truth


def _true_masks(originals):
    return [example["segmentation_masks"] for example in originals]


def _num_classes(model, info):
    return {"num_classes": model.num_classes}


def _keypoint_options(model, info):
    return {
        "num_classes": model.num_keypoints,
        "sigmas": info.sigmas,
        "keypoint_names": info.keypoint_names,
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """How one task is measured.

    Attributes:
        truth: `truth(originals)` returns the truth for the metric's `update`,
            from a list of examples as the data set returns them.
        predictions: `predictions(model, outputs, batch, originals)` returns
            the predictions for it, on the originals.
        logits: Whether `outputs` are the model's raw outputs.
        options: `options(model, info)` returns the arguments of the metric.
        gathered: `gathered(pairs, info)` combines all pairs of truth and
            predictions into those that the metric takes. None passes on each
            pair as it comes.
    """

    truth: Callable
    predictions: Callable = _of_each_image
    logits: bool = False
    options: Callable = _num_classes
    gathered: Callable | None = None


TASKS = {
    "multi_label": Task(truth=_entry("labels")),
    "classification": Task(truth=_entry("labels")),
    "segmentation": Task(truth=_true_masks, predictions=_masks, logits=True),
    "detection": Task(truth=_entry("bounding_boxes"), predictions=_boxes),
    "pose": Task(
        truth=poses.people,
        predictions=_keypoints,
        options=_keypoint_options,
        gathered=poses.by_image,
    ),
}
