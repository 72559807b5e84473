"""`Evaluate`: the metric of the field, measured while a model is fit."""

import keras
import numpy as np

from keras_jft import data
from keras_jft.evaluation import evaluator


class Evaluate(keras.callbacks.Callback):
    """Adds the scores of an evaluation to the logs of epochs.

    Everything behind it in the list of callbacks sees them, such as
    `jft.training.Checkpoint(best="val_miou")`, `keras.callbacks.CSVLogger` or
    `EarlyStopping`; and the `History` does. Of an epoch that is not measured
    the scores are nan. All workers of a strategy take part.

    Args:
        config: A `jft.evaluation.Config`.
        examples: The data set of `config.dataset`, where it is loaded already.
        every: Epochs between two measurements; the last epoch is measured.
        prefix: What the names in the logs begin with.

    Raises:
        ValueError: If `every` is not positive.

    Example:

    >>> config = keras_jft.evaluation.Config(task="segmentation")
    >>> callbacks = [
    ...     Evaluate(config, every=5),
    ...     keras_jft.training.Checkpoint("run/", best="val_miou"),
    ... ]
    """

    def __init__(self, config, examples=None, *, every=1, prefix="val_"):
        super().__init__()
        if every < 1:
            raise ValueError(
                f"`every` must be 1 or more epochs. Received: every={every}."
            )
        self.config, self.every, self.prefix = config, every, prefix
        self._examples = examples

    def on_train_begin(self, logs=None):
        """Loads the data set, so that a mistake shows before training."""
        if self._examples is None:
            self._examples = data.load(
                self.config.dataset,
                split=self.config.split,
                **self.config.options,
            )

    def on_epoch_end(self, epoch, logs=None):
        """Measures, and writes the scores into the logs."""
        last = epoch + 1 == self.params.get("epochs")
        if (epoch + 1) % self.every == 0 or last:
            scores = evaluator.run(self.config, self.model, self._examples)
        else:  # Those of a metric that saw nothing are nan.
            info = self._examples.info
            scores = evaluator.metric(self.config, self.model, info).result()
        numbers = {
            f"{self.prefix}{name}": float(value)
            for name, value in scores.items()
            if np.ndim(value) == 0
        }
        if logs is not None:
            logs.update(numbers)
