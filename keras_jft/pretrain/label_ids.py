"""The meaning of label ids, and sums over all classes computed from them.

An id c >= 0 says that the image has label c. -1 is padding, anywhere in a row.
-2 - c says that it is unknown whether the image has label c, so that c does not
count. If several slots name the same class, only the first counts.

If images are mixed (`jft.data.mixup`), ids have weights: the target of a label
is then its weight, in 0..1. Ids and weights are one float32 array `(B, L, 2)`,
which is exact for ids up to 2**24.

Shapes: B batch, L label slots, C classes.
"""

import keras
import numpy as np
from keras import ops

from keras_jft import checks


def sum_over_classes(labels, logits, losses_and_slopes):
    """Return `(B,)` sums of losses over all classes, with a custom gradient.

    Args:
        labels: `(B, L)` label ids, or `(B, L, 2)` with weights. The loss of a
            label of weight w is w times that of a present label plus 1 - w
            times that of an absent one.
        logits: `(B, C)`.
        losses_and_slopes: `losses_and_slopes(x, is_label, classes)` returns the
            losses at the logits x of labels that are all present or all
            absent, and their derivatives. `classes` are the ids of x, None for
            all C in order. In a compiled step without a gradient, the
            derivatives cost nothing.
    """
    labels, weights = split(labels)
    classes, is_label, is_unknown = read(labels)

    def correction(absent, present):
        """Return what the ids add to a pass that took all labels as absent."""
        there = present - absent
        if weights is not None:
            there = weights * there
        there = ops.where(is_label, there, 0.0)
        return ops.where(is_unknown, -absent, there)

    # The gradient is written out: it adds the corrections to one dense array in
    # place, where automatic differentiation would make a second dense array.
    @ops.custom_gradient
    def total(logits):
        at_ids = ops.take_along_axis(logits, classes, axis=1)
        absent = losses_and_slopes(at_ids, False, classes)
        present = losses_and_slopes(at_ids, True, classes)
        loss, slope = map(correction, absent, present)
        losses, slopes = losses_and_slopes(logits, False, None)

        def gradient(*args, upstream=None):
            if upstream is None:
                (upstream,) = args
            upstream = upstream[:, None]
            return ops.scatter_update(
                slopes * upstream,
                _places(classes),
                ops.reshape(slope * upstream, (-1,)),
                reduction="add",
            )

        return ops.sum(losses, axis=1) + ops.sum(loss, axis=1), gradient

    losses = total(logits)
    if weights is None:
        losses = refuse_multi_hot(labels, losses, logits.shape[-1])
    return losses


def split(labels):
    """Return ids and their weights separately.

    Args:
        labels: `(B, L)` integer ids, or `(B, L, 2)` ids and weights.

    Returns:
        `(B, L)` int32 ids, and `(B, L)` weights or None.

    Raises:
        ValueError: If ids are not integers; they may be dense targets.
    """
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) == 3:
        return ops.cast(labels[..., 0], "int32"), labels[..., 1]
    check(labels)
    return ops.cast(labels, "int32"), None


def check(labels):
    """Raise a `ValueError` if labels without weights are not integers."""
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if len(labels.shape) < 3 and "int" not in dtype:
        raise ValueError(
            "Labels must be integer ids, (batch, labels), padded with -1. "
            f"Received {dtype} of shape {tuple(labels.shape)}; dense targets? "
            "`jft.data.label_ids(Y)` gives the ids of multi-hot targets. Give "
            "weights between 0 and 1 as `label_weights` of a batch (see "
            "`jft.data.mixup`)."
        )


def refuse_multi_hot(labels, losses, num_classes):
    """Return the losses, or refuse labels that are multi-hot.

    A compiled step cannot raise an error: there the losses become nan.

    Args:
        labels: `(B, L)` ids.
        losses: `(B,)`.
        num_classes: Number of classes C.

    Raises:
        ValueError: If the labels are multi-hot, outside of a compiled step.
    """
    if len(labels.shape) != 2 or num_classes < 2:
        return losses
    if labels.shape[1] not in (None, num_classes):
        return losses
    try:
        checks.label_ids(ops.convert_to_numpy(labels), num_classes)
    except (NotImplementedError, TypeError):  # In a compiled step.
        dense = ops.all((labels == 0) | (labels == 1))
        if num_classes == 2:
            dense = dense & ops.any(labels[:, :1] == labels[:, -1:])
        if labels.shape[1] is None:
            dense = dense & (ops.shape(labels)[1] == num_classes)
        return ops.where(dense, float("nan"), losses)
    return losses


def read(labels):
    """Return what the ids of a batch say.

    Args:
        labels: `(B, L)` label ids of any numeric type.

    Returns:
        Three `(B, L)` tensors: the int32 class of each slot, 0 for padding;
        whether the slot says that the label is present; and whether it says
        that the label is unknown. A slot that repeats a class says neither.

    Example:

    >>> classes, is_label, is_unknown = read(np.array([[5, -1, 5, -2 - 3]]))
    >>> print(ops.convert_to_numpy(classes))
    [[5 0 5 3]]
    >>> print(ops.convert_to_numpy(is_label), ops.convert_to_numpy(is_unknown))
    [[ True False False False]] [[False False False  True]]
    """
    labels = ops.cast(labels, "int32")
    classes = ops.where(labels < -1, -2 - labels, labels)
    slots = ops.arange(ops.shape(classes)[1])
    same = classes[:, :, None] == classes[:, None, :]  # (B, L, L)
    earlier = slots[None, :] < slots[:, None]
    repeated = ops.any(ops.logical_and(same, earlier), axis=2)
    first = ops.logical_and(classes >= 0, ops.logical_not(repeated))
    return (
        ops.maximum(classes, 0),
        ops.logical_and(first, labels >= 0),
        ops.logical_and(first, labels < -1),
    )


def drop_unknown(labels, logits):
    """Return logits that rank an image's unknown labels below all others.

    Args:
        labels: `(B, L)` integer label ids.
        logits: `(B, C)`.

    Returns:
        `(B, C)`; -1e30 at unknown labels.

    Example:

    >>> labels = np.array([[0, -2 - 2]])
    >>> logits = drop_unknown(labels, ops.array([[1.0, 2.0, 3.0]]))
    >>> [round(float(x)) > 0 for x in logits[0]]
    [True, True, False]
    """
    is_unknown = labels < -1
    classes = ops.where(is_unknown, -2 - labels, 0)
    ceilings = ops.where(is_unknown, -1e30, 1e30)
    return ops.scatter_update(
        logits,
        _places(classes),
        ops.reshape(ops.cast(ceilings, logits.dtype), (-1,)),
        reduction="min",
    )


def _places(classes):
    """Return `(B * L, 2)` row and class of each slot."""
    rows = ops.arange(ops.shape(classes)[0], dtype="int32")[:, None]
    rows = ops.broadcast_to(rows, ops.shape(classes))
    places = ops.stack([rows, ops.cast(classes, "int32")], axis=-1)
    return ops.reshape(places, (-1, 2))


def encode_unknown(labels, unknown):
    """Return ids that name the known labels and the unknown ones.

    Args:
        labels: `(B, L)` ids of labels that are present, padded with -1; a
            NumPy array or a TensorFlow tensor.
        unknown: `(B, U)` ids of labels that may or may not be present, in the
            same form.

    Returns:
        `(B, L + U)` label ids with the type of `labels`.

    Example:

    >>> print(encode_unknown(np.array([[5, -1]]), np.array([[3, -1]])))
    [[ 5 -1 -5 -1]]
    """
    if isinstance(labels, np.ndarray):
        unknown = np.where(unknown < 0, -1, -2 - unknown)
        return np.concatenate([labels, unknown.astype(labels.dtype)], axis=1)
    import tensorflow as tf

    unknown = tf.where(unknown < 0, -1, -2 - unknown)
    return tf.concat([labels, tf.cast(unknown, labels.dtype)], axis=1)


def with_weights(labels, weights):
    """Return ids and weights as one array.

    Args:
        labels: `(B, L)` ids; a NumPy array or a TensorFlow tensor.
        weights: `(B, L)` float32, in the same form.

    Returns:
        `(B, L, 2)` float32.

    Example:

    >>> with_weights(np.array([[5, -1]]), np.float32([[0.25, 0]])).tolist()
    [[[5.0, 0.25], [-1.0, 0.0]]]
    """
    if isinstance(labels, np.ndarray):
        return np.stack([labels, weights], axis=-1).astype("float32")
    import tensorflow as tf

    return tf.stack([tf.cast(labels, tf.float32), weights], axis=-1)
