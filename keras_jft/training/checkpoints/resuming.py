"""Start Keras's own `fit` in the middle of an epoch."""

import keras

from keras_jft.training import keras_internals


def source(data):
    """Return the object that has the position in `data`, or None.

    Args:
        data: The result of `jft.data.batches` or `iterate`, also after `map`,
            `prefetch` and `with_options` of `tf.data`, which keep the number
            and order of elements. After `take`, `batch`, `repeat` and others,
            the position cannot be known.
    """
    while True:
        found = getattr(data, "source", data)
        if hasattr(found, "position") and hasattr(found, "identity"):
            return found
        if type(data).__name__ not in keras_internals.ELEMENT_BY_ELEMENT:
            return None
        [data] = keras_internals.datasets_before(data)


class PassOver:
    """Replaces a model's train function until all finished steps are passed.

    `fit` counts the steps of a resumed epoch from its first one. For steps that
    were done before the interruption, this does nothing, so the progress bar,
    the length of the epoch and the step numbers that callbacks see are those of
    an uninterrupted epoch.

    On TensorFlow a model may build its metrics in its first step. That step is
    then taken on a batch that was already seen, and undone by `restore`.

    Args:
        model: A `keras.Model`, between `on_train_begin` and the first step.
        steps: How many steps to pass over.
        read: Whether to read and drop the batches of these steps, because the
            data cannot start in the middle.
        restore: Function that restores the whole state, metrics included.
        is_built: Whether the metrics are built. If not, the data must start
            with the batches of the first step to pass over, whatever `read` is.

    Raises:
        ValueError: `steps` is not a multiple of `steps_per_execution`.
    """

    def __init__(self, model, steps, *, read, restore, is_built):
        if steps % model.steps_per_execution:
            raise ValueError(
                "A checkpoint in the middle of an epoch can be resumed where "
                "`steps_per_execution` divides its steps. Received: "
                f"steps_per_execution={model.steps_per_execution}, steps done "
                f"in the epoch: {steps}. Compile with the value of the run."
            )
        self._model, self._left, self._read = model, steps, read
        self._function, self._restore = model.train_function, restore
        self._logs = None
        if is_built:
            self._restore_state()
        model.train_function = self

    def __call__(self, *args):
        """Take one step: one that is passed over, or the model's own.

        Args:
            *args: `iterator`; on JAX `state, iterator`.
        """
        if self._left <= 0:
            self.remove()
            return self._function(*args)
        self._left -= self._model.steps_per_execution
        if self._logs is None:
            self._function(*args)
            self._restore_state()
        elif self._read:
            for _ in range(self._model.steps_per_execution):
                next(args[-1])
        if keras.backend.backend() == "jax":
            return self._logs, args[0]
        return self._logs

    def remove(self):
        """Give the model its own train function back."""
        self._model.train_function = self._function

    def _restore_state(self):
        self._restore()
        self._logs = {
            name: float(value)
            for name, value in self._model.get_metrics_result().items()
        }


def is_passing_over(model):
    """Return whether the step that `fit` just counted was passed over."""
    return isinstance(getattr(model, "train_function", None), PassOver)
