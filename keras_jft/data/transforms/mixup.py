"""`mixup`: the images of a batch are mixed in pairs, and their labels too.

Shapes: B batch size, L labels per image.
"""

from typing import Any

import numpy as np

from keras_jft.data.batch import PADDING
from keras_jft.typing import Batch

_IMAGE_KEYS = {"images", "labels", "ids"}


def mixup(
    batch: Batch, rng: np.random.Generator, alpha: float = 0.2
) -> dict[str, Any]:
    """Return the batch with each image mixed with another one of it.

    A new image is s times the image plus 1 - s times the other, with s drawn
    from Beta(alpha, alpha). Targets stay sparse: the batch lists the labels of
    both images with weights s and 1 - s. A label of both images has weight 1.

    Args:
        batch: A contract batch of NumPy arrays, with `images` and `labels`.
        rng: A NumPy generator.
        alpha: Above 0; the larger, the more evenly images are mixed.

    Returns:
        A new batch: `images` of the same shape; `labels` `(B, 2 L)` and
        `label_weights` `(B, 2 L)` float32, which `jft.MultiLabelClassifier`
        and its losses accept; and the same `ids`.

    Raises:
        ValueError: `alpha` is not positive; or the batch has no labels, or
            anything that cannot be mixed: boxes, masks, keypoints, padding.

    Example:

    >>> batch = {"images": np.uint8([[[[0] * 3]], [[[200] * 3]]]),
    ...          "labels": np.int32([[4], [7]])}
    >>> mixed = mixup(batch, np.random.default_rng(0), alpha=1.0)
    >>> mixed["labels"].tolist()
    [[4, 7], [7, 4]]

    References:
        Zhang et al. 2018, https://arxiv.org/abs/1710.09412.
    """
    if not alpha > 0:
        raise ValueError(f"`alpha` must be above 0. Received: {alpha}.")
    others = batch.keys() - _IMAGE_KEYS
    if others or "labels" not in batch:
        raise ValueError(
            "Only images and their labels can be mixed. Received a batch of "
            f"{sorted(batch)}. Leave {sorted(others)} out of it, or do not mix."
        )
    size = len(batch["images"])
    shares = rng.beta(alpha, alpha, size).astype("float32")
    # The next image in a random order, so that none is mixed with itself.
    order = rng.permutation(size)
    partner = np.empty(size, int)
    partner[order] = np.roll(order, 1)
    labels, weights = _mixed_labels(batch["labels"], partner, shares)
    return {
        **batch,
        "images": _mixed(batch["images"], partner, shares),
        "labels": labels,
        "label_weights": weights,
    }


def _mixed(images, partner, shares):
    mixed = np.empty_like(images)
    for i, share in enumerate(shares):
        pixels = share * images[i] + (1 - share) * images[partner[i]]
        if images.dtype == np.uint8:
            pixels = np.rint(pixels)
        mixed[i] = pixels
    return mixed


def _mixed_labels(labels, partner, shares):
    if labels.ndim == 1:
        labels = labels[:, None]
    theirs = labels[partner]
    same = (labels[:, :, None] == theirs[:, None, :]) & (labels >= 0)[..., None]
    theirs = np.where(same.any(axis=1), PADDING, theirs)
    own = np.where(same.any(axis=2), 1, shares[:, None])
    ids = np.concatenate([labels, theirs], axis=1)
    rest = np.broadcast_to(1 - shares[:, None], theirs.shape)
    weights = np.concatenate([own, rest], axis=1)
    return ids, np.where(ids == PADDING, 0, weights).astype("float32")
