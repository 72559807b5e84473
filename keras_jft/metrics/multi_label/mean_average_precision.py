"""Mean average precision at k as a Keras metric, over ids and logits.

The formulas of `multi_label.py` in `keras.ops`, with a state of fixed shape, so
that they run inside a compiled step on every backend.

Shapes: B images of a batch, N max_images, L label slots per image, C classes,
K = min(k, C) classes kept.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_jft.metrics.multi_label.multi_label import (
    check_arguments,
    check_weights,
)
from keras_jft.text import number_of
from keras_jft.typing import Arrays, Tensor

# Below every finite score, and above the -inf of a slot that holds nothing.
LOWEST = -3.0e38


@keras.saving.register_keras_serializable("keras_jft")
class MeanAveragePrecision(keras.metrics.Metric):
    """Mean average precision at k of label ids `(B, L)` and logits `(B, C)`.

    The number is the `map` of `jft.metrics.evaluate_multi_label`. It needs a
    sort over all images, so `keras_jft.training.Model` computes it only at the
    end of an epoch (`result_at_epoch_end`). Under a plain `keras.Model` the
    sort runs in every step, which is correct but slow.

    A compiled step cannot raise an error. Too many images, or an id that is not
    a class, make the result nan there, and raise an error where the result is
    read outside of a step, such as at the end of `fit` and `evaluate`.

    Args:
        k: How many predictions count per image (variant C: per class).
        num_classes: Number of classes C, or None to read it from the first
            logits.
        variant: `"A"`, `"B"` or `"C"`, see
            `keras_jft.metrics.multi_label.multi_label`.
        class_weights: C numbers, the importance of each class, or None for
            equal weights.
        max_images: The most images between two resets. The state holds N x K
            scores, classes and hits (variant C: C x k, without a limit).
        name: Name of the metric in logs.

    Raises:
        ValueError: If an argument is not as above. From `result`: if there
            were more than `max_images` images, or ids outside of -1..C-1.

    Example:
        >>> metric = MeanAveragePrecision(k=1)
        >>> metric.update_state([[0, -1], [1, -1]], [[2.0, -1.0], [0.5, 1.0]])
        >>> float(metric.result())
        1.0
    """

    result_at_epoch_end = True

    def __init__(
        self,
        k: int = 100,
        num_classes: int | None = None,
        variant: str = "A",
        class_weights: Arrays | None = None,
        max_images: int = 20_000,
        name: str = "map",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        check_arguments(k, variant)
        if not isinstance(max_images, int) or max_images < 1:
            raise ValueError(
                "`max_images` must be a whole number above 0. Received: "
                f"max_images={max_images}"
            )
        self.k = k
        self.num_classes = num_classes
        self.variant = variant
        self.class_weights = (
            None if class_weights is None else [float(w) for w in class_weights]
        )
        self.max_images = max_images
        self.images = self._state((), "int32", "images")
        self.strays = self._state((), "int32", "strays")
        self._built_classes: int | None = None
        if num_classes is not None:
            self._build(num_classes)

    def _state(self, shape, dtype, name):
        return self.add_variable(shape, "zeros", dtype=dtype, name=name)

    def _build(self, num_classes):
        self._built_classes = num_classes
        weights = check_weights(self.class_weights, num_classes)
        self._weights = weights.astype("float32")
        self.positives = self._state((num_classes,), "int32", "positives")
        kept = min(self.k, num_classes)
        if self.variant == "C":
            shape = (num_classes, self.k)
        else:
            shape = (self.max_images, kept)
            self.classes = self._state(shape, "int32", "classes")
        self.scores = self._state(shape, "float32", "scores")
        # Not bool: a strategy sums what its replicas hold.
        self.hits = self._state(shape, "int32", "hits")
        if self.variant == "B":
            self.ideals = self._state((self.max_images,), "float32", "ideals")

    # === Update ===

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None
    ) -> None:
        """Add label ids `(B, L)`, padded with -1, and logits `(B, C)`."""
        if sample_weight is not None:
            raise ValueError(
                "MeanAveragePrecision does not weigh images. Received a "
                "`sample_weight`: list the metric under `metrics=`, not "
                "`weighted_metrics=`; to weigh classes, give `class_weights=`."
            )
        labels, logits = _ids(y_true), ops.cast(y_pred, "float32")
        num_classes = self._built_classes or int(logits.shape[-1])
        if self._built_classes is None:
            self._build(num_classes)
        if logits.shape[-1] != num_classes:
            raise ValueError(
                "Expected logits for "
                f"{number_of(num_classes, 'class', 'classes')}. Received: "
                f"logits for {logits.shape[-1]}."
            )
        stray = (labels < -1) | (labels >= num_classes)
        if labels.shape[1] == num_classes:
            stray = stray | _are_multi_hot(labels)
        labels = _distinct(ops.where(stray, -1, labels))
        # nan ranks last, and -0.0 becomes 0.0, which JAX would rank above it.
        logits = ops.where(ops.isnan(logits), LOWEST, logits)
        logits = ops.where(logits == 0, 0.0, ops.maximum(logits, LOWEST))
        if self.variant == "C":
            self._keep_best_images(labels, logits)
        else:
            self._keep_best_classes(labels, logits)
        # Padding is counted as one more class, which is cut off.
        bins = ops.where(labels < 0, num_classes, labels)
        self.positives.assign_add(
            ops.segment_sum(
                ops.ravel(ops.ones_like(bins)),
                ops.ravel(bins),
                num_segments=num_classes + 1,
            )[:num_classes]
        )
        self.images.assign_add(ops.shape(logits)[0])
        self.strays.assign_add(ops.sum(ops.cast(stray, "int32")))

    def _keep_best_classes(self, labels, logits):
        scores, classes = ops.top_k(logits, min(self.k, self._built_classes))
        classes = ops.cast(classes, "int32")
        hits = ops.any(classes[:, :, None] == labels[:, None, :], axis=-1)
        # Images beyond `max_images` overwrite the first; `result` refuses.
        rows = self.images + ops.arange(ops.shape(logits)[0], dtype="int32")
        rows = ops.expand_dims(rows % self.max_images, -1)
        self.scores.assign(ops.scatter_update(self.scores, rows, scores))
        self.classes.assign(ops.scatter_update(self.classes, rows, classes))
        hits = ops.cast(hits, "int32")
        self.hits.assign(ops.scatter_update(self.hits, rows, hits))
        if self.variant == "B":
            weights = ops.take(self._weights, ops.maximum(labels, 0))
            weights = ops.where(labels < 0, 0.0, weights)
            heaviest = -ops.sort(-weights, axis=1)[:, : classes.shape[1]]
            ideals = ops.sum(heaviest, axis=1)
            self.ideals.assign(ops.scatter_update(self.ideals, rows, ideals))

    def _keep_best_images(self, labels, logits):
        classes = ops.arange(self._built_classes, dtype="int32")
        hits = ops.any(classes[:, None, None] == labels[None], axis=-1)
        # The kept images first: of equal scores the earlier image stays.
        filled = ops.arange(self.k) < self.images
        kept = ops.where(filled, self.scores.value, float("-inf"))
        scores = ops.concatenate([kept, ops.transpose(logits)], axis=1)
        hits = ops.cast(hits, "int32")
        hits = ops.concatenate([self.hits.value, hits], axis=1)
        scores, best = ops.top_k(scores, self.k)
        self.scores.assign(scores)
        self.hits.assign(ops.take_along_axis(hits, best, axis=1))

    # === Several replicas ===

    def merge(self, states: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Return the state that one device would have, from those of several.

        Equal scores of images in different states rank in the order of the
        states, which need not be that of the images.

        Args:
            states: One list per device, of arrays in the order of `variables`.

        Returns:
            Arrays in the order of `variables`.
        """
        names = [variable.name for variable in self.variables]
        held = [dict(zip(names, s, strict=True)) for s in states]
        images = [int(state["images"]) for state in held]
        counts = ("images", "strays", "positives")
        merged = {
            name: np.sum([state[name] for state in held], 0, "int32")
            for name in counts
            if name in names
        }
        rows = [name for name in names if name not in merged]
        if self.variant == "C":
            merged.update(self._merge_best_images(held, images))
        else:
            for name in rows:
                filled = np.concatenate(
                    [s[name][:n] for s, n in zip(held, images, strict=True)]
                )[: self.max_images]
                merged[name] = np.zeros_like(held[0][name])
                merged[name][: len(filled)] = filled
        return [merged[name] for name in names]

    def _merge_best_images(self, states, images):
        if self._built_classes is None:
            return {}
        scores, hits = (
            np.concatenate(
                [s[name][:, :n] for s, n in zip(states, images, strict=True)],
                axis=1,
            )
            for name in ("scores", "hits")
        )
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self.k]
        empty = ((0, 0), (0, self.k - best.shape[1]))
        return {
            "scores": np.pad(
                np.take_along_axis(scores, best, 1),
                empty,
                constant_values=-np.inf,
            ),
            "hits": np.pad(np.take_along_axis(hits, best, 1), empty),
        }

    # === Result ===

    def result(self) -> Tensor:
        """Return mean average precision, a scalar; nan if nothing counts."""
        self._raise_if_unusable()
        if self._built_classes is None:
            return ops.convert_to_tensor(float("nan"))
        if self.variant == "B":
            sums, ideals = self._sums_by_image()
            weights = ops.cast(ideals > 0, "float32")
        else:
            sums, ideals = (
                self._sums_by_class()
                if self.variant == "A"
                else self._sums_of_best_images()
            )
            weights = self._weights * ops.cast(ideals > 0, "float32")
        precisions = sums / ops.maximum(ideals, 1e-30)
        total = ops.sum(weights)
        mean = ops.sum(weights * precisions) / ops.maximum(total, 1e-30)
        usable = (total > 0) & (self.strays == 0)
        if self.variant != "C":
            usable = usable & (self.images <= self.max_images)
        return ops.where(usable, mean, float("nan"))

    def _sums_by_class(self):
        """Return variant A's sums of precision and their divisors, `(C,)`."""
        num_classes = self._built_classes
        stored = ops.arange(self.max_images) < self.images
        # Empty slots go to one more class, which is cut off.
        classes = ops.where(stored[:, None], self.classes.value, num_classes)
        classes, scores = ops.ravel(classes), ops.ravel(self.scores)
        # Two stable sorts: by class, then by score, then by image.
        order = ops.argsort(-scores)
        order = ops.take(order, ops.argsort(ops.take(classes, order)))
        classes = ops.take(classes, order)
        hits = ops.take(ops.ravel(self.hits), order)
        starts = ops.searchsorted(
            classes, ops.arange(num_classes + 1, dtype="int32")
        )
        start = ops.cast(ops.take(starts, classes), "int32")
        ranks = ops.arange(classes.shape[0], dtype="int32") - start + 1
        found = ops.cumsum(hits)
        found = found - ops.take(found - hits, start)
        sums = ops.segment_sum(
            ops.cast(hits * found, "float32") / ops.cast(ranks, "float32"),
            classes,
            num_segments=num_classes + 1,
        )
        return sums[:num_classes], ops.cast(self.positives, "float32")

    def _sums_by_image(self):
        """Return variant B's sums of precision and their divisors, `(N,)`."""
        hits = ops.cast(self.hits, "float32")
        gains = hits * ops.take(self._weights, self.classes)
        return ops.sum(gains * _precision(hits), axis=1), self.ideals.value

    def _sums_of_best_images(self):
        """Return variant C's sums of precision and their divisors, `(C,)`."""
        hits = ops.cast(self.hits, "float32")
        ideals = ops.cast(ops.minimum(self.positives, self.k), "float32")
        return ops.sum(hits * _precision(hits), axis=1), ideals

    def _raise_if_unusable(self):
        if not _is_concrete(self.images):
            return
        images = int(ops.convert_to_numpy(self.images))
        if images > self.max_images and self.variant != "C":
            raise ValueError(
                f"MeanAveragePrecision(max_images={self.max_images}) saw "
                f"{number_of(images, 'image')} since its last reset. Give it "
                "max_images="
                f"{images} or more."
            )
        strays = int(ops.convert_to_numpy(self.strays))
        if strays:
            raise ValueError(
                f"{strays} label ids are outside of 0.."
                f"{self._built_classes - 1} (or -1 for padding), or multi-hot "
                "targets. Give the model as many classes as the labels need; "
                "`jft.data.label_ids(Y)` gives the ids of multi-hot targets."
            )

    # === Config ===

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "k": self.k,
            "num_classes": self.num_classes,
            "variant": self.variant,
            "class_weights": self.class_weights,
            "max_images": self.max_images,
        }


def _ids(y_true):
    """Return label ids as int32; refuse floats that would round them."""
    labels = ops.convert_to_tensor(y_true)
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if dtype in ("bfloat16", "float16") or len(labels.shape) != 2:
        raise ValueError(
            "Label ids must be integers of shape (B, L), padded with -1 (16 "
            "bits of a float round ids above 256). Received: shape "
            f"{tuple(labels.shape)}, dtype {dtype}."
        )
    return ops.cast(labels, "int32")


def _are_multi_hot(labels):
    """Return whether labels are multi-hot, as `checks.label_ids` does.

    In `keras.ops`, for compiled steps.
    """
    dense = ops.all((labels == 0) | (labels == 1))
    if labels.shape[1] > 2:
        return dense
    return dense & ops.any(labels[:, :1] == labels[:, 1:])


def _distinct(labels):
    """Return the sorted label ids of each row; a repeated id becomes -1."""
    labels = ops.sort(labels, axis=1)
    repeated = labels[:, 1:] == labels[:, :-1]
    rest = ops.where(repeated, -1, labels[:, 1:])
    return ops.concatenate([labels[:, :1], rest], axis=1)


def _precision(hits):
    """Return the precision at each rank of sorted hits `(rows, ranks)`."""
    ranks = ops.arange(1, hits.shape[1] + 1, dtype="float32")
    return ops.cumsum(hits, axis=1) / ranks


def _is_concrete(variable):
    """Return whether a value can be read here: not in a compiled step."""
    try:
        ops.convert_to_numpy(variable)
    except (NotImplementedError, TypeError):
        return False
    return True
