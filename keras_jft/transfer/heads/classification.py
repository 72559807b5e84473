"""`Classifier`: one label per image."""

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_jft import checks, training
from keras_jft.backbones.backbone import pooled_features
from keras_jft.transfer.heads import head


@keras.saving.register_keras_serializable("keras_jft")
class Classifier(training.Model):
    """Pooled features of a backbone, then a softmax over classes.

    Targets are `labels` `(B,)`; the loss is the softmax cross entropy. Calling
    or predicting returns logits `(B, num_classes)` in float32.

    Args:
        backbone: A backbone that keeps the contract of `jft.backbones`.
        num_classes: Number of classes.
        label_smoothing: Fraction of the target that is spread over all classes,
            in [0, 1).
        name: Name of the model.

    Raises:
        ValueError: If `label_smoothing` is out of range.

    References:
        Sun et al. 2017, section 5.1 (ImageNet, Table 1).
    """

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        *,
        label_smoothing: float = 0.0,
        name: str = "classifier",
        **kwargs: Any,
    ):
        _check_options(label_smoothing=label_smoothing)

        # === Layers ===
        logits = keras.layers.Dense(
            num_classes, dtype="float32", name="head_logits"
        )

        # === Functional model ===
        super().__init__(
            inputs=backbone.input,
            outputs=logits(pooled_features(backbone)),
            name=name,
            **kwargs,
        )

        # === Config ===
        self.backbone = backbone
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing

    def check_targets(self, y: Any) -> None:
        """Raise a `ValueError` unless `y` holds one class id per image."""
        _check_labels(y)
        if isinstance(y, np.ndarray) and y.size:
            low, high = y.min(), y.max()
            if low < 0 or high >= self.num_classes:
                raise ValueError(
                    "Labels must be class ids in "
                    f"0..{self.num_classes - 1}. Received values in "
                    f"{low}..{high}. Count from 0, and build the model with "
                    "as many `num_classes` as there are."
                )

    def in_one_rank(self, y: Any) -> Any:
        """Return ids `(B, 1)` as `(B,)`."""
        return y[:, 0] if tuple(np.shape(y)[1:]) == (1,) else y

    def default_loss(self) -> Any:
        """Return the softmax cross entropy of integer labels."""
        return SmoothedCrossentropy(self.label_smoothing)

    def default_metrics(self) -> list[Any] | None:
        """Return the accuracy."""
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "label_smoothing": self.label_smoothing,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a model with these arguments."""
        return cls(**keras.saving.deserialize_keras_object(config))


def smoothed_cross_entropy(labels, logits, label_smoothing=0.0):
    """Return the softmax cross entropy with smoothed labels.

    Args:
        labels: `(B,)` integer labels.
        logits: `(B, C)`.
        label_smoothing: s: the target is `(1 - s) one_hot + s / C`.

    Returns:
        `(B,)` losses; nan for a label that is not a class, unless the backend
        raises an error.

    References:
        Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7.
    """
    losses = ops.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )
    known = (labels >= 0) & (labels < logits.shape[-1])
    losses = ops.where(known, losses, float("nan"))
    if not label_smoothing:
        return losses
    uniform = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
    return (1 - label_smoothing) * losses + label_smoothing * uniform


@keras.saving.register_keras_serializable("keras_jft")
class SmoothedCrossentropy(keras.losses.Loss):
    """`smoothed_cross_entropy`, averaged over the batch.

    Args:
        label_smoothing: As for `smoothed_cross_entropy`.
        name: Name of the loss.
    """

    def __init__(self, label_smoothing=0.0, name="smoothed_crossentropy"):
        super().__init__(name=name, dtype="float32")
        self.label_smoothing = label_smoothing

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the reduced loss; refuse one-hot targets."""
        y_true = ops.convert_to_tensor(y_true)
        if len(y_true.shape) > 1:
            _check_labels(y_true)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        """Return `(B,)` losses of labels `(B,)` or `(B, 1)`."""
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        return smoothed_cross_entropy(labels, y_pred, self.label_smoothing)

    def get_config(self):
        """Return the constructor's arguments."""
        return {"label_smoothing": self.label_smoothing, "name": self.name}


def _check_labels(labels):
    """Raise a `ValueError` for targets that are not `(B,)` class ids."""
    shape = tuple(labels.shape)
    if len(shape) == 2 and shape[1] not in (1, None):
        raise ValueError(
            "Labels must be class ids, one integer per image, (batch,). "
            f"Received: shape {shape}. If they are one-hot: "
            "`y.argmax(axis=-1)` gives the class ids."
        )
    if len(shape) not in (1, 2):
        raise ValueError(
            "Labels must be class ids, one integer per image, (batch,). "
            f"Received: shape {shape}."
        )
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if "int" not in dtype:
        raise ValueError(
            "Labels must be class ids, which are integers. Received: "
            f"{dtype}. Convert whole numbers with `.astype('int32')`."
        )


def _check_options(num_classes=None, *, label_smoothing, **_):
    checks.fraction("label_smoothing", label_smoothing)


HEAD = head.Head(
    build=Classifier, task="classification", check_options=_check_options
)
