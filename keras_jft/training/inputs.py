"""Inputs of `fit`, `evaluate` and `predict`, converted to what Keras takes.

Keras takes arrays, `tf.data.Dataset`s, `keras.utils.PyDataset`s and generators
of `(x, y)`. Each of them may hold contract batches instead, and so may a list
or another iterable that knows its length, such as `jft.data.iterate` returns.
"""

import inspect
import itertools
import re
import warnings

import keras
import numpy as np

# Of a softmax cross entropy, and of a look-up at label ids.
_OUT_OF_RANGE = re.compile(
    r"label value of (-?\d+) which is outside the valid range of \[0, (\d+)\)"
    r"|_loss(?s:.*)indices\[[\d,]+\] = (-?\d+) is not in \[0, (\d+)\)"
)

_OTHER_SHAPE = re.compile(
    r"yielded an element of shape (\(.*?\)) where an element of shape "
    r"(\(.*?\)) was expected"
)


def as_keras_takes(data, convert, check=lambda pair: None):
    """Return `data` with each contract batch in it converted.

    Args:
        data: As above. Anything without contract batches is left as it is.
        convert: A function from a contract batch to a tuple, `(x, y)` or
            `(x,)`; of a `tf.data.Dataset`, from a batch of tensors.
        check: A function that raises a `ValueError` for what a `PyDataset` or a
            generator yields that is neither a contract batch nor such a pair.

    Raises:
        ValueError: An iterable holds examples in place of batches, or nothing.
    """
    if is_batch(data):
        return convert(data)
    if is_batch(getattr(data, "element_spec", None)):
        return data.map(convert)
    if isinstance(data, keras.utils.PyDataset):
        return _Converted(data, convert, check)
    if hasattr(data, "__next__"):
        return _streamed(_converted(batch, convert, check) for batch in data)
    if _holds_batches(data):
        return _sized(data, convert)
    return data


def as_tensorflow_reads(data):
    """Return what TensorFlow reads fastest and at the position of `data`."""
    if keras.backend.backend() == "tensorflow":
        convert = getattr(data, "to_tf_data", None)
        return data if convert is None else convert()
    return data


def is_batch(x):
    """Whether something is a contract batch, or the spec of one."""
    return isinstance(x, dict) and "images" in x


def are_batches(x):
    """Whether something is a list or a tuple of contract batches."""
    return isinstance(x, (list, tuple)) and len(x) > 0 and all(map(is_batch, x))


def as_array(y):
    """Return targets as a NumPy array, where they are one.

    Args:
        y: Targets: an array, a tensor, a data frame, or nested lists of
            numbers. Anything else, such as a list of arrays, is given back.

    Raises:
        ValueError: The targets are not numbers.
    """
    if keras.ops.is_tensor(y):
        y = keras.ops.convert_to_numpy(y)
    elif hasattr(y, "to_numpy"):  # Of pandas.
        y = y.to_numpy()
    elif isinstance(y, (list, tuple)) and not any(
        hasattr(leaf, "shape") and np.ndim(leaf)
        for leaf in keras.tree.flatten(y)
    ):
        try:
            y = np.asarray(y)
        except ValueError as error:
            raise ValueError(
                "Targets must be an array. Received: lists of several lengths. "
                "Pad ids with -1."
            ) from error
    if isinstance(y, np.ndarray) and y.dtype.kind in "OSU":
        raise ValueError(
            f"Targets must be numbers. Received: {y.dtype} of shape {y.shape}. "
            "Give ids in place of names, as "
            "`names, y = np.unique(y, return_inverse=True)`."
        )
    return y


def check_finite(x):
    """Raise a `ValueError` for NumPy images that hold NaN or infinity.

    A ReLU makes 0 of NaN: the loss stays finite while the weights are lost.
    """
    images = x.get("images") if isinstance(x, dict) else x
    if not isinstance(images, np.ndarray) or images.dtype.kind != "f":
        return
    for start in range(0, len(images), 64):  # Masks of a few at a time.
        finite = np.isfinite(images[start : start + 64])
        if not finite.all():
            bad = start + np.argwhere(~finite)[0][0]
            raise ValueError(
                "Images must be finite, in 0..255. Received NaN or infinity in "
                f"image {bad} of {len(images)}. Mend it or leave it out."
            )


def check_arrays(x, y):
    """Check NumPy images, and that there is a target for each.

    Warn where images seem to be in 0..1. Anything else than an array of
    images, such as a data set, is not checked.

    Args:
        x: What a model is called with, or anything else.
        y: Targets, or None.

    Raises:
        ValueError: There are no images, another number of targets, or images
            that are not finite.
    """
    if isinstance(x, (list, tuple)) and not x:
        raise ValueError(
            f"There must be at least one batch. Received: {x}, which is empty."
        )
    images = x.get("images") if isinstance(x, dict) else x
    if not isinstance(images, np.ndarray) or images.ndim != 4:
        return
    if not len(images):
        raise ValueError(
            "There must be at least one image. Received: images of shape "
            f"{images.shape}."
        )
    for target in keras.tree.flatten(y):
        if isinstance(target, np.ndarray) and len(target) != len(images):
            raise ValueError(
                "There must be targets for each image. Received: "
                f"{len(images)} images, targets of shape {target.shape}."
            )
    check_finite(images)
    some = images[:32]  # A look, not a pass over all pixels.
    if some.dtype.kind == "f" and some.size and 0 < some.max() <= 1:
        warnings.warn(
            "Images are in 0..255 for every model, whose first layer scales "
            f"them. Received values in {some.min():g}..{some.max():g}: if they "
            "were scaled to 0..1 before, multiply by 255.",
            stacklevel=4,
        )


def plain_error(error):
    """Return a `ValueError` that says in a sentence what TensorFlow's does.

    Args:
        error: What reading data, or a compiled step on it, raised.

    Returns:
        None, if the error is neither about an id out of range nor about shapes.
    """
    text = str(error)
    if found := _OUT_OF_RANGE.search(text):
        value, limit = filter(None, found.groups())
        return ValueError(
            f"Class ids must be in 0..{int(limit) - 1}. Received {value}. "
            "Build the model with as many `num_classes` as there are, and "
            "count from 0."
        )
    if found := _OTHER_SHAPE.search(text):
        shape, first = found.groups()
        return ValueError(
            "Batches must have the shapes of the first two, but for their "
            f"number of images. Received: {shape} after {first}. Pad ids and "
            "boxes to a common width with -1, or give `tf.data`, a list or a "
            "generator of batches, whose labels may be of any width."
        )
    return None


def by_name(method, args, kwargs):
    """Return the keyword arguments of a call of one of Keras's methods.

    Args:
        method: Such as `keras.Model.fit`.
        args: Positional arguments, `self` left out.
        kwargs: Keyword arguments.

    Raises:
        TypeError: As Keras would raise it.
    """
    names = list(inspect.signature(method).parameters)[1:]
    if len(args) > len(names):
        raise TypeError(
            f"`{method.__name__}` takes at most {len(names)} positional "
            f"arguments, {names}. Received: {len(args)}."
        )
    given = dict(zip(names, args, strict=False))
    twice = given.keys() & kwargs.keys()
    if twice:
        raise TypeError(
            f"`{method.__name__}` got two values for {sorted(twice)}."
        )
    return {**given, **kwargs}


def _converted(batch, convert, check):
    if is_batch(batch):
        return convert(batch)
    check(batch)
    return batch


def _holds_batches(data):
    """Whether an iterable that knows its length holds contract batches."""
    if isinstance(data, np.ndarray) or not (
        hasattr(data, "__len__") and hasattr(data, "__iter__")
    ):
        return False
    if isinstance(data, (list, tuple)):
        return are_batches(data)
    if isinstance(data, (dict, str)) or keras.ops.is_tensor(data):
        return False
    first = next(iter(data), None)
    if is_batch(first) and np.ndim(first["images"]) == 3:
        raise ValueError(
            f"{type(data).__name__} holds examples, not batches. Give "
            "`jft.data.batches(data, batch_size)`, or `jft.data.iterate`, "
            "which needs no TensorFlow."
        )
    return is_batch(first)


class _Converted(keras.utils.PyDataset):
    """A `PyDataset` with its contract batches converted.

    Args:
        dataset: A `PyDataset`.
        convert: As for `as_keras_takes`.
        check: As for `as_keras_takes`.
    """

    def __init__(self, dataset, convert, check):
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self._dataset, self._convert = dataset, convert
        self._check = check

    @property
    def num_batches(self):
        return self._dataset.num_batches

    def __getitem__(self, index):
        return _converted(self._dataset[index], self._convert, self._check)

    def on_epoch_begin(self):
        self._dataset.on_epoch_begin()

    def on_epoch_end(self):
        self._dataset.on_epoch_end()


class _InOrder(keras.utils.PyDataset):
    """Batches of an iterable, which Keras reads in order.

    Args:
        batches: An iterable of contract batches that knows its length.
        convert: As for `as_keras_takes`.
    """

    def __init__(self, batches, convert):
        super().__init__()
        self._batches, self._convert = batches, convert
        self._iterator, self._next = None, 0

    @property
    def num_batches(self):
        return len(self._batches)

    def __getitem__(self, index):
        if index == 0 or self._iterator is None:
            self._iterator, self._next = iter(self._batches), 0
        while True:  # Keras looks at the first ones, then begins again.
            batch = next(self._iterator)
            self._next += 1
            if self._next > index:
                return self._convert(batch)


def _sized(batches, convert):
    if keras.backend.backend() != "tensorflow":
        return _InOrder(batches, convert)
    dataset = _tf_data(
        lambda: map(convert, batches), [convert(next(iter(batches)))]
    )
    import tensorflow as tf

    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))


def _streamed(pairs):
    """Return a generator from which TensorFlow reads targets of any width."""
    if keras.backend.backend() != "tensorflow":
        return pairs
    first = [*itertools.islice(pairs, 2)]  # Keras, too, looks at two.
    leaves = keras.tree.flatten(first)
    are_arrays = all(isinstance(leaf, np.ndarray) for leaf in leaves)
    if first and are_arrays and all(isinstance(p, tuple) for p in first):
        return _tf_data(lambda: itertools.chain(first, pairs), first)
    return itertools.chain(first, pairs)


def _tf_data(pairs, first):
    """Return a `tf.data.Dataset` of pairs.

    Args:
        pairs: A function that returns an iterator of tuples of arrays.
        first: Some of them, for the shapes. Rows of targets may be longer:
            those of labels and boxes are as long as the longest of a batch.
    """
    import tensorflow as tf

    def spec(*arrays):
        lengths = zip(*map(np.shape, arrays), strict=True)
        shape = [n[0] if len({*n}) == 1 else None for n in lengths]
        return tf.TensorSpec([None, *shape[1:]], arrays[0].dtype)

    def with_any_width(spec):
        if spec.shape.rank not in (2, 3):
            return spec
        return tf.TensorSpec([None, None, *spec.shape[2:]], spec.dtype)

    x, *rest = keras.tree.map_structure(spec, *first)
    rest[:1] = [keras.tree.map_structure(with_any_width, y) for y in rest[:1]]
    return tf.data.Dataset.from_generator(pairs, output_signature=(x, *rest))
