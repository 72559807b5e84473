"""Train copies of a `Model`, its replicas, each on a part of every batch.

Keras sums the gradients over the replicas of a `tf.distribute` strategy. This
module does what Keras leaves to its users: it weighs each part of a batch by
its size, averages the moving statistics of batch normalization, makes metrics
exact, and lets `fit` run on several workers. `Model` calls these functions, on
the TensorFlow backend only.

Let R be the number of replicas, and L_r the loss of replica r, the mean over
its n_r terms (images, boxes, ...). One device with the whole batch would have

    L = sum_r (n_r / N) L_r,    N = sum_r n_r.                     (1)

A step on replica r:

1. The forward pass, of one black image if the replica has none (`_outputs`).
2. The loss. Keras gives L_r / R, whose sum over the replicas is (1) only if all
   n_r are equal. Multiplied by n_r R / N it is the term of r in (1) (`_loss`).
3. The gradient of that term. The optimizer sums the gradients over the
   replicas, so that it applies the gradient of (1), once.
4. Metrics, which each replica keeps for its own images. Their variables are
   summed when they are read; a metric whose state is not a sum is merged
   (`merged`).
"""

import contextlib
import functools
import itertools
import math
import zlib

import keras
import numpy as np
from keras import tree

from keras_jft.training import keras_internals
from keras_jft.training.checkpoints import resuming
from keras_jft.training.distribution import jax_layouts, worker_data
from keras_jft.training.keras_internals import strategy_of


def are_several(model):
    """Return whether `model` trains in more than one replica."""
    strategy = strategy_of(model)
    return strategy is not None and strategy.num_replicas_in_sync > 1


def is_asynchronous(model):
    """Return whether `model` trains asynchronously, on parameter servers."""
    strategy = strategy_of(model)
    if strategy is None:
        return False
    import tensorflow as tf

    return isinstance(strategy, tf.distribute.ParameterServerStrategy)


def _span_workers(model):
    """Return whether `model` has replicas in several processes."""
    strategy = strategy_of(model)
    if strategy is None or is_asynchronous(model):
        return False
    return keras_internals.spans_workers(strategy)


def is_chief(model):
    """Return whether this is the process, of all, that reports and saves."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.process_index() == 0
    if not _span_workers(model):
        return True
    return strategy_of(model).extended.should_checkpoint


def scope(model):
    """Return the scope in which to make optimizers and metrics of `model`."""
    strategy = strategy_of(model)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def check_variables(model, parts):
    """Raise `ValueError` if a part was made outside the scope of `model`.

    Args:
        model: A model.
        parts: The model, its optimizer and its metrics. Those without
            variables, such as names of metrics, are ignored.
    """
    strategy = strategy_of(model)
    if strategy is None:
        return
    if is_asynchronous(model):
        parts = [model, model.optimizer]  # The chief has the metrics.
    for variable in (v for p in parts for v in getattr(p, "variables", ())):
        if not strategy.extended.variable_created_in_scope(variable.value):
            raise ValueError(
                f"`{variable.path}` was made outside of the strategy's scope. "
                "Make the backbone, the model, its optimizer and metrics in "
                "`with strategy.scope():`; `backbone.rebuild()` in there "
                "copies a backbone that was made before."
            )


# === Steps ===


def train_step(model, data):
    """Take a step of `fit` on one replica's part of a batch."""
    import tensorflow as tf

    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    # Steps 1 to 4 of this module's docstring. Only the outputs and the loss
    # differ from Keras's own train step.
    with tf.GradientTape() as tape:
        y_pred = _outputs(model, x, training=True)
        loss = _loss(model, x, y, y_pred, weight, training=True)
        loss = model.optimizer.scale_loss(loss)
    variables = model.trainable_weights
    gradients = tape.gradient(loss, variables)
    # This sums the gradients over the replicas.
    model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return model.compute_metrics(x, y, y_pred, sample_weight=weight)


def test_step(model, data):
    """Take a step of `evaluate` on one replica's part of a batch."""
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    y_pred = _outputs(model, x, training=False)
    _loss(model, x, y, y_pred, weight, training=False)
    return model.compute_metrics(x, y, y_pred, sample_weight=weight)


def predict_step(step, data):
    """Return `step(data)`, a step of `predict`, even if there are no images."""
    x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    size, x = _at_least_one(x)
    return tree.map_structure(lambda output: output[:size], step((x,)))


def _outputs(model, x, training):
    """Return `model(x)`, even if the last batch has no images for a replica.

    On a CPU, TensorFlow's convolutions of no images have wrong shapes (oneDNN,
    2.21). So the replica computes one black image, drops its outputs and
    restores the moving statistics.
    """
    import tensorflow as tf

    if tree.flatten(x)[0].shape[0]:
        return model(x, training=training)
    size, x = _at_least_one(x)
    statistics = _statistics(model) if training else []
    before = [tf.identity(statistic) for statistic in statistics]
    outputs = model(x, training=training)
    for statistic, old in zip(statistics, before, strict=True):
        statistic.assign(tf.where(size > 0, statistic, old))
    return tree.map_structure(lambda output: output[:size], outputs)


def _at_least_one(x):
    """Return the number of images, and the images or a black one."""
    import tensorflow as tf

    size = tf.shape(tree.flatten(x)[0])[0]

    def fill(images):
        missing = tf.maximum(1 - size, 0)
        shape = tf.concat([[missing], tf.shape(images)[1:]], axis=0)
        filled = tf.concat([images, tf.zeros(shape, images.dtype)], axis=0)
        return tf.ensure_shape(filled, [None, *images.shape[1:]])

    return size, tree.map_structure(fill, x)


def _loss(model, x, y, y_pred, weight, training):
    """Return this replica's term in (1) of the module's docstring."""
    import tensorflow as tf

    # L_r / R: Keras divides by R.
    loss = model.compute_loss(x, y, y_pred, weight, training=training)
    # n_r and this replica's images, then their sums over the replicas.
    count = tf.cast(model.loss_count(x, y), loss.dtype)
    images = tf.cast(tf.shape(tree.flatten(x)[0])[0], loss.dtype)
    context = tf.distribute.get_replica_context()
    total, images = context.all_reduce("SUM", [count, images])
    replicas = context.num_replicas_in_sync
    loss *= tf.math.divide_no_nan(count * replicas, total)
    # The logs show the mean of L over batches, weighted by their images. Keras
    # averages the replicas' values, and the mean of R times a term is L.
    keras_internals.loss_tracker(model).update_state(
        loss * replicas, sample_weight=images / replicas
    )
    return loss


def reducible(model, step):
    """Return `step` with logs that Keras's loop can average over workers."""
    if not _span_workers(model):
        return step

    def vector_step(data):
        # Keras averages over the first axis; a scalar has none.
        return tree.map_structure(lambda log: log[None], step(data))

    return vector_step


def symbolic_build(model, iterator, data_batch):
    """Build losses and metrics from the first batch of this worker."""
    strategy = strategy_of(model)
    if iterator is not None:
        if keras_internals.is_built(model):
            return
        _, _, batches = next(iter(iterator))
        data_batch = tree.map_structure(
            lambda x: strategy.experimental_local_results(x)[0], next(batches)
        )
    with strategy.scope():
        keras_internals.symbolic_build(model, data_batch)


# === State ===


def synchronize(model: keras.Model) -> None:
    """Average the moving statistics of a model over its replicas.

    In Keras each replica has its own, and those of the first are read and
    saved. `Model` calls this after each epoch of `fit` and before it evaluates,
    predicts or saves; all workers must call it at the same point. With
    parameter servers, it waits for the steps that are under way.

    Args:
        model: A `keras_jft.training.Model`.
    """
    if model._asynchronous is not None:
        model._asynchronous.join()
    if not are_several(model):
        return
    if model._average_statistics is None:
        model._average_statistics = _averaging(model)
    model._average_statistics()


@contextlib.contextmanager
def saving(model):
    """Yield whether this process saves `model`, which then has its weights."""
    synchronize(model)
    with jax_layouts.gathered(model):
        yield is_chief(model)


def gathered(model, number):
    """Return an integer of each process that trains a model, when all have."""
    if keras.backend.backend() == "jax":
        import jax

        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            found = multihost_utils.process_allgather(np.int32(number))
            return found.tolist()
    elif _span_workers(model):
        return [found for [found] in _of_all(model, [number])]
    return [number]


def _averaging(model):
    import tensorflow as tf

    statistics = _statistics(model)

    def average():
        # In float64 the mean of equal numbers is that number.
        context = tf.distribute.get_replica_context()
        means = context.all_reduce(
            "MEAN", [tf.cast(v, "float64") for v in statistics]
        )
        for variable, mean in zip(statistics, means, strict=True):
            variable.assign(tf.cast(mean, variable.dtype))

    if not statistics:
        return lambda: None
    return tf.function(lambda: strategy_of(model).run(average))


def _statistics(model):
    """Return the `tf.Variable`s that hold moving statistics."""
    # A frozen kernel is not trained either, but TensorFlow calls it trainable,
    # and it is the same in all replicas.
    return [
        v.value
        for v in model.non_trainable_weights
        if v.value.dtype.is_floating and not v.value.trainable
    ]


@contextlib.contextmanager
def merged(model, metrics):
    """Let the results of `metrics` be those over all replicas, within a block.

    Args:
        model: The model that they belong to.
        metrics: Metrics with a method `merge`, which makes one state of the
            states of several replicas.
    """
    if not are_several(model):
        yield
        return
    for metric in metrics:
        result = metric.stateless_result(
            metric.merge(_states(strategy_of(model), metric))
        )
        metric.result = lambda result=result: result
    try:
        yield
    finally:
        for metric in metrics:
            del metric.result


def _states(strategy, metric):
    """Return the state of `metric` in each replica: R lists of arrays."""
    import tensorflow as tf

    def read():
        return [tf.convert_to_tensor(v.value)[None] for v in metric.variables]

    @tf.function
    def gather():
        return [strategy.gather(v, axis=0) for v in strategy.run(read)]

    return list(zip(*(state.numpy() for state in gather()), strict=True))


# === Workers ===


def shard_by_element(model, x):
    """Return `x`, or a data set whose batches are split over the workers.

    By default, TensorFlow distributes files over the workers if the data set
    has any. Batches would then depend on the number of workers, and predictions
    would come in another order.

    Raises:
        ValueError: `x` is already a shard, of which each worker would read only
            a part; or it is shuffled without a seed, so that each worker would
            have another order.
    """
    if _span_workers(model) or is_asynchronous(model):
        _check_whole(getattr(x, "source", x))
    if not _span_workers(model):
        return x
    import tensorflow as tf

    if isinstance(x, tf.data.Dataset) and (0, 0) in _seeds(x):
        raise ValueError(
            f"{_ONE_ORDER} Received a `tf.data.Dataset` with a `shuffle` that "
            "has no seed. Give `shuffle(..., seed=0)`, or call "
            "`keras.utils.set_random_seed` with one number on all workers "
            "before the data set is made."
        )

    policies = tf.data.experimental.AutoShardPolicy
    if (
        not isinstance(x, tf.data.Dataset)
        or x.options().experimental_distribute.auto_shard_policy
        != policies.AUTO
    ):
        return x
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = policies.DATA
    return x.with_options(options)


_ONE_ORDER = (
    "Each worker takes its share of every batch, so all must receive the same "
    "batches in the same order."
)


def in_one_order(model, x, y, options):
    """Return `(x, y)` for `fit` in an order that is the same on all workers.

    Keras shuffles arrays in each process separately: the shares of the workers
    would overlap, and some examples would never be seen. So arrays become a
    data set that is shuffled with the chief's seed. Other data are compared
    between workers as far as is possible without reading them.

    Args:
        model: A model. If it trains in one process, nothing changes.
        x: As `keras.Model.fit` takes it.
        y: As `keras.Model.fit` takes it.
        options: The other arguments of `fit`; those about arrays are removed.

    Raises:
        ValueError: The data of two workers differ, or a `PyDataset` is to be
            shuffled.
    """
    if not _span_workers(model):
        return x, y
    shuffle = options.get("shuffle", True)
    if isinstance(x, keras.utils.PyDataset) and shuffle:
        raise ValueError(
            f"{_ONE_ORDER} Received a `PyDataset` with shuffle={shuffle}, by "
            "which each worker shuffles by itself. Leave it out, and shuffle "
            "in `on_epoch_end` by a generator of a fixed seed."
        )
    arrays = keras.utils.pack_x_y_sample_weight(
        x, y, options.get("sample_weight")
    )
    # Exchange a digest of what is known, and take the chief's seed.
    leaves = tree.flatten(arrays)
    are_arrays = all(hasattr(leaf, "shape") for leaf in leaves)
    known = [_known(leaf) for leaf in leaves]
    mine = [np.random.randint(2**31), zlib.crc32(repr(known).encode())]
    (seed, _), *_ = found = _of_all(model, mine)
    if len({digest for _, digest in found}) > 1:
        raise ValueError(
            f"{_ONE_ORDER} This worker's data differ from another's. Received "
            f"here: {', '.join(known)}. Give each worker all of the data, with "
            "the same seed."
        )
    if not (are_arrays and shuffle):
        return x, y
    # Shuffle the arrays here, with that seed, and not in Keras.
    options.pop("sample_weight", None)
    options["shuffle"] = False
    arrays = arrays if isinstance(arrays, tuple) else (arrays,)
    return _shuffled(arrays, seed, options), None


def _known(data):
    """Return a text that identifies data, as far as possible unread."""
    source = resuming.source(data)
    if source is not None:
        return f"{source.identity}, position {source.position}"
    if hasattr(data, "shape"):
        ends = keras.ops.convert_to_numpy(data[:32]), data[-32:]
        content = b"".join(np.asarray(end).tobytes() for end in ends)
        return f"shape {tuple(data.shape)}, checksum {zlib.crc32(content):08x}"
    kind = type(data).__name__
    if hasattr(data, "element_spec"):
        spec = f"{kind} of {int(data.cardinality())} batches"
        return f"{spec}, {data.element_spec}, shuffled by {_seeds(data)}"
    size = getattr(data, "num_batches", None)  # Of a `PyDataset`.
    return kind if size is None else f"{kind} of {size} batches"


def _seeds(dataset):
    """Return the two seeds of every `shuffle` in a data set.

    They are (0, 0) if none was set. Shuffles inside `interleave` or `flat_map`
    are not found.
    """
    own = keras_internals.shuffle_seeds(dataset)
    seeds = [] if own is None else [own]
    for before in keras_internals.datasets_before(dataset):
        seeds += _seeds(before)
    return seeds


def _of_all(model, numbers):
    """Return the integers that each replica passes, the chief's first."""
    import tensorflow as tf

    row = tf.constant([numbers], tf.int64)
    return _gathering(strategy_of(model))(row).numpy().tolist()


@functools.cache
def _gathering(strategy):
    import tensorflow as tf

    return tf.function(
        lambda row: strategy.gather(strategy.run(lambda: row), axis=0)
    )


def _shuffled(arrays, seed, options):
    """Return arrays as a data set of batches; every pass has a new order."""
    import tensorflow as tf

    size = len(tree.flatten(arrays)[0])
    split = options.pop("validation_split", None)
    if split and options.get("validation_data") is None:
        size = math.floor(size * (1 - split))  # As Keras splits.
        options["validation_data"] = tree.map_structure(
            lambda array: array[size:], arrays
        )
        arrays = tree.map_structure(lambda array: array[:size], arrays)
    steps = options.get("steps_per_epoch")
    batch_size = options.pop("batch_size", None)
    batch_size = batch_size or (math.ceil(size / steps) if steps else 32)
    options.setdefault("validation_batch_size", batch_size)
    arrays = tree.map_structure(worker_data.in_keras_dtype, arrays)
    leaves, passes = tree.flatten(arrays), itertools.count()

    # From this seed alone: TensorFlow's shuffle also depends on its global one.
    def order():
        rng = np.random.default_rng((seed, next(passes)))
        return rng.permutation(size)

    def read(rows):
        found = tf.numpy_function(  # Keeps the arrays out of the graph.
            lambda rows: [leaf[rows] for leaf in leaves],
            [rows],
            [leaf.dtype for leaf in leaves],
        )
        for tensor, leaf in zip(found, leaves, strict=True):
            tensor.set_shape((None, *leaf.shape[1:]))
        return tree.pack_sequence_as(arrays, found)

    # A data set of one element, the order, which every pass draws anew.
    orders = tf.data.Dataset.from_tensors(0).map(
        lambda _: tf.ensure_shape(tf.numpy_function(order, [], tf.int64), size)
    )
    places = orders.flat_map(tf.data.Dataset.from_tensor_slices)
    dataset = places.batch(batch_size).map(
        read, num_parallel_calls=tf.data.AUTOTUNE
    )
    cardinality = math.ceil(size / batch_size)
    dataset = dataset.apply(
        tf.data.experimental.assert_cardinality(cardinality)
    )
    tf_options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.DATA
    tf_options.experimental_distribute.auto_shard_policy = policy
    return dataset.with_options(tf_options)


def _check_whole(source):
    places = getattr(source, "places", None)  # Of `jft.data.iterate`.
    if isinstance(places, range) and places.step > 1:
        raise ValueError(
            "The workers of a `tf.distribute` strategy split the data among "
            "themselves and must be given the whole. Received batches of "
            f"shard=({places.start}, {places.step}). Leave out `shard`."
        )


@contextlib.contextmanager
def lost_workers(model):
    """Explain TensorFlow's errors of a lost connection, and what to do."""
    if not (_span_workers(model) or is_asynchronous(model)):
        yield
        return
    import tensorflow as tf

    lost = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    )
    try:
        yield
    except Exception as error:
        # The coordinator wraps the exception of a step in one of its own.
        cause = getattr(error, "original_exception", error)
        if not isinstance(cause, lost):
            raise
        tell = _lost_server if is_asynchronous(model) else _lost_worker
        raise RuntimeError(
            f"{tell(strategy_of(model))} A `Checkpoint` callback lets `fit` "
            f"resume. TensorFlow says: {cause.message}"
        ) from error


def _lost_worker(strategy):
    resolver = strategy.cluster_resolver
    return (
        f"{resolver.task_type} {resolver.task_id} lost a worker of "
        f"{resolver.cluster_spec().as_dict()}. Synchronous training needs all "
        "of them: start every worker again."
    )


def _lost_server(strategy):
    resolver = keras_internals.cluster_resolver(strategy)
    return (
        "The chief lost a parameter server of "
        f"{resolver.cluster_spec().as_dict()['ps']}, and the "
        "variables that it held: start chief, workers and servers again."
    )


def metric_variables(model):
    """Yield the variables of the metrics that training steps update."""
    for metric in model.metrics:
        # The metrics of `compile` are inside a container.
        for part in getattr(metric, "metrics", [metric]):
            # Such a metric is large, and training steps skip it.
            if not getattr(part, "result_at_epoch_end", False):
                yield from part.variables
