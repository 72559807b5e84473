"""One evaluation: a model and a data set to numbers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_jft import checks, data, metrics

# Task: the entry of a batch that holds its truth.
TRUTH = {
    "multi_label": "labels",
    "classification": "labels",
    "segmentation": "segmentation_masks",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """An evaluation.

    Attributes:
        task: A name in `jft.metrics.METRICS`.
        dataset: A name in `jft.data.DATASETS`.
        options: What its `load` takes besides `split`.
        split: The split to measure on.
        transforms: A name in `jft.data.TRANSFORMS`.
        batch_size: Images a step; the scores do not depend on it.

    Raises:
        ValueError: If `task` is unknown.
    """

    task: str
    dataset: str = "synthetic"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    split: str = "test"
    transforms: str = "none"
    batch_size: int = 128

    def __post_init__(self):
        checks.one_of("task", self.task, TRUTH)


def run(config, model, examples=None):
    """Measures a model by the metric of its task.

    Args:
        config: A `Config`.
        model: A model of that task.
        examples: The data set of `config.dataset`, where it is loaded already.

    Returns:
        `{name: number}`, fractions in [0, 1].
    """
    if examples is None:
        examples = data.load(
            config.dataset, split=config.split, **config.options
        )
    metric = metrics.METRICS[config.task](num_classes=model.num_classes)
    batches = data.iterate(
        examples, batch_size=config.batch_size, transforms=config.transforms
    )
    for batch in batches:
        truth = batch[TRUTH[config.task]]
        metric.update(truth, _predict(model, batch["images"], config))
    return metric.result()


def _predict(model, images, config):
    """Predictions of one batch, which is filled up to save a second trace."""
    missing = config.batch_size - len(images)
    filled = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
    return model.predict_on_batch(filled)[: len(images)]
