"""Embed a data set into shards of files, and resume after an interruption.

A shard is one archive (`keras_jft/training/checkpoints/archive.py`), with a
checksum; it exists whole or not at all. Its name gives its number and how many
rows it has: `000012-010000.npz`. `manifest.json` identifies the data and the
backbone.

Without a backbone, small thumbnails can serve as embeddings (`thumbnails`).
"""

import hashlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras import ops

from keras_jft import data as data_lib
from keras_jft import files
from keras_jft.data import subsets
from keras_jft.data.dataset import Dataset, fingerprint
from keras_jft.data.datasets.json_records import records_of
from keras_jft.evaluation.duplicates import search
from keras_jft.files import is_tool_name
from keras_jft.text import without_addresses
from keras_jft.text_files import claim_folder, read_json
from keras_jft.training.checkpoints import archive
from keras_jft.training.keras_internals import HookedModel
from keras_jft.typing import PathLike, Transform

_MANIFEST = "manifest.json"


def embed(
    backbone: keras.Model,
    data: Dataset,
    directory: PathLike,
    *,
    transforms: str | Sequence[Transform] | None = None,
    batch_size: int = 256,
    shard_size: int = 10_000,
    tolerate: float = 0,
    part: tuple[int, int] = (0, 1),
) -> "Embeddings | None":
    """Write pooled embeddings of unit length, shard by shard.

    Called again after an interruption, it only makes the missing shards.

    Args:
        backbone: A `keras.Model` from images to vectors, or to a feature map,
            which is averaged over its positions.
        data: A `Dataset`.
        directory: Folder of the shards, or its URL.
        transforms: As in `jft.data.iterate`; they must bring all images to one
            size. The folder records their `repr`, of functions the names only.
        batch_size: Images per step.
        shard_size: Images per shard; the embeddings of one shard are held in
            memory.
        tolerate: Number of images per shard that may be unreadable, as in
            `jft.data.iterate`. They have no embedding.
        part: `(index, count)`: this process makes every `count`-th shard,
            starting with number `index`.

    Returns:
        The `Embeddings` if all shards exist, else None.

    Raises:
        ValueError: If an embedding is zero or not finite, ids repeat within a
            shard, or `directory` holds embeddings of something else.
    """
    folder = files.as_path("directory", directory, "embeddings/photos")
    model = _pooled(backbone)
    made_from = {
        "num_examples": len(data),
        "shard_size": shard_size,
        "data": fingerprint(data),
        "model": _digest_of_weights(model),
        "transforms": without_addresses(repr(transforms)),
    }
    claim_folder(folder, _MANIFEST, made_from, "embeddings")
    index, count = part
    there = {shard.number for shard in _shards(folder)}
    shards = -(-len(data) // shard_size)
    for number in range(index, shards, count):
        if number in there:
            continue
        start = number * shard_size
        stop = min(start + shard_size, len(data))
        span = subsets.at(data, np.arange(start, stop))
        batches = data_lib.iterate(
            span, batch_size, transforms=transforms, tolerate=tolerate
        )
        names, rows = [], []
        for batch in batches:
            names.extend(np.asarray(batch["ids"]).tolist())
            rows.append(_embeddings(model, batch["images"], batch_size))
        ids = np.asarray(names)
        search.check_different(ids, f"ids of shard {number}")
        archive.write(
            folder / f"{number:06}-{len(ids):06}.npz",
            {"ids": ids, "embeddings": _normalized(np.concatenate(rows), ids)},
            {"kind": "embeddings"},
        )
    whole = len(_shards(folder)) == shards
    return Embeddings(directory) if whole else None


class Embeddings:
    """Embeddings that `embed` wrote.

    Iterating over them yields `(ids, (n, D) float32)` for each shard.

    Args:
        directory: Folder of the shards.

    Raises:
        ValueError: If the folder holds no embeddings, or shards are missing.
    """

    def __init__(self, directory: PathLike):
        self.directory = files.as_path(
            "directory", directory, "embeddings/photos"
        )
        path = self.directory / _MANIFEST
        if not path.is_file():
            raise ValueError(
                f"{str(directory)!r} must hold embeddings. Received a folder "
                f"without {_MANIFEST}. Make them with `embed`."
            )
        (manifest,) = records_of(path, [read_json(path)], None, "manifest")
        self.shards = _shards(self.directory)
        shard_size = manifest.integer("shard_size", lowest=1)
        expected = -(-manifest.integer("num_examples") // shard_size)
        if len(self.shards) < expected:
            raise ValueError(
                f"{str(directory)!r} has {len(self.shards)} of {expected} "
                "shards: the pass was interrupted. Call `embed` again to "
                "continue."
            )
        counts = [shard.count for shard in self.shards]
        self.starts = np.cumsum([0, *counts])[:-1].tolist()
        self._length = sum(counts)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number in range(len(self.shards)):
            yield self.read(number)

    def read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `(ids, (n, D) float32)` of one shard."""
        arrays, _ = archive.read(self.shards[number].path)
        return arrays["ids"], arrays["embeddings"]


class _Shard:
    """A file of embeddings, described by its name."""

    def __init__(self, path):
        self.path = path
        self.number, self.count = map(int, path.stem.split("-"))


def _shards(directory):
    """Return the shards that exist, in order."""
    return [
        _Shard(path)
        for path in sorted(directory.glob("*-*.npz"))
        if not is_tool_name(path.name)
    ]


def _pooled(backbone):
    (output,) = backbone.outputs
    if len(output.shape) == 4:
        pool = keras.layers.GlobalAveragePooling2D(
            dtype="float32", name="embedding_pool"
        )
        output = pool(output)
    return HookedModel(backbone.inputs, output, name="embedding")


def _embeddings(model, images, batch_size):
    """Return `(n, D)` embeddings of a batch, padded to avoid a second trace."""
    missing = np.repeat(images[-1:], batch_size - len(images), axis=0)
    rows = model.predict_on_batch(np.concatenate([images, missing]))
    return np.asarray(rows, "float32")[: len(images)]


def _normalized(rows, ids):
    lengths = np.linalg.norm(rows, axis=1)
    wrong = ~(np.isfinite(lengths) & (lengths > 0))
    if wrong.any():
        raise ValueError(
            "Every embedding must be finite and not zero. Received length "
            f"{lengths[wrong][0]:g} for {ids[wrong].tolist()[0]!r}, "
            f"{wrong.sum()} in total. Check the backbone's weights, or leave "
            "these images out."
        )
    return rows / lengths[:, None]


def _digest_of_weights(model):
    digest = hashlib.sha256()
    for variable in model.weights:
        array = np.ascontiguousarray(ops.convert_to_numpy(variable))
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


@keras.saving.register_keras_serializable("keras_jft")
class Thumbnail(keras.layers.Layer):
    """Pixels of a small thumbnail minus their mean color, blind to mirroring.

    The cosine of two embeddings is a correlation of pixels: near 1 for copies
    that show the same frame. It does not depend on content, so a copy cropped
    by more than a tenth is missed. All images of a single color have the same
    embedding.

    Args:
        side: Height and width of the thumbnail, an even number.
    """

    def __init__(self, side=8, **kwargs):
        super().__init__(**kwargs)
        self.side = side

    def call(self, images):
        """Return `(B, 3 side ** 2 + 1)` for `(B, H, W, 3)` in 0..255."""
        x = ops.cast(images, "float32")
        x = ops.image.resize(
            x,
            (self.side, self.side),
            antialias=True,
            data_format="channels_last",
        )
        x = x - ops.mean(x, axis=(1, 2), keepdims=True)
        half = x[:, :, : self.side // 2]
        mirrored = ops.flip(x, axis=2)[:, :, : self.side // 2]
        even, odd = half + mirrored, ops.abs(half - mirrored)
        rows = ops.reshape(
            ops.concatenate([even, odd], axis=2), (-1, self.width - 1)
        )
        return ops.concatenate([rows, ops.ones_like(rows[:, :1])], axis=1)

    @property
    def width(self):
        """Length of an embedding."""
        return 3 * self.side**2 + 1

    def compute_output_shape(self, input_shape):
        """Return `(B, width)`."""
        return (input_shape[0], self.width)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "side": self.side}


def thumbnails(side: int = 8) -> keras.Model:
    """Return a model of `Thumbnail`, which `embed` takes as a backbone.

    Args:
        side: Height and width of the thumbnail, an even number.

    Returns:
        A `keras.Model` from images `(B, H, W, 3)` to `(B, 3 side ** 2 + 1)`.

    Raises:
        ValueError: If `side` is odd or not positive.
    """
    if side < 2 or side % 2:
        raise ValueError(f"`side` must be even, 2 or more. Received: {side}.")
    images = keras.Input((None, None, 3), name="images")
    layer = Thumbnail(side, dtype="float32", name="thumbnail")
    return keras.Model(images, layer(images), name="thumbnails")
