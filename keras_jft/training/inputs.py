"""Inputs of `fit`, `evaluate` and `predict`, converted to what Keras takes.

Keras takes arrays, `tf.data.Dataset`s, `keras.utils.PyDataset`s and generators
of `(x, y)`. Any of these may yield contract batches instead of pairs. So may a
list, or any sized iterable such as `jft.data.iterate` returns.
"""

import functools
import inspect
import itertools
import numbers
import re
import warnings
import weakref

import keras
import numpy as np

from keras_jft import checks
from keras_jft.text import number_of

# How far interpolation may leave 0..255 by rounding.
_SLACK = 0.01

# TensorFlow's messages for a label id that is out of range, in the softmax
# cross entropy and in `gather`.
_OUT_OF_RANGE = re.compile(
    r"label value of (-?\d+) which is outside the valid range of \[0, (\d+)\)"
    r"|_loss(?s:.*)indices\[[\d,]+\] = (-?\d+) is not in \[0, (\d+)\)"
)

# Its message for a generator whose arrays change their shape.
_OTHER_SHAPE = re.compile(
    r"yielded an element of shape (\(.*?\)) where an element of shape "
    r"(\(.*?\)) was expected"
)

# What `_streamed` returned: `fit` gives `evaluate` the generator that Keras
# has begun to read, of which nothing more may be taken.
_STREAMS: weakref.WeakSet = weakref.WeakSet()


def as_keras_takes(data, convert, convert_pair=lambda pair: pair, widen=None):
    """Return `data` with each contract batch converted for Keras.

    Args:
        data: What `fit` accepts, as the docstring of this module lists it. It
            is returned unchanged if it has no contract batches.
        convert: A function from a contract batch to `(x, y)` or `(x,)`. The
            batches of a `tf.data.Dataset` are passed as symbolic tensors.
        convert_pair: A function from any other batch of a `PyDataset` or a
            generator to such a tuple. It raises a `ValueError` unless Keras can
            use the batch.
        widen: A function from targets to the same targets with one more slot of
            padding for each image; those without slots are returned unchanged.

    Raises:
        ValueError: An iterable has examples in place of batches, or nothing.
    """
    if is_batch(data):
        _refuse_example(data, "The dict")
        return convert(data)
    if is_batch(getattr(data, "element_spec", None)):
        _refuse_example(data.element_spec, "The `tf.data.Dataset`")
        return data.map(convert)
    if isinstance(data, keras.utils.PyDataset):
        return _Converted(data, convert, convert_pair, widen)
    if inspect.isgenerator(data) and data in _STREAMS:
        return data
    if hasattr(data, "__next__"):
        return _streamed(
            _converted(batch, convert, convert_pair) for batch in data
        )
    if _holds_batches(data):
        return _sized(data, convert)
    return data


def as_tensorflow_reads(data):
    """Return `data` as a `tf.data.Dataset` at its position, if it has one."""
    if keras.backend.backend() == "tensorflow":
        convert = getattr(data, "to_tf_data", None)
        return data if convert is None else convert()
    return data


def is_batch(x):
    """Return whether `x` is a contract batch, or the spec of one."""
    return isinstance(x, dict) and "images" in x


def are_batches(x):
    """Return whether `x` is a list or a tuple of contract batches."""
    return isinstance(x, (list, tuple)) and len(x) > 0 and all(map(is_batch, x))


def as_array(y):
    """Return targets as a NumPy array, if they form a single one.

    Args:
        y: Targets: an array, a tensor, a data frame, or nested lists of
            numbers. Anything else, such as a list of arrays, is returned as it
            is.

    Raises:
        ValueError: The targets are not numbers.
    """
    if keras.ops.is_tensor(y):
        y = keras.ops.convert_to_numpy(y)
    elif hasattr(y, "to_numpy"):  # A pandas object.
        y = y.to_numpy()
    elif hasattr(y, "tocsr"):  # A sparse matrix of SciPy.
        raise ValueError(
            f"Targets must be an array. Received: {type(y).__name__} of shape "
            f"{y.shape}, which is sparse. Give ids, as "
            "`jft.data.label_ids(y)`."
        )
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
    elif isinstance(y, (numbers.Number, str)):
        raise ValueError(
            "Targets must be an array, with an entry for each image. Received: "
            f"{y!r}."
        )
    if isinstance(y, np.ndarray) and y.dtype.kind in "OSU":
        raise ValueError(
            f"Targets must be numbers. Received: {y.dtype} of shape {y.shape}. "
            "Give ids in place of names, as "
            "`names, y = np.unique(y, return_inverse=True)`."
        )
    return y


def as_arrays(y):
    """Return targets as `as_array` does; in a dict, each of them."""
    if isinstance(y, dict):
        return {key: as_array(value) for key, value in y.items()}
    return as_array(y)


def has_values(y):
    """Return whether targets have values, rather than being symbolic."""
    return type(keras.tree.flatten(y)[0]).__name__ != "SymbolicTensor"


def ranks_of(x, y):
    """Return the ranks of the targets of `fit`; () if unknown."""
    spec = getattr(x, "element_spec", None)
    if y is None and isinstance(spec, tuple) and len(spec) > 1:
        y = spec[1]
    leaves = [leaf for leaf in keras.tree.flatten(y) if hasattr(leaf, "shape")]
    return tuple(len(leaf.shape) for leaf in leaves)


def remembered(check):
    """Wrap a check of batches so that the error it raises is kept.

    TensorFlow wraps errors of Python code in errors of its own, in which the
    message is hard to find. `Model` raises the one that it kept.
    """

    @functools.wraps(check)
    def remembering(self, batch):
        try:
            return check(self, batch)
        except ValueError as error:
            self._refusal = error
            raise

    return remembering


def watched(dataset, check, convert):
    """Return a `tf.data.Dataset` whose batches are checked as they come.

    Args:
        dataset: One of `(x, y)` or `(x, y, sample_weight)`.
        check: A function of a batch of NumPy arrays that raises a `ValueError`
            for a wrong one.
        convert: A function applied to each batch of tensors; its result is
            yielded.
    """
    specs = keras.tree.flatten(dataset.element_spec)
    if any(type(spec).__name__ != "TensorSpec" for spec in specs):
        return dataset  # Ragged or sparse: not what NumPy has.
    import tensorflow as tf

    def watch(*batch):
        def look(*arrays):
            check(tf.nest.pack_sequence_as(batch, arrays))

        tf.numpy_function(look, tf.nest.flatten(batch), [])
        return convert(batch)

    return dataset.map(watch)


def check_images(x, y, model_inputs):
    """Raise a `ValueError` unless a model can use images; warn of 0..1.

    A ReLU turns NaN into 0, so the loss may stay finite while the gradients
    make the weights NaN. Images of another range train, but badly.

    Args:
        x: Images, the dict they are in, or the spec of either. What is not an
            array is checked for its shape alone.
        y: Targets, or None.
        model_inputs: `inputs` of the model, which tell the channels.
    """
    images = x.get("images") if isinstance(x, dict) else x
    if isinstance(images, np.ndarray) and images.ndim and not len(images):
        raise ValueError(
            "There must be at least one image. Received: images of shape "
            f"{images.shape}."
        )
    _check_shape(images, model_inputs)
    _check_counts(images, y)
    if not isinstance(images, np.ndarray) or images.dtype == np.uint8:
        return
    for start in range(0, len(images), 64):  # To use little memory.
        some = images[start : start + 64]
        finite = np.isfinite(some)
        if not finite.all():
            bad = start + np.argwhere(~finite)[0][0]
            raise ValueError(
                "Images must be finite, in 0..255. Received NaN or infinity in "
                f"image {bad} of {len(images)}. Mend it or leave it out."
            )
        if some.size and (some.min() < -_SLACK or some.max() > 255 + _SLACK):
            raise ValueError(
                "Images are in 0..255 for every model, whose first layer "
                f"scales them. Received values in {some.min():g}.."
                f"{some.max():g}. Undo what scaled or shifted them before."
            )
    if _seem_scaled(images[:32]):  # Enough to tell.
        warnings.warn(
            "Images are in 0..255 for every model, whose first layer scales "
            "them. Received values in 0..1: if they were scaled before, "
            "multiply by 255.",
            stacklevel=5,
        )


def _seem_scaled(images):
    """Return whether images seem to be in 0..1, and are not merely black."""
    if images.dtype.kind == "b":
        return images.any()
    return (
        images.dtype.kind == "f"
        and images.size
        and images.max() <= 1
        and ((images > 0) & (images < 1)).any()
    )


def _check_shape(images, model_inputs):
    shape = getattr(images, "shape", None)
    try:
        shape = None if shape is None else tuple(shape)
    except ValueError:  # A `tf.TensorShape` of unknown rank.
        return
    wanted = [i.shape for i in keras.tree.flatten(model_inputs)]
    channels = next((w[-1] for w in wanted if len(w) == 4), None)
    if shape is None or channels is None:
        return
    if len(shape) == 4 and shape[-1] in (channels, None):
        return
    remedy = "Give images as they are shown, all of one size"
    if len(shape) == 3 and shape[-1] in (channels, None):
        remedy = "This is one image: put several in a batch, in `tf.data` by "
        remedy += "`.batch(32)`"
    elif len(shape) == 3:
        remedy = "For gray images, `np.repeat(x[..., None], 3, axis=-1)`"
    elif len(shape) == 4 and shape[1] == channels:
        remedy = "For channels that come first, `np.moveaxis(x, 1, -1)`"
    elif len(shape) == 4 and shape[-1] == 1:
        remedy = "For gray images, `np.repeat(x, 3, axis=-1)`"
    elif len(shape) == 4 and shape[-1] == channels + 1:
        remedy = f"To drop an alpha channel, `x[..., :{channels}]`"
    raise ValueError(
        f"Images must be (batch, height, width, {channels}). Received: shape "
        f"{shape}. {remedy}."
    )


def _check_counts(images, y):
    """Raise a `ValueError` unless NumPy images have as many targets."""
    for target in keras.tree.flatten(y):
        arrays = isinstance(images, np.ndarray), isinstance(target, np.ndarray)
        if all(arrays) and len(target) != len(images):
            raise ValueError(
                "There must be targets for each image. Received: "
                f"{number_of(len(images), 'image')}, targets of shape "
                f"{target.shape}."
            )


def check_arrays(x, y, model_inputs):
    """Check an array of images, and that there is a target for each.

    Of a `tf.data.Dataset`, its shapes are checked. Any other data set, such as
    a generator, is checked batch by batch.

    Args:
        x: An array of images, or anything else that `fit` accepts.
        y: Targets, or None.
        model_inputs: As for `check_images`.

    Raises:
        ValueError: There are no images, the number of targets differs, or the
            images are none that the model can use.
    """
    if isinstance(x, (list, tuple)):
        _check_list(x)
        return
    spec = getattr(x, "element_spec", None)
    x = x if spec is None else spec[0] if isinstance(spec, tuple) else spec
    check_images(x, y, model_inputs)


def _check_list(x):
    """Raise a `ValueError` for a list that is none of arrays of images."""
    if not x:
        raise ValueError(
            f"There must be at least one batch. Received: {x}, which is empty."
        )
    if not hasattr(x[0], "shape") or len(x[0].shape) == 3:
        raise ValueError(
            "Images must be an array, or batches with `images`. Received: a "
            f"{type(x).__name__} of {len(x)}, the first a "
            f"{type(x[0]).__name__}. Give `np.array(x)`, whose images must all "
            "have one size."
        )


def check_batch_size(arguments):
    """Raise a `ValueError` unless a `batch_size`, if given, is a number."""
    if arguments.get("batch_size") is not None:
        arguments["batch_size"] = checks.whole(
            "batch_size", arguments["batch_size"], least=1
        )


def plain_error(error):
    """Return a `ValueError` that says plainly what TensorFlow's error means.

    Args:
        error: An exception that reading data or a compiled step raised.

    Returns:
        A `ValueError`, or None unless the error is about a label id that is out
        of range or about shapes of batches.
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
            "Batches must have the shapes of the first two, except for the "
            f"number of images. Received: {shape} after {first}. Pad ids and "
            "boxes to a common width with -1, or pass `tf.data`, a list or a "
            "generator of batches, whose labels may have any width."
        )
    return None


def by_name(method, args, kwargs):
    """Return all arguments of a call by name.

    Args:
        method: The method that is called, such as `keras.Model.fit`.
        args: The positional arguments without `self`.
        kwargs: The keyword arguments.

    Raises:
        TypeError: There are too many arguments, or two for one name.
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


def _converted(batch, convert, convert_pair):
    if is_batch(batch):
        _refuse_example(batch, "The data set")
        return convert(batch)
    return convert_pair(batch)


def _refuse_example(batch, what):
    """Raise a `ValueError` for an example in place of a batch."""
    shape = getattr(batch["images"], "shape", ())
    if getattr(shape, "rank", 0) is not None and len(shape) == 3:
        raise ValueError(
            f"{what} has examples, not batches. Pass "
            "`jft.data.batches(data, batch_size)`, or `jft.data.iterate`, "
            "which needs no TensorFlow."
        )


def _holds_batches(data):
    """Return whether `data` is a sized iterable of contract batches."""
    if isinstance(data, np.ndarray) or not (
        hasattr(data, "__len__") and hasattr(data, "__iter__")
    ):
        return False
    if isinstance(data, (list, tuple)):
        if are_batches(data):
            _refuse_example(data[0], f"The {type(data).__name__}")
        return are_batches(data)
    if isinstance(data, (dict, str)) or keras.ops.is_tensor(data):
        return False
    first = next(iter(data), None)
    if is_batch(first):
        _refuse_example(first, type(data).__name__)
    return is_batch(first)


class _Converted(keras.utils.PyDataset):
    """A `PyDataset` with its batches converted.

    Args:
        dataset: A `PyDataset`.
        convert: As for `as_keras_takes`.
        convert_pair: As for `as_keras_takes`.
        widen: As for `as_keras_takes`.
    """

    def __init__(self, dataset, convert, convert_pair, widen):
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self._dataset, self._convert = dataset, convert
        self._convert_pair, self._widen = convert_pair, widen

    @property
    def num_batches(self):
        return self._dataset.num_batches

    def __getitem__(self, index):
        batch = _converted(
            self._dataset[index], self._convert, self._convert_pair
        )
        if self._widen is None or keras.backend.backend() != "tensorflow":
            return batch
        return self._of_any_width(batch, index)

    def _of_any_width(self, batch, index):
        """Pad so that widths alternate in parity.

        On TensorFlow, Keras fixes every dimension in which the first two
        batches agree; this makes them differ, so later widths may vary.
        """
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        rows = None if y is None else keras.tree.flatten(y)[0]
        if np.ndim(rows) > 1 and (np.shape(rows)[1] - index) % 2:
            y = self._widen(y)
        return keras.utils.pack_x_y_sample_weight(x, y, weight)

    def on_epoch_begin(self):
        self._dataset.on_epoch_begin()

    def on_epoch_end(self):
        self._dataset.on_epoch_end()


class _InOrder(keras.utils.PyDataset):
    """The batches of an iterable as a `PyDataset`, to be read in order.

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
        # Keras reads the first batches for their shapes, then starts at 0.
        while True:
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
    """Return the pairs of a generator; their targets may have any width.

    On TensorFlow they become a `tf.data.Dataset`: Keras's own adapter expects
    all batches to have the shapes of the first two.
    """
    first = [*itertools.islice(pairs, 2)]
    if not first:
        raise ValueError(
            "There must be at least one batch. Received: a generator that "
            "yields none, or was read before. Make it anew for each call."
        )
    leaves = keras.tree.flatten(first)
    are_pairs_of_arrays = all(
        isinstance(pair, tuple) for pair in first
    ) and all(isinstance(leaf, np.ndarray) for leaf in leaves)
    if keras.backend.backend() == "tensorflow" and are_pairs_of_arrays:
        return _tf_data(lambda: itertools.chain(first, pairs), first)
    stream = (pair for pair in itertools.chain(first, pairs))
    _STREAMS.add(stream)
    return stream


def _tf_data(pairs, first):
    """Return a `tf.data.Dataset` of pairs.

    Args:
        pairs: A function that returns an iterator of tuples of arrays.
        first: The first tuples, which tell the shapes. The width of targets
            may differ between batches, because labels and boxes are padded to
            the longest row of their batch.
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
