"""Asynchronous training behind `fit`: steps that workers take when they can.

The chief runs Keras's own loop, callbacks and all; in place of a step it hands
one to the workers, each of which reads the weights from the servers, computes
the gradients of a batch of its own and lets the servers apply them, while the
others do the same. A step is taken at least once: one whose worker dies is
handed to another.

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

STEPS_A_WORKER = 2
"""Steps handed out at a time: one in work, and the next."""
PATIENCE = 20
"""Seconds that a run which ends waits for steps that are still handed out."""


@contextlib.contextmanager
def driving(model, given, pairs, options):
    """What `keras.Model.fit` takes while workers take the steps of `model`.

    Under other strategies, `pairs` as they are.

    Args:
        model: A compiled `keras_jft.training.Model`.
        given: `x` as `fit` was given it.
        pairs: `(x, y)` as Keras takes them.
        options: Other arguments of `fit`; those of the data are taken out.

    Raises:
        ValueError: The data or an argument are not for workers.
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
    """What workers read, and the `tf.TensorSpec`s of a batch."""
    import tensorflow as tf

    batch_size = options.pop("batch_size", None)
    weight = options.pop("sample_weight", None)
    shuffle = options.pop("shuffle", True)
    options["shuffle"] = False  # Of the numbers of steps.
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
    """Stands for the train function of a model: hands steps to workers.

    The count of steps is the chief's own: the schedule of the learning rate
    follows it, and it is what `optimizer.iterations` holds. Metrics are
    computed by the workers, batch by batch, and added up here.

    Args:
        model: A compiled model.
        data: `WorkerData` of Keras's pairs.
        spec: `tf.TensorSpec`s of a batch.
        source: What has the position in the data, if anything does.
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
        self._window = STEPS_A_WORKER * workers
        self._pending = {}
        self._iterators = None
        self._done = False  # Whether any step of the epoch is.

    def __call__(self, iterator):
        """Hands out a step (or `steps_per_execution`) of Keras's loop.

        Args:
            iterator: Of the numbers of the steps in the epoch.

        Returns:
            The logs of the steps of the epoch that are done.
        """
        import tensorflow as tf

        model = self._model
        numbers = itertools.islice(iterator, model.steps_per_execution)
        for number in map(int, numbers):
            if self._iterators is None:
                self._begin(number)
            self._done = self._done and number > 0
            while len(self._pending) >= self._window:
                self._collect(concurrent.futures.FIRST_COMPLETED)
            remote = self._coordinator.schedule(
                self._step,
                args=(self._iterators, tf.constant(self._count, tf.int64)),
            )
            self._count += 1
            self._wait_for(remote, self._count)
            model.optimizer.iterations.assign(self._count)
        self._collect(concurrent.futures.FIRST_COMPLETED, timeout=0)
        return model.get_metrics_result() if self._done else {}

    def join(self):
        """Waits until all steps that were handed out are done."""
        while self._pending:
            self._collect(concurrent.futures.ALL_COMPLETED)

    def close(self):
        """Ends; what is still handed out is done, and forgotten."""
        # Where a server is lost there may be nobody to wait for.
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
        self._count = int(model.optimizer.iterations)
        start = number if self._source is None else self._source.position
        self._offset = start - self._count
        count = model.optimizer.iterations.value

        def build():
            # A worker that comes back begins where the run stands.
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

        def fetch():
            time.sleep(delay)
            try:
                future.set_result(remote.fetch())
            except Exception as error:
                future.set_exception(error)

        # Not of a pool, which a process waits for when it ends.
        threading.Thread(target=fetch, daemon=True).start()
        self._pending[future] = remote, count

    def _collect(self, when, timeout=None):
        done, _ = concurrent.futures.wait(
            self._pending, timeout=timeout, return_when=when
        )
        for future in done:
            remote, count = self._pending.pop(future)
            if future.exception() is not None:
                self._coordinator.done()  # Raises what ends the run.
                # The worker died before its result was read: once more.
                self._wait_for(remote, count, delay=0.2)
                continue
            loss, states = future.result()
            if not np.isfinite(loss):
                raise FloatingPointError(
                    f"The loss is {loss} in step {count} of the run. Lower the "
                    "learning rate, clip gradients (`clipnorm=`), or look for "
                    "bad values in the data."
                )
            for variable, more in zip(self._metrics, states, strict=True):
                variable.assign_add(more)
            self._done = True


def train_step(model, *args):
    """A step on a worker: `(loss, what it adds to the metrics)`.

    Args:
        model: The model.
        *args: The number of the step, for the learning rate; the variables of
            the metrics; a batch.

    Raises:
        ValueError: This is no step of `fit`.
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
    # Workers that count for themselves lose counts to each other.
    with keras.StatelessScope([(optimizer.iterations, count)]):
        optimizer.apply(gradients, variables)
    # As replicas do: the state of a metric is a sum over them.
    zeros = [(v, tf.zeros(v.shape, v.dtype)) for v in metrics]
    with keras.StatelessScope(zeros) as scope:
        size = tf.shape(tree.flatten(x)[0])[0]
        tracker = keras_internals.loss_tracker(model)
        tracker.update_state(loss, sample_weight=size)
        model.compute_metrics(x, y, y_pred, weight)
        return loss, [scope.get_current_value(v) for v in metrics]


def symbolic_build(model, iterator, data_batch):
    """Builds losses and metrics; the metrics are moved to the chief.

    The chief alone reads and writes them. What is not built is built on the
    servers, as all in the scope of the strategy.
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
    """The strategy of a process by itself.

    Raises:
        ValueError: This is called in the scope of another one.
    """
    import tensorflow as tf

    if tf.distribute.has_strategy():
        raise ValueError(
            'Under "parameter_server", `fit`, `evaluate` and `predict` are '
            "called outside of `strategy.scope()`. Make the model inside, then "
            "leave the scope."
        )
    return tf.distribute.get_strategy()
