"""The batches of `iterate` as a `tf.data.Dataset`, ready for `fit`."""

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_jft import text
from keras_jft.data.dataset import Dataset
from keras_jft.data.pipeline import iterate

if TYPE_CHECKING:
    import tensorflow as tf


def batches(
    data: Dataset, batch_size: int, **options: Any
) -> "tf.data.Dataset":
    """Return a `tf.data.Dataset` of contract batches, of known cardinality.

    In training every pass has a different order. The order changes once a pass
    has handed out its last batch: Keras also opens iterators that it does not
    read to the end, and those change nothing.

    Args:
        data: A `Dataset`.
        batch_size: Examples per batch, of this worker.
        **options: `transforms`, `training`, `seed`, `drop_remainder`,
            `tolerate`, `shard`, `initial_epoch`, `initial_step`, `workers` and
            `mixup` as for `iterate`, which gives the same batches without
            TensorFlow.

    Raises:
        ImportError: TensorFlow is not installed.
        ValueError: As `iterate` does; while iterating, a TensorFlow error with
            the same message.

    Example:

    >>> data = keras_jft.data.load("synthetic", num_examples=100)
    >>> dataset = batches(data, 8, transforms="flip", training=True)
    >>> len(dataset), dataset.element_spec["images"].shape
    (12, TensorShape([8, None, None, 3]))
    """
    return dataset_of(iterate(data, batch_size, **options))


def dataset_of(source):
    """Return the batches of a `Batches` as `batches` does.

    Args:
        source: A `Batches`; the data set moves its position.
    """
    tf = _tensorflow()
    signature = _signature(tf, source)

    def read(number):
        arrays = tf.numpy_function(
            lambda number: _arrays(tf, source.batch(int(number))),
            [number],
            [spec.dtype for spec in tf.nest.flatten(signature)],
        )
        batch = tf.nest.pack_sequence_as(signature, arrays)
        return tf.nest.map_structure(_with_shape, batch, signature), number

    def hand_out(batch, number):
        tf.numpy_function(source.advance, [number], [])
        return batch

    # One element, read anew at the start of every pass.
    start = tf.data.Dataset.from_tensors(0).map(
        lambda _: tf.numpy_function(lambda: source.position, [], tf.int64)
    )
    numbers = start.flat_map(
        lambda start: tf.data.Dataset.range(start, start + len(source))
    )
    dataset = numbers.map(read, num_parallel_calls=source.workers)
    # The last map comes after prefetching, so that batches which are only read
    # ahead do not count as handed out.
    dataset = dataset.prefetch(tf.data.AUTOTUNE).map(hand_out)
    cardinality = tf.data.experimental.assert_cardinality(len(source))
    dataset = dataset.apply(cardinality)
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy
    options.experimental_distribute.auto_shard_policy = policy.DATA
    dataset = dataset.with_options(options)
    dataset.source = source  # `jft.training.Checkpoint` restores its position.
    return dataset


def _arrays(tf, batch):
    """Return the arrays of a batch for `numpy_function`, text as UTF-8."""
    return [text.encode_array(array) for array in tf.nest.flatten(batch)]


def _tensorflow():
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            "`jft.data.batches` gives a `tf.data.Dataset` and needs "
            "TensorFlow, which is not installed. `jft.data.iterate` gives the "
            "same batches as NumPy arrays."
        ) from error
    return tf


def _signature(tf, source):
    """Return `tf.TensorSpec`s that fit every batch, to avoid retracing."""
    info = source.examples.data.info
    sample = source.batch(0)
    always_full = source.batch_size * source.steps <= len(source.places) and (
        source.examples.training or not source.examples.tolerate
    )
    max_labels = info.max_labels
    if max_labels is not None and source.mixup:
        max_labels *= 2  # A mixed image has the labels of two.
    sizes = {
        "images": (*source.image_size, 3),
        "labels": (max_labels,) * (np.ndim(sample.get("labels")) - 1),
        "label_weights": (max_labels,),
        "segmentation_masks": (*source.image_size, 1),
        "keypoints": np.shape(sample.get("keypoints"))[1:],
        "image_sizes": (2,),
        "ids": (),
        "image_ids": (),
    }

    def spec(array, size):
        kind = tf.string if array.dtype.kind in "US" else array.dtype
        batch_size = source.batch_size if always_full else None
        return tf.TensorSpec((batch_size, *size), kind)

    boxes = sample.pop("bounding_boxes", None)
    signature = {
        key: spec(array, sizes.get(key, (None,) * (array.ndim - 1)))
        for key, array in sample.items()
    }
    if boxes is not None:
        signature["bounding_boxes"] = {
            key: spec(rows, (info.max_boxes, *rows.shape[2:]))
            for key, rows in boxes.items()
        }
    return signature


def _with_shape(tensor, spec):
    tensor.set_shape(spec.shape)
    return tensor
