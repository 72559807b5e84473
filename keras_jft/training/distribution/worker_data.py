"""Data that the workers of an asynchronous cluster read by themselves.

The chief hands out steps, not batches. With W workers, worker w takes batches
w, w + W, w + 2 W, ... of an endless stream that starts at the run's position:
no batch is read twice, and workers never wait for each other.

Batches of `jft.data.batches` can be read by number: the chief sends their
source to the workers (see `encoding`), and each reads its own numbers. For any
other `tf.data.Dataset`, the chief sends its graph, and each worker skips the
batches of the others. Arrays are sent as part of such a graph.
"""

import dataclasses
import functools
import hashlib

import keras
import numpy as np
from keras import tree

from keras_jft import text
from keras_jft.training import encoding

MOST_BYTES = 2**30
"""Largest source or graph: TensorFlow cannot send a message of 2 GiB."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerData:
    """A data set to be built on a worker.

    Attributes:
        build: A function `start -> tf.data.Dataset`: the endless batches of
            the worker that calls it, from number `start` on.
        steps: Batches per pass; None if not known.
    """

    build: object
    steps: int | None


def from_source(source, element_spec):
    """Return the `WorkerData` of the result of `jft.data.batches`.

    Args:
        source: Its attribute `source`: `batch(number)` returns a dict of
            arrays, and `len` the number of batches per pass.
        element_spec: `tf.TensorSpec`s of such a dict.

    Returns:
        A `WorkerData`.

    Raises:
        ValueError: The source cannot be sent, or is too large.
    """
    import tensorflow as tf

    encoded = encoding.encode(source)
    _check_size(len(encoded), "The encoded data set")
    encoded = tf.constant(encoded)
    dtypes = [spec.dtype for spec in tf.nest.flatten(element_spec)]

    def build(start):
        key, index, count = _call("open", [encoded], [tf.int64] * 3)

        def read(number):
            arrays = _call("read", [key, number], dtypes)
            batch = tf.nest.pack_sequence_as(element_spec, arrays)
            return tf.nest.map_structure(
                lambda array, spec: tf.ensure_shape(array, spec.shape),
                batch,
                element_spec,
            )

        numbers = tf.data.Dataset.range(start + index, tf.int64.max, count)
        return numbers.map(read, num_parallel_calls=source.workers)

    return WorkerData(build=build, steps=len(source))


def from_dataset(dataset):
    """Return the `WorkerData` of a `tf.data.Dataset`.

    Args:
        dataset: Batches, made without Python functions, which cannot be sent.

    Returns:
        A `WorkerData`.

    Raises:
        ValueError: It calls a Python function, or is too large to be sent.
    """
    import tensorflow as tf

    graph = tf.raw_ops.DatasetToGraphV2(
        input_dataset=tf.data.experimental.to_variant(dataset),
        external_state_policy=1,  # Unseeded shuffles draw seeds of their own.
        strip_device_assignment=True,
    )
    if b"PyFunc" in graph.numpy():
        raise ValueError(
            "Data for workers cannot call Python functions of the chief's "
            "process. Received a data set with `tf.py_function`, "
            "`tf.numpy_function` or a generator inside. Pass the unchanged "
            "result of `jft.data.batches` to `fit` (its `transforms` may be "
            "Python), or use TensorFlow's own operations."
        )
    # An eager tensor: TensorFlow would fold a constant in `build` into a data
    # set, which cannot be sent.
    _check_size(len(graph.numpy()), "The graph of the data set")
    steps = int(dataset.cardinality())
    steps = steps if steps > 0 else None

    def build(start):
        _, index, count = _call("open", [b""], [tf.int64] * 3)
        batches = tf.data.experimental.from_variant(
            tf.raw_ops.DatasetFromGraph(graph_def=graph), dataset.element_spec
        ).repeat()
        if steps is not None:  # Assume that all passes have the same batches.
            batches = batches.skip(start % steps)
        return batches.shard(count, index)

    return WorkerData(build=build, steps=steps)


def from_arrays(arrays, batch_size, shuffle):
    """Return the `WorkerData` of arrays, in the same order on all workers.

    Every pass has a new order if they are shuffled.

    Args:
        arrays: A tree of arrays of equal length.
        batch_size: Examples per batch, 32 by default.
        shuffle: Whether to shuffle.

    Returns:
        A `WorkerData`, and the `tf.TensorSpec`s of a batch.

    Raises:
        ValueError: They are not arrays, or are too large to be sent.
    """
    import tensorflow as tf

    leaves = tree.flatten(arrays)
    if not all(hasattr(leaf, "shape") for leaf in leaves):
        raise ValueError(
            "Workers can read the result of `jft.data.batches`, a "
            "`tf.data.Dataset` or arrays. Received: "
            f"{[type(leaf).__name__ for leaf in leaves][:4]}. A generator or a "
            "`PyDataset` exists only in the chief's process."
        )
    arrays = tree.map_structure(in_keras_dtype, arrays)
    _check_size(sum(leaf.nbytes for leaf in tree.flatten(arrays)), "Arrays")
    arrays = tree.map_structure(tf.convert_to_tensor, arrays)
    size, batch_size = len(leaves[0]), batch_size or 32
    seed, steps = np.random.randint(2**31), -(-size // batch_size)

    def order(epoch):
        places = tf.range(size)
        if shuffle:
            places = tf.random.experimental.stateless_shuffle(
                places, [seed, epoch]
            )
        return tf.data.Dataset.from_tensor_slices(places).batch(batch_size)

    def take(places):
        return tree.map_structure(lambda a: tf.gather(a, places), arrays)

    def build(start):
        _, index, count = _call("open", [b""], [tf.int64] * 3)
        epochs = tf.data.Dataset.range(start // steps, tf.int64.max)
        places = epochs.flat_map(order).skip(start % steps)
        return places.shard(count, index).map(take)

    spec = tree.map_structure(
        lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype),
        arrays,
    )
    return WorkerData(build=build, steps=steps), spec


def in_keras_dtype(array):
    """Return an array in the type to which Keras's own `fit` converts it."""
    array = keras.ops.convert_to_numpy(array)
    return (
        array.astype(keras.config.floatx())
        if array.dtype.kind == "f"
        else array
    )


def _check_size(size, what):
    if size > MOST_BYTES:
        raise ValueError(
            f"{what} must be smaller than {MOST_BYTES} bytes to be sent to "
            f"workers. Received: {size} bytes. Keep examples in files and pass "
            "the result of `jft.data.batches` to `fit`."
        )


# === In the process of a worker ===

_WORKER = {"index": 0, "count": 1}
_SOURCE: dict = {}


def register(index=0, count=1):
    """Register the Python functions that the graphs of workers call.

    TensorFlow identifies such a function by its number within a process, so
    every task must call this at the same point of the same script.

    Args:
        index: Which worker this process is.
        count: How many workers there are.
    """
    _WORKER.update(index=index, count=count)
    _tokens()


@functools.cache
def _tokens():
    import tensorflow as tf

    graph = tf.Graph()  # Keeps the functions alive.
    with graph.as_default():
        outputs = [tf.numpy_function(f, [0], tf.int64) for f in (_open, _read)]
    opening, reading = (output.op.get_attr("token") for output in outputs)
    return {"open": opening, "read": reading, "graph": graph}


def _call(name, inputs, dtypes):
    import tensorflow as tf

    return tf.raw_ops.PyFunc(input=inputs, token=_tokens()[name], Tout=dtypes)


def _open(encoded):
    """Return `(key, index, count)` of an encoded source and this worker."""
    digest = hashlib.sha256(encoded).digest()
    key = int.from_bytes(digest[:8], "little", signed=True)
    if encoded and key not in _SOURCE:
        _SOURCE.clear()  # That of an earlier `fit`.
        _SOURCE[key] = encoding.decode(encoded)
    return tuple(map(np.int64, (key, _WORKER["index"], _WORKER["count"])))


def _read(key, number):
    """Return the arrays of a batch."""
    import tensorflow as tf

    arrays = tf.nest.flatten(_SOURCE[int(key)].batch(int(number)))
    return [text.encode_array(array) for array in arrays]
