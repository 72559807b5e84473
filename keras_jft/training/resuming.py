"""Beginning in the middle of an epoch of Keras's own `fit`."""

import types

import keras


class PassOver:
    """Stands for a model's train function until the steps done are passed.

    `fit` counts the steps of a resumed epoch from its first. For those that
    were done before, this does nothing, so that the progress bar, the length
    of the epoch and the numbers that callbacks see are those of an epoch that
    was not interrupted.

    Args:
        model: A `keras.Model`, between `on_train_begin` and the first step.
        steps: How many steps to pass over.
        read: Whether to read and drop the batches of these steps: where the
            data cannot begin in the middle.

    Raises:
        ValueError: `steps` is not a multiple of `steps_per_execution`.
    """

    def __init__(self, model, steps, read):
        if steps % model.steps_per_execution:
            raise ValueError(
                "A checkpoint in the middle of an epoch can be resumed where "
                "`steps_per_execution` divides its steps. Received: "
                f"steps_per_execution={model.steps_per_execution}, steps done "
                f"in the epoch: {steps}. Compile with the value of the run."
            )
        self._model, self._left, self._read = model, steps, read
        self._function = model.train_function
        self._logs = {
            name: float(value)
            for name, value in model.get_metrics_result().items()
        }
        model.train_function = self

    def __call__(self, *args):
        """One step: of those passed over, or the model's own.

        Args:
            *args: `iterator`; on JAX `state, iterator`.
        """
        if self._left <= 0:
            self.remove()
            return self._function(*args)
        for _ in range(self._model.steps_per_execution):
            self._left -= 1
            if self._read:
                next(args[-1])
        if keras.backend.backend() == "jax":
            return self._logs, args[0]
        return self._logs

    def remove(self):
        """Gives the model its own train function back."""
        self._model.train_function = self._function


def build_metrics(model, data):
    """Makes the variables of metrics, where the first step would make them.

    Args:
        model: A compiled model.
        data: `(x, y)` as `fit` takes them; `y` is None for a data set.

    Raises:
        ValueError: The metrics are not built and `data` shows no batch.
    """
    if all(getattr(metric, "built", True) for metric in model.metrics):
        return
    batch = _first_batch(data)
    if batch is None:
        raise ValueError(
            "A checkpoint in the middle of an epoch holds metrics, which are "
            "built from a batch. Received: a generator, or a model that is no "
            "`jft.training.Model`. Give `fit` a `tf.data.Dataset`, a "
            "`keras.utils.PyDataset` or arrays, and a `jft.training.Model`."
        )
    x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
    model.compute_metrics(x, y, model(x), weight)
    model.reset_metrics()


def _first_batch(data):
    x, y = data or (None, None)
    if x is None or isinstance(x, types.GeneratorType):
        return None
    if isinstance(x, keras.utils.PyDataset):
        return x[0]
    if y is None and hasattr(x, "element_spec"):
        return next(iter(x))
    return keras.tree.map_structure(lambda array: array[:1], (x, y))


def is_passing_over(model):
    """Whether the step that `fit` has just counted was done before."""
    return isinstance(getattr(model, "train_function", None), PassOver)
