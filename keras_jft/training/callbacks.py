"""Callbacks that watch a run."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_jft.training.checkpoints.resuming import is_passing_over
from keras_jft.training.distribution import jax_layouts
from keras_jft.training.keras_internals import model_of


def as_list(callbacks):
    """Return the argument `callbacks` of `fit` as a list or a tuple."""
    if callbacks is None:
        return []
    callbacks = getattr(callbacks, "callbacks", callbacks)  # A CallbackList.
    return callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]


def without_writers(callbacks):
    """Return the callbacks that do not write log files.

    Args:
        callbacks: The argument of `fit`; a `CallbackList` is returned as it is.

    Returns:
        A list for a process whose logs another process writes.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    return [c for c in callbacks if not isinstance(c, _WRITERS)]


class Logger(keras.callbacks.Callback):
    """A callback that writes a log file."""


_WRITERS = Logger, keras.callbacks.CSVLogger, keras.callbacks.TensorBoard


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Stops training at the first step whose loss is NaN or infinite.

    It also stops after an epoch that leaves NaN or infinity in a weight, which
    the loss may not show: a ReLU turns NaN into 0.

    `Model.fit` puts it before all other callbacks, so that none of them saves
    the damaged weights.
    """

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Remember the epoch for the message."""
        self._epoch = epoch

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Raise `FloatingPointError` if the running loss is not finite."""
        loss = float((logs or {}).get("loss", 0.0))
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} in epoch {self._epoch + 1}, step "
                f"{batch + 1}. Lower the learning rate, clip gradients "
                "(`clipnorm=`), or look for bad values in that batch, such as "
                "multi-hot targets in place of label ids "
                "(`jft.data.label_ids(Y)`)."
            )

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Raise `FloatingPointError` if a weight is not finite."""
        for weight in self.model.weights:
            if not np.all(np.isfinite(jax_layouts.on_host(weight))):
                raise FloatingPointError(
                    f"The weight {weight.path} is not finite after epoch "
                    f"{epoch + 1}, whatever the loss. Look for NaN or infinity "
                    "in the images, or lower the learning rate."
                )


class StepCounter(keras.callbacks.Callback):
    """Counts the steps of a run, over all epochs and interruptions."""

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Read how many steps the optimizer has taken."""
        iterations = self.model.optimizer.iterations
        self._before = int(ops.convert_to_numpy(iterations))
        self._passed = 0  # Steps of this epoch that an earlier run has done.

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Count the step, unless it was done before the run was interrupted."""
        if is_passing_over(model_of(self)):
            self._passed = batch + 1
        else:
            self.on_step(self._before - self._passed + batch + 1, logs or {})

    def on_step(self, step: int, logs: dict[str, Any]) -> None:
        """Do something after a step of the run, counted from 1."""
        raise NotImplementedError


class AtSteps(StepCounter):
    """Calls functions when a run has taken given numbers of steps.

    Args:
        calls: `{step: call}`; `call(step, model, logs)` is called after that
            step, in the order of the steps. Those of steps that an earlier,
            interrupted run has taken are not called.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> seen = []
    >>> call = AtSteps({3: lambda step, model, logs: seen.append(step)})
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> _ = model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[call])
    >>> seen
    [3]
    """

    def __init__(
        self,
        calls: Mapping[int, Callable[[int, keras.Model, dict[str, Any]], Any]],
    ):
        super().__init__()
        self.calls = dict(sorted(calls.items()))
        self._last: int | None = None

    def on_step(self, step: int, logs: dict[str, Any]) -> None:
        """Call what is due: with `steps_per_execution`, also at steps passed.

        A run that begins at a later step has had the calls before it.
        """
        last, self._last = self._last, step
        if last is None:
            last = step - model_of(self).steps_per_execution
        for due in [due for due in self.calls if last < due <= step]:
            self.calls[due](due, self.model, logs)


class Throughput(keras.callbacks.Callback):
    """Adds `images_per_second` to the logs of steps and epochs.

    The progress bar shows it, as do loggers that come later in the list of
    callbacks. The first step, which includes tracing, does not count, nor do
    steps that were done before the run was interrupted.

    Args:
        batch_size: Images per step, over all replicas.
    """

    def __init__(self, batch_size: int):
        super().__init__()
        self.batch_size = batch_size

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Forget the last epoch's steps."""
        self._steps: list = []

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Note when a step (or a group of steps) ended."""
        if not is_passing_over(model_of(self)):
            self._steps = [*self._steps[:1], (batch, time.perf_counter())]
            self._tell(logs)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Write images per second, without validation."""
        self._tell(logs)

    def _tell(self, logs):
        if logs is None or len(self._steps) < 2:
            return
        (first, began), (last, ended) = self._steps
        images = (last - first) * self.batch_size
        logs["images_per_second"] = images / max(ended - began, 1e-9)
