"""Asynchronous training behind `fit`, with parameter servers.

The chief runs Keras's own training loop and its callbacks. Where the loop would
take a step, the chief schedules one for any worker that is free:

1. `driving` replaces the model's train function by a `Driver`, and gives `fit`
   the numbers of the steps in place of the data.
2. The driver schedules a step (`Driver.__call__`). Each worker has at most
   `STEPS_PER_WORKER` at a time; if all are busy, the driver waits.
3. The worker reads the weights w from the servers, computes the gradient g(w)
   of a batch of its own, and the servers apply it (`train_step`).
4. The driver adds the metrics of finished steps to its own and checks their
   losses (`Driver._collect`). Keras sees them in the logs of a later step.

This is Downpour SGD (Dean et al., section 4.1, with n_fetch = n_push = 1).
While a worker computes, others update w, so the servers apply stale gradients:
w_{t+1} = w_t - rate g(w_{t-s}), where s is about W - 1 with W workers.

Each step is taken at least once: if its worker dies, another one takes it.

References:
    Dean et al. 2012, "Large Scale Distributed Deep Networks" (Downpour SGD).
    Sun et al. 2017, section 4.1 (50 workers, 17 servers).
"""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import threading
import time

import keras
import numpy as np
from keras import tree

from keras_jft.training import keras_internals
from keras_jft.training.distribution import replicas, worker_data

STEPS_PER_WORKER = 2
"""Steps that a worker has at a time: the current one, and the next."""
PATIENCE = 20
"""Seconds that a run waits at its end for unfinished steps."""


@contextlib.contextmanager
def driving(model, given, pairs, options):
    """Yield `(x, y)` for `keras.Model.fit` while workers train `model`.

    Under other strategies, they are `pairs`, unchanged.

    Args:
        model: A compiled `keras_jft.training.Model`.
        given: The argument `x` of `fit`, as the user passed it.
        pairs: `(x, y)`, converted for Keras.
        options: The other arguments of `fit`; those about data are removed.

    Raises:
        ValueError: Workers cannot use the data or an argument.
        RuntimeError: The connection to a parameter server was lost.
    """
    if not replicas.is_asynchronous(model):
        yield pairs
        return
    import tensorflow as tf

    _check(model, options)
    source = getattr(given, "source", None)
    data, spec = _worker_data(model, given, pairs, options)
    steps = options.pop("steps_per_epoch", None) or data.steps
    if steps is None:
        raise ValueError(
            "`steps_per_epoch` is required for a data set of unknown length. "
            "Received: steps_per_epoch=None."
        )
    model._asynchronous = Driver(model, data, spec, source)
    model.train_function = model._asynchronous
    try:
        yield tf.data.Dataset.range(steps), None
    finally:
        model._asynchronous.close()
        model.train_function = model._asynchronous = None


def _check(model, options):
    for name in ("validation_split", "class_weight"):
        if options.get(name):
            raise ValueError(
                f'`{name}` does not work under "parameter_server". Received: '
                f"{name}={options[name]}. Instead, pass `validation_data`, or "
                "weights in the data."
            )
    optimizer = model.optimizer
    unfit = {
        "loss scaling": hasattr(optimizer, "inner_optimizer"),
        "use_ema": optimizer.use_ema,
        "gradient_accumulation_steps": optimizer.gradient_accumulation_steps,
        "constraints": any(v.constraint for v in model.trainable_variables),
    }
    for name, used in unfit.items():
        if used:
            raise ValueError(
                "Workers that update the same variables at the same time "
                f"cannot use {name}. Received: {optimizer!r}. Leave it out."
            )


def _worker_data(model, given, pairs, options):
    """Return the `WorkerData`, and the `tf.TensorSpec`s of a batch."""
    import tensorflow as tf

    batch_size = options.pop("batch_size", None)
    weight = options.pop("sample_weight", None)
    shuffle = options.pop("shuffle", True)
    options["shuffle"] = False  # Keras is given the numbers of the steps.
    if batch_size is not None:
        options.setdefault("validation_batch_size", batch_size)
    x, y = pairs
    if getattr(given, "source", None) is not None:
        data = worker_data.from_source(given.source, given.element_spec)
        build = data.build
        data = dataclasses.replace(
            data, build=lambda start: model._pairs(build(start), None)[0]
        )
        return data, x.element_spec
    if isinstance(x, tf.data.Dataset):
        return worker_data.from_dataset(x), x.element_spec
    arrays = keras.utils.pack_x_y_sample_weight(x, y, weight)
    arrays = arrays if isinstance(arrays, tuple) else (arrays,)
    return worker_data.from_arrays(arrays, batch_size, shuffle)


class Driver:
    """The train function of a model, which schedules steps for workers.

    The chief counts the steps, and writes the count to `optimizer.iterations`:
    the schedule of the learning rate follows it. Workers compute the metrics of
    their batches, and the driver adds them up.

    Args:
        model: A compiled model.
        data: `WorkerData` of `(x, y)` pairs.
        spec: `tf.TensorSpec`s of a batch.
        source: An object with the `position` in the data, or None.
    """

    def __init__(self, model, data, spec, source):
        import tensorflow as tf

        strategy = keras_internals.strategy_of(model)
        self.spec = spec
        self._model, self._data, self._source = model, data, source
        self._coordinator = tf.distribute.coordinator.ClusterCoordinator(
            strategy
        )
        resolver = keras_internals.cluster_resolver(strategy)
        workers = resolver.cluster_spec().num_tasks("worker")
        self._window = STEPS_PER_WORKER * workers
        # The steps under way: `{future: (remote value, number of the step)}`.
        self._pending = {}
        self._iterators = None
        self._done = False  # Whether a step of this epoch is finished.

    def __call__(self, iterator):
        """Schedule the next step of Keras's loop, or `steps_per_execution`.

        Args:
            iterator: Iterator over the numbers of the steps in the epoch.

        Returns:
            The logs of the steps of this epoch that are finished.
        """
        import tensorflow as tf

        model = self._model
        numbers = itertools.islice(iterator, model.steps_per_execution)
        for number in map(int, numbers):
            if self._iterators is None:  # The first step of `fit`.
                self._begin(number)
            # Step 0 begins an epoch, whose metrics Keras has reset.
            self._done = self._done and number > 0
            # Wait while every worker has as many steps as it may have.
            while len(self._pending) >= self._window:
                self._collect(concurrent.futures.FIRST_COMPLETED)
            remote = self._coordinator.schedule(
                self._step,
                args=(self._iterators, tf.constant(self._count, tf.int64)),
            )
            # Count the step now, before it is finished.
            self._count += 1
            self._wait_for(remote, self._count)
            model.optimizer.iterations.assign(self._count)
        # Add the steps that are finished by now to the logs, without waiting.
        self._collect(concurrent.futures.FIRST_COMPLETED, timeout=0)
        return model.get_metrics_result() if self._done else {}

    def join(self):
        """Wait until all scheduled steps are finished."""
        while self._pending:
            self._collect(concurrent.futures.ALL_COMPLETED)

    def close(self):
        """End the run; unfinished steps are still taken, but not counted."""
        # If a server is lost, `_finish` may never return.
        joining = threading.Thread(target=self._finish, daemon=True)
        joining.start()
        joining.join(timeout=PATIENCE)
        if self._source is not None and self._iterators is not None:
            self._source.position = self._count + self._offset

    def _finish(self):
        with contextlib.suppress(Exception):
            self._coordinator.join()

    def _begin(self, number):
        import tensorflow as tf

        model = self._model
        # If the run was resumed, the position in the data and the number of
        # steps may have started from different values.
        self._count = int(model.optimizer.iterations)
        start = number if self._source is None else self._source.position
        self._offset = start - self._count
        count = model.optimizer.iterations.value

        def build():
            # A restarted worker begins at the run's current step.
            dataset = self._data.build(count.read_value() + self._offset)
            return dataset.prefetch(tf.data.AUTOTUNE)

        self._iterators = iter(
            self._coordinator.create_per_worker_dataset(build)
        )
        self._metrics = list(replicas.metric_variables(model))
        self._step = tf.function(self._on_worker, reduce_retracing=True)

    def _on_worker(self, iterator, count):
        strategy = keras_internals.strategy_of(self._model)
        return strategy.run(
            self._model.train_step, (count, self._metrics, next(iterator))
        )

    def _wait_for(self, remote, count, delay=0.0):
        future = concurrent.futures.Future()

        def fetch():  # Blocks until the step is finished.
            time.sleep(delay)
            try:
                future.set_result(remote.fetch())
            except Exception as error:
                future.set_exception(error)

        # Not in a pool: at its exit, a process waits for its pools.
        threading.Thread(target=fetch, daemon=True).start()
        self._pending[future] = remote, count

    def _collect(self, when, timeout=None):
        done, _ = concurrent.futures.wait(
            self._pending, timeout=timeout, return_when=when
        )
        for future in done:
            remote, count = self._pending.pop(future)
            if future.exception() is not None:
                self._coordinator.done()  # Raises if the run must end.
                # Otherwise the worker died before its result was read, and the
                # coordinator gives the step to another one: wait again.
                self._wait_for(remote, count, delay=0.2)
                continue
            loss, states = future.result()
            if not np.isfinite(loss):
                raise FloatingPointError(
                    f"The loss is {loss} in step {count} of the run. Lower the "
                    "learning rate, clip gradients (`clipnorm=`), or look for "
                    "bad values in the data."
                )
            # The state of a metric is a sum over batches.
            for variable, more in zip(self._metrics, states, strict=True):
                variable.assign_add(more)
            self._done = True


def train_step(model, *args):
    """Take a step on a worker.

    Args:
        model: The model.
        *args: The number of the step, for the learning rate; the variables of
            the metrics; a batch.

    Returns:
        The loss, and what the batch adds to the variables of the metrics.

    Raises:
        ValueError: `fit` did not schedule this step.
    """
    import tensorflow as tf

    if len(args) == 1:
        raise ValueError(
            'Under "parameter_server" a model is trained by `fit`. Received: '
            "a call of `train_on_batch`."
        )
    count, metrics, data = args
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    with tf.GradientTape() as tape:
        y_pred = model(x, training=True)
        loss = model.compute_loss(x, y, y_pred, weight, training=True)
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    optimizer = model.optimizer
    # With the chief's count: if workers incremented `iterations` at the same
    # time, increments would be lost.
    with keras.StatelessScope([(optimizer.iterations, count)]):
        optimizer.apply(gradients, variables)
    # Metrics start from zero, so their state is what this batch adds.
    zeros = [(v, tf.zeros(v.shape, v.dtype)) for v in metrics]
    with keras.StatelessScope(zeros) as scope:
        size = tf.shape(tree.flatten(x)[0])[0]
        tracker = keras_internals.loss_tracker(model)
        tracker.update_state(loss, sample_weight=size)
        model.compute_metrics(x, y, y_pred, weight)
        return loss, [scope.get_current_value(v) for v in metrics]


def symbolic_build(model, iterator, data_batch):
    """Build losses and metrics, and move the metrics to the chief.

    Variables that are made in the scope of the strategy are on the servers, but
    only the chief reads and writes metrics.
    """
    import tensorflow as tf

    if model._asynchronous is not None and not model._evaluating:
        iterator, data_batch = None, model._asynchronous.spec
    replicas.symbolic_build(model, iterator, data_batch)
    for metric in model.metrics:
        for variable in metric.variables:
            if "/job:ps" in variable.value.device:
                value = tf.Variable(variable.numpy())
                keras_internals.move_variable(variable, value)


def local_strategy():
    """Return TensorFlow's default strategy, that of one process.

    Raises:
        ValueError: It is called in the scope of another strategy.
    """
    import tensorflow as tf

    if tf.distribute.has_strategy():
        raise ValueError(
            'Under "parameter_server", `fit`, `evaluate` and `predict` must be '
            "called outside `strategy.scope()`. Make the model inside, then "
            "leave the scope."
        )
    return tf.distribute.get_strategy()
