"""Measure a task's own metric during `fit`, and keep what was reached."""

import hashlib
from typing import Any

import keras
import numpy as np

from keras_jft import data, files, metrics, training
from keras_jft.data.dataset import Dataset
from keras_jft.evaluation import evaluator
from keras_jft.text import without_addresses
from keras_jft.typing import PathLike


class Evaluate(keras.callbacks.Callback):
    """Adds the scores of an evaluation to the logs of each epoch.

    Every callback after it in the list sees these scores, such as
    `jft.training.Checkpoint(best="val_miou")`, `keras.callbacks.CSVLogger` or
    `EarlyStopping`, and so does the `History`. In an epoch that is not
    measured, they are nan. All workers of a strategy take part.

    Args:
        config: A `jft.evaluation.Config`.
        examples: The data set of `config.dataset`, if it is already loaded.
        every: Number of epochs between two measurements; the last epoch is
            always measured.
        prefix: Prefix of the names in the logs.

    Raises:
        ValueError: If `every` is not positive.

    Example:

    >>> config = keras_jft.evaluation.Config(task="segmentation")
    >>> callbacks = [
    ...     Evaluate(config, every=5),
    ...     keras_jft.training.Checkpoint("run/", best="val_miou"),
    ... ]
    """

    def __init__(
        self,
        config: evaluator.Config,
        examples: Dataset | None = None,
        *,
        every: int = 1,
        prefix: str = "val_",
    ):
        super().__init__()
        if every < 1:
            raise ValueError(
                f"`every` must be 1 or more epochs. Received: every={every}."
            )
        self.config, self.every, self.prefix = config, every, prefix
        self._examples: Any = examples

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Load the data set, so that mistakes show before training."""
        if self._examples is None:
            self._examples = data.load(
                self.config.dataset,
                split=self.config.split,
                **self.config.options,
            )

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Measure the model, and add the scores to the logs."""
        last = epoch + 1 == self.params.get("epochs")
        if (epoch + 1) % self.every == 0 or last:
            scores = evaluator.run(self.config, self.model, self._examples)
        else:  # The scores of a metric without updates are nan.
            info = self._examples.info
            scores = evaluator.metric(self.config, self.model, info).result()
            if self.config.map_weights != "equal":
                scores = {"weighted_map": np.nan, **scores}
        numbers = {
            f"{self.prefix}{name}": float(value)
            for name, value in scores.items()
            if np.ndim(value) == 0
        }
        if logs is not None:
            logs.update(numbers)


def run_callbacks(
    directory: PathLike,
    config: Any,
    evaluation: evaluator.Config | None = None,
    examples: Dataset | None = None,
    *,
    every: int = 1,
    tensorboard: bool = False,
) -> list[keras.callbacks.Callback]:
    """Return callbacks for a run that survives whatever stops it.

    It checkpoints and goes on by itself, is measured by its task's own metric
    after every epoch, and keeps the best epoch.

    Args:
        directory: Folder of the checkpoints of all runs, one folder for each
            `config`: a run with other settings begins anew.
        config: What the run is made of, such as a `jft.transfer.Config`.
        evaluation: How to measure it; None: not at all.
        examples: The data set of `evaluation`, if it is already loaded.
        every: Number of epochs between two measurements.
        tensorboard: Whether to write logs for TensorBoard, too.

    Returns:
        A list for `fit(callbacks=...)`.

    Example:

    >>> import tempfile
    >>> config = keras_jft.transfer.Config()
    >>> [saves] = run_callbacks(tempfile.mkdtemp(), config)
    >>> type(saves).__name__
    'Checkpoint'
    """
    identity = without_addresses(repr(config))
    name = hashlib.sha256(identity.encode()).hexdigest()[:12]
    folder = files.as_path("directory", directory, "run/") / name
    found: list[keras.callbacks.Callback] = []
    best = None
    if evaluation is not None:
        found.append(Evaluate(evaluation, examples, every=every))
        best = f"val_{metrics.METRICS[str(evaluation.task)].score}"
    if tensorboard:
        files.check_local("directory", directory, "run/")
        found.append(keras.callbacks.TensorBoard(folder / "tensorboard"))
    return [*found, training.Checkpoint(folder, best=best)]
