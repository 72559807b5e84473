"""Train asynchronously behind `fit`: workers take steps when they can.

The chief runs Keras's own loop with its callbacks. Where Keras would take a
step, the chief schedules one for any worker that is free:

1. `driving` puts a `Driver` in the place of the model's train function and
   gives `fit` the numbers of the steps in place of the data;
2. the driver schedules a step (`Driver.__call__`), at most `STEPS_PER_WORKER`
   per worker at a time, and waits where there are more;
3. the worker reads the weights from the servers, computes the gradients of a
   batch of its own and lets the servers apply them (`train_step`), while the
   others do the same with weights that may be a few steps older;
4. the driver adds the metrics of steps that are done to its own and checks
   their losses (`Driver._collect`); Keras sees them in the logs of a later
   step.

A step is taken at least once: if its worker dies, another one takes it.

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
"""Steps that a worker has at a time: the one it takes, and the next."""
PATIENCE = 20
"""Seconds that a run waits at its end for steps that are not done."""


@contextlib.contextmanager
def driving(model, given, pairs, options):
    """Yield what `keras.Model.fit` is given while workers train `model`.

    Under other strategies, these are `pairs` as they are.

    Args:
        model: A compiled `keras_jft.training.Model`.
        given: `x` as `fit` was given it.
        pairs: `(x, y)` as Keras takes them.
        options: Other arguments of `fit`; those about the data are removed.

    Raises:
        ValueError: The data or an argument cannot be used by workers.
        RuntimeError: A parameter server is lost.
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
            "An epoch of a data set of unknown length needs `steps_per_epoch`. "
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
                f"{name}={options[name]}. Give `validation_data`, or weights "
                "in the data, instead."
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
                f"cannot use {name}. Received: {optimizer!r}. Take it out."
            )


def _worker_data(model, given, pairs, options):
    """Return what workers read, and the `tf.TensorSpec`s of a batch."""
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
    """Train function of a model that schedules steps for workers.

    The chief counts the steps: the schedule of the learning rate follows its
    count, which is written to `optimizer.iterations`. Workers compute metrics
    batch by batch, and they are added up here.

    Args:
        model: A compiled model.
        data: `WorkerData` of Keras's pairs.
        spec: `tf.TensorSpec`s of a batch.
        source: What has the position in the data, if anything has.
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
        self._pending = {}  # Future of a step: its remote value and count.
        self._iterators = None
        self._done = False  # Whether any step of the epoch is.

    def __call__(self, iterator):
        """Schedule a step (or `steps_per_execution`) of Keras's loop.

        Args:
            iterator: Iterator over the numbers of the steps in the epoch.

        Returns:
            The logs of the steps of the epoch that are done.
        """
        import tensorflow as tf

        model = self._model
        numbers = itertools.islice(iterator, model.steps_per_execution)
        for number in map(int, numbers):
            if self._iterators is None:  # The first step of `fit`.
                self._begin(number)
            # Step 0 begins an epoch, whose metrics Keras has reset.
            self._done = self._done and number > 0
            # Wait while every worker has as many as it may have.
            while len(self._pending) >= self._window:
                self._collect(concurrent.futures.FIRST_COMPLETED)
            remote = self._coordinator.schedule(
                self._step,
                args=(self._iterators, tf.constant(self._count, tf.int64)),
            )
            # Steps that are being taken count, too.
            self._count += 1
            self._wait_for(remote, self._count)
            model.optimizer.iterations.assign(self._count)
        # What is done by now goes into the logs, without waiting.
        self._collect(concurrent.futures.FIRST_COMPLETED, timeout=0)
        return model.get_metrics_result() if self._done else {}

    def join(self):
        """Wait until all steps that were scheduled are done."""
        while self._pending:
            self._collect(concurrent.futures.ALL_COMPLETED)

    def close(self):
        """End the run; steps that are not done are taken, but forgotten."""
        # If a server is lost, this may never return.
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
        # In a resumed run, batches and steps may be counted from other starts.
        self._count = int(model.optimizer.iterations)
        start = number if self._source is None else self._source.position
        self._offset = start - self._count
        count = model.optimizer.iterations.value

        def build():
            # A worker that is started again begins at the run's current step.
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

        def fetch():  # Blocks until the step is done.
            time.sleep(delay)
            try:
                future.set_result(remote.fetch())
            except Exception as error:
                future.set_exception(error)

        # Not in a pool: a process waits for its pools when it ends.
        threading.Thread(target=fetch, daemon=True).start()
        self._pending[future] = remote, count

    def _collect(self, when, timeout=None):
        done, _ = concurrent.futures.wait(
            self._pending, timeout=timeout, return_when=when
        )
        for future in done:
            remote, count = self._pending.pop(future)
            if future.exception() is not None:
                self._coordinator.done()  # Raises an error that ends the run.
                # Else the worker died before its result was read: again.
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
    """Take a step on a worker; return `(loss, what it adds to metrics)`.

    Args:
        model: The model.
        *args: The number of the step, for the learning rate; the variables of
            the metrics; a batch.

    Raises:
        ValueError: This is not a step of `fit`.
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
    # At the chief's count: workers that increment one variable lose increments.
    with keras.StatelessScope([(optimizer.iterations, count)]):
        optimizer.apply(gradients, variables)
    # From a state of zero, so that what comes out is what this batch adds.
    zeros = [(v, tf.zeros(v.shape, v.dtype)) for v in metrics]
    with keras.StatelessScope(zeros) as scope:
        size = tf.shape(tree.flatten(x)[0])[0]
        tracker = keras_internals.loss_tracker(model)
        tracker.update_state(loss, sample_weight=size)
        model.compute_metrics(x, y, y_pred, weight)
        return loss, [scope.get_current_value(v) for v in metrics]


def symbolic_build(model, iterator, data_batch):
    """Build losses and metrics, and move the metrics to the chief.

    Only the chief reads and writes them, but what is built in the scope of the
    strategy is put on the servers.
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
    """Return the strategy of a process by itself.

    Raises:
        ValueError: This is called in the scope of another strategy.
    """
    import tensorflow as tf

    if tf.distribute.has_strategy():
        raise ValueError(
            'Under "parameter_server", `fit`, `evaluate` and `predict` are '
            "called outside of `strategy.scope()`. Make the model inside, then "
            "leave the scope."
        )
    return tf.distribute.get_strategy()
