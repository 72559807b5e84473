"""Losses over many labels, computed from label ids.

A batch names the few labels of each image by id; the dense `(B, C)` target is
never made. A loss that sums over classes takes one pass over the logits as if
all labels were absent, then corrects the sum at the few ids that are present
(see `label_ids`, which also says what an id means).

The functions are pure, do not reduce over the batch, and take `(labels,
logits)`. Label smoothing moves a target y in {0, 1} to `(1 - s) y + s / C`:
the mass s of one label is spread over all classes, in the softmax loss and in
the logistic loss.

Shapes: B batch, L label slots, C classes.
"""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_jft import checks
from keras_jft.pretrain import label_ids
from keras_jft.text import number_of
from keras_jft.typing import Tensor


def sigmoid_cross_entropy(
    labels: Tensor,
    logits: Tensor,
    *,
    positive_weight: float | None = None,
    class_weights: Tensor = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross entropy of C binary labels, summed over the classes.

    With y the multi-hot, smoothed form of `labels` and p the sigmoid of
    `logits`, this is the sum over classes of
    `-class_weight * (positive_weight y log p + (1 - y) log(1 - p))`.

    Args:
        labels: `(B, L)` label ids, see `label_ids`.
        logits: `(B, C)`.
        positive_weight: Factor of the positive term, one number or one per
            class.
        class_weights: Factor of each class, one number or one per class.
        label_smoothing: s of this module's docstring, in [0, 1).

    Returns:
        `(B,)` losses.

    Raises:
        ValueError: If a weight or `label_smoothing` is out of range.

    Example:

    >>> labels, logits = np.array([[1, -1]]), np.zeros((1, 4), "float32")
    >>> loss = keras_jft.pretrain.sigmoid_cross_entropy(labels, logits)
    >>> print(round(float(loss[0] / np.log(2)), 4))
    4.0

    References:
        Sun et al. 2017, section 4.1 (one logistic loss per label).
        Wightman et al. 2021, https://arxiv.org/abs/2110.00476, section 2.2
        (binary cross entropy, smoothed as the softmax loss is).
    """
    num_classes = logits.shape[-1]
    positive = _weights("positive_weight", positive_weight, num_classes)
    weights = _weights("class_weights", class_weights, num_classes)
    checks.fraction("label_smoothing", label_smoothing)

    # For a target y, the loss of a class is a * softplus(x) - b * x.
    def coefficients(is_label, classes):
        y = (1 - label_smoothing) * is_label + label_smoothing / num_classes
        factor, w = _at(weights, classes), _at(positive, classes)
        return factor * (1 - y + w * y), factor * w * y

    def losses_and_slopes(x, is_label, classes):
        a, b = coefficients(is_label, classes)
        p = ops.sigmoid(x)
        return _difference(a, _softplus(x, p), b, x), _difference(a, p, b, 1.0)

    return label_ids.sum_over_classes(labels, logits, losses_and_slopes)


def asymmetric_loss(
    labels: Tensor,
    logits: Tensor,
    *,
    gamma_positive: float = 0.0,
    gamma_negative: float = 4.0,
    margin: float = 0.05,
    class_weights: Tensor = None,
) -> Tensor:
    """Return the asymmetric loss (ASL), summed over the classes.

    With p the sigmoid of a logit: `-(1 - p)^gamma_positive log p` if the label
    is present, and `-q^gamma_negative log(1 - q)`, `q = max(p - margin, 0)`, if
    it is absent. Easy negatives count little, those below `margin` not at all.

    Args:
        labels: `(B, L)` label ids, see `label_ids`.
        logits: `(B, C)`.
        gamma_positive: Focus on hard positives, 0 or at least 1.
        gamma_negative: Focus on hard negatives, 0 or at least 1.
        margin: Probability subtracted from that of a negative, in [0, 1).
        class_weights: Factor of each class, one number or one per class.

    Returns:
        `(B,)` losses.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> labels, logits = np.array([[0]]), np.zeros((1, 2), "float32")
    >>> loss = keras_jft.pretrain.asymmetric_loss(
    ...     labels, logits, gamma_negative=1.0, margin=0.0)
    >>> print(round(float(loss[0] / np.log(2)), 4))
    1.5

    References:
        Ridnik et al. 2021, https://arxiv.org/abs/2009.14119, equations 4-7.
    """
    weights = _weights("class_weights", class_weights, logits.shape[-1])
    gammas = {"positive": gamma_positive, "negative": gamma_negative}
    for name, gamma in gammas.items():
        if gamma != 0 and gamma < 1:
            raise ValueError(
                f"`gamma_{name}` must be 0 or at least 1, where its gradient "
                f"is finite. Received: gamma_{name}={gamma}."
            )
    checks.fraction("margin", margin)

    def of_present(x):
        p, rest = ops.sigmoid(x), ops.sigmoid(-x)
        focus, log = _power(rest, gamma_positive), ops.softplus(-x)
        return focus * log, -focus * (rest + gamma_positive * p * log)

    def of_absent(x):
        p = ops.sigmoid(x)
        spread = p * (1 - p)
        if margin:
            q = ops.maximum(p - margin, 0.0)
            rest = 1 - q
            # log1p is exact for small q; without a power of q this matters.
            log = -(ops.log(rest) if gamma_negative else ops.log1p(-q))
            rate = spread / rest
        else:  # This form stays finite for large logits.
            q, log, rate = p, _softplus(x, p), p
        if not gamma_negative:
            return log, ops.where(q > 0, rate, 0.0)
        focus = _power(q, gamma_negative - 1)
        slope = rate * q + gamma_negative * spread * log
        return focus * q * log, focus * slope

    def losses_and_slopes(x, is_label, classes):
        weight = _at(weights, classes)
        loss, slope = of_present(x) if is_label else of_absent(x)
        return _times(weight, loss), _times(weight, slope)

    return label_ids.sum_over_classes(labels, logits, losses_and_slopes)


def softmax_cross_entropy(
    labels: Tensor, logits: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Return the softmax cross entropy, the target shared by k labels.

    The target is 1 / k for each of an image's k labels, so that one label per
    image gives the usual loss. Labels with weights share the target in
    proportion to them. Unknown labels are read as padding.

    Args:
        labels: `(B, L)` label ids, see `label_ids`.
        logits: `(B, C)`.
        label_smoothing: s of this module's docstring, in [0, 1).

    Returns:
        `(B,)` losses; 0 for an image without labels.

    Raises:
        ValueError: If `label_smoothing` is out of range.

    Example:

    >>> labels, logits = np.array([[2], [-1]]), np.zeros((2, 8), "float32")
    >>> loss = keras_jft.pretrain.softmax_cross_entropy(labels, logits)
    >>> print(np.round(ops.convert_to_numpy(loss) / np.log(2), 4))
    [3. 0.]

    References:
        Mahajan et al. 2018, https://arxiv.org/abs/1805.00932, section 2.2.
        Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7.
    """
    checks.fraction("label_smoothing", label_smoothing)
    labels, weights = label_ids.split(labels)
    classes, is_label, _ = label_ids.read(ops.maximum(labels, -1))
    at_labels = ops.take_along_axis(logits, classes, axis=1)
    shares = ops.cast(is_label, logits.dtype)
    if weights is not None:
        shares = shares * ops.cast(weights, logits.dtype)
    count = ops.sum(shares, axis=1)
    chosen = ops.sum(shares * at_labels, axis=1)
    chosen = (1 - label_smoothing) * chosen / ops.where(count > 0, count, 1.0)
    if label_smoothing:
        chosen += label_smoothing * ops.mean(logits, axis=1)
    losses = ops.logsumexp(logits, axis=1) - chosen
    losses = ops.where(count > 0, losses, 0.0)
    if weights is None:
        losses = label_ids.refuse_multi_hot(labels, losses, logits.shape[-1])
    return losses


def _weights(name, weights, num_classes):
    """Return `weights` as a float or a `(C,)` float32 array, 1.0 for None."""
    if weights is None:
        return 1.0
    array = np.asarray(weights, "float32")
    if array.shape not in ((), (num_classes,)):
        raise ValueError(
            f"`{name}` must be a number or one number per class. Received: "
            f"shape {array.shape} for "
            f"{number_of(num_classes, 'class', 'classes')}."
        )
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise ValueError(
            f"`{name}` must be finite and not negative. Received values from "
            f"{array.min()} to {array.max()}."
        )
    return array if array.ndim else float(array)


def _at(weights, classes):
    if isinstance(weights, float) or classes is None:
        return weights
    return ops.take(weights, classes)


def _times(factor, x):
    """Return `factor * x`, without a pass over x if the factor is 1."""
    return x if isinstance(factor, float) and factor == 1 else factor * x


def _difference(a, x, b, y):
    """Return `a * x - b * y`, without a pass over x or y if a = 1 or b = 0."""
    x = _times(a, x)
    return x if isinstance(b, float) and b == 0 else x - b * y


def _softplus(x, p):
    """Return `log(1 + exp(x))` to the last digit; p is the sigmoid of x."""
    return ops.relu(x) - ops.log1p(-ops.minimum(p, 1 - p))


def _power(x, exponent):
    """Return `x ** exponent`, by products if it is a small integer."""
    if exponent not in range(9):
        return ops.power(x, exponent)
    if exponent in (0, 1):
        return x if exponent else ops.ones_like(x)
    root = _power(x, exponent // 2)
    return root * root * x if exponent % 2 else root * root


# === Keras losses ===


class _LossFromIds(keras.losses.Loss):
    """A loss of padded label ids, in float32 under any dtype policy.

    bfloat16 would turn id 18290 into 18304; float32 is exact up to 2**24.
    """

    def __init__(self, name: str, reduction: str | None, **arguments: Any):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self._arguments = arguments
        for argument, given in arguments.items():
            setattr(self, argument, given)

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None
    ) -> Tensor:
        """Return the reduced loss; refuse dense targets."""
        y_true = ops.convert_to_tensor(y_true)
        label_ids.check(y_true)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return `(B,)` losses of ids and logits `(B, C)`.

        Ids are `(B, L)`, `(B,)`, or, with weights, `(B, L, 2)`.
        """
        weighted = len(y_true.shape) == 3
        labels = y_true if weighted else ops.cast(y_true, "int32")
        if len(labels.shape) == 1:
            labels = labels[:, None]
        return type(self).function(labels, y_pred, **self._arguments)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        arguments = {
            name: given.tolist() if isinstance(given, np.ndarray) else given
            for name, given in self._arguments.items()
        }
        return {"name": self.name, "reduction": self.reduction, **arguments}


@keras.saving.register_keras_serializable("keras_jft")
class MultiLabelLoss(_LossFromIds):
    """`sigmoid_cross_entropy`, averaged over the batch.

    The paper does not say how it reduces the loss. Google's own many-label code
    sums over classes. With a mean over 18,291 classes, RMSProp with epsilon 1
    would hardly move, as its update is then nearly proportional to the
    gradient.

    Args:
        positive_weight: As for `sigmoid_cross_entropy`.
        class_weights: As for `sigmoid_cross_entropy`.
        label_smoothing: As for `sigmoid_cross_entropy`.
        name: Name of the loss.
        reduction: As in Keras, over the batch.
    """

    function = staticmethod(sigmoid_cross_entropy)

    def __init__(
        self,
        positive_weight: float | None = None,
        class_weights: ArrayLike | None = None,
        label_smoothing: float = 0.0,
        *,
        name: str = "multi_label_loss",
        reduction: str | None = "sum_over_batch_size",
    ):
        super().__init__(
            name,
            reduction,
            positive_weight=positive_weight,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
        )


@keras.saving.register_keras_serializable("keras_jft")
class AsymmetricLoss(_LossFromIds):
    """`asymmetric_loss`, averaged over the batch.

    Args:
        gamma_positive: As for `asymmetric_loss`.
        gamma_negative: As for `asymmetric_loss`.
        margin: As for `asymmetric_loss`.
        class_weights: As for `asymmetric_loss`.
        name: Name of the loss.
        reduction: As in Keras, over the batch.
    """

    function = staticmethod(asymmetric_loss)

    def __init__(
        self,
        gamma_positive: float = 0.0,
        gamma_negative: float = 4.0,
        margin: float = 0.05,
        class_weights: ArrayLike | None = None,
        *,
        name: str = "asymmetric_loss",
        reduction: str | None = "sum_over_batch_size",
    ):
        super().__init__(
            name,
            reduction,
            gamma_positive=gamma_positive,
            gamma_negative=gamma_negative,
            margin=margin,
            class_weights=class_weights,
        )


@keras.saving.register_keras_serializable("keras_jft")
class SoftmaxLoss(_LossFromIds):
    """`softmax_cross_entropy`, averaged over the batch.

    Args:
        label_smoothing: As for `softmax_cross_entropy`.
        name: Name of the loss.
        reduction: As in Keras, over the batch.
    """

    function = staticmethod(softmax_cross_entropy)

    def __init__(
        self,
        label_smoothing: float = 0.0,
        *,
        name: str = "softmax_loss",
        reduction: str | None = "sum_over_batch_size",
    ):
        super().__init__(name, reduction, label_smoothing=label_smoothing)
