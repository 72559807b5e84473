"""Examples to batches: shuffled, transformed, read in parallel, resumable.

Batch number i of an endless stream is a function of i alone, so the batches of
a run are the same after resuming, and for any number of threads. Start at
`iterate`; `Examples` puts examples in the order of an epoch and counts those
that cannot be read; `Batches` makes batches of them.

Shapes: B batch size, H W image height and width.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import itertools
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_jft import checks, sides
from keras_jft.data import keyed_random
from keras_jft.data.batch import KEYS, collate
from keras_jft.data.dataset import Dataset, check_data, fingerprint
from keras_jft.data.failures import UNREADABLE, cause_of
from keras_jft.data.transforms import RandomFlip
from keras_jft.data.transforms.geometry import IN_PLACE
from keras_jft.data.transforms.mixup import mixup
from keras_jft.data.transforms.presets import (
    TRANSFORMS,
    check_transforms,
    image_size_of,
)
from keras_jft.text import number_of
from keras_jft.typing import Transform

if TYPE_CHECKING:
    import tensorflow as tf


class Examples:
    """Examples, looked up by epoch and by place in that epoch's order.

    Args:
        data: A `Dataset`.
        training: Whether every epoch has a different order.
        seed: Seed of the orders, and of the random draws for examples.
        tolerate: How many examples may be unreadable: a count, or a fraction
            of `data` (a float).

    Attributes:
        skipped: `{id: reason}` of the examples that could not be read so far.
        causes: `{id: cause}` of the same examples; causes are short, to be
            counted.

    Raises:
        ValueError: `tolerate` is neither a count nor a fraction.
    """

    def __init__(self, data, training, seed, tolerate=0):
        checks.number("tolerate", tolerate, 0)
        if isinstance(tolerate, float) and tolerate >= 1:
            raise ValueError(
                "`tolerate` must be a count of 0 or more, or a fraction, a "
                f"float in [0, 1). Received: {tolerate!r}."
            )
        self.data, self.training, self.seed = data, training, seed
        self.tolerate = tolerate
        if isinstance(tolerate, float):
            self.tolerate = int(tolerate * len(data))
        self.skipped, self.causes = {}, {}
        self._lock = threading.Lock()

    def __getstate__(self):
        """Return what goes to another process: all but the lock."""
        state = dict(self.__dict__)
        del state["_lock"]
        return state

    def __setstate__(self, state):
        """Take over the state of another process, with a lock of this one."""
        self.__dict__.update(state, _lock=threading.Lock())

    def take(self, epoch, places):
        """Return the readable examples at `places` in the order of `epoch`.

        Raises:
            ValueError: More examples than tolerated cannot be read; or none
                of these can.
        """
        to_positions = self._order(epoch)
        try:
            return self.data.take(to_positions(places))
        except UNREADABLE:
            # Read one by one, to find the unreadable ones.
            found = [self._find(to_positions, place) for place in places]
        examples = [example for example in found if example is not None]
        if not examples:
            raise ValueError(
                "A batch must have at least one readable example. Received "
                f"{len(places)} that are not, among {list(self.skipped)[:5]}. "
                "Raise `batch_size`, or remove them from the data set."
            )
        return examples

    def report(self, most_names=20):
        """Return what could not be read so far; see `Batches.report`."""
        with self._lock:
            causes = dict(self.causes)
        names = {}
        for name, cause in causes.items():
            names.setdefault(cause, []).append(name)
        return {
            "num_examples": len(self.data),
            "tolerate": self.tolerate,
            "skipped": len(causes),
            "causes": {cause: len(found) for cause, found in names.items()},
            "names": {
                cause: found[:most_names] for cause, found in names.items()
            },
        }

    def generators(self, epoch, examples):
        """Return one random generator per example, of seed, epoch and id."""
        ids = [example["ids"] for example in examples]
        seed = keyed_random.hash64(keyed_random.hash64(self.seed, epoch), 1)
        return keyed_random.generators(keyed_random.hash64(seed, ids))

    def generator(self, epoch, place):
        """Return a random generator of seed, epoch and place, for a batch."""
        seed = keyed_random.hash64(keyed_random.hash64(self.seed, epoch), 2)
        (generator,) = keyed_random.generators(
            keyed_random.hash64(seed, [place])
        )
        return generator

    def _order(self, epoch):
        if not self.training:
            return np.asarray
        seed = keyed_random.hash64(keyed_random.hash64(self.seed, epoch), 0)
        return keyed_random.permutation(len(self.data), seed)

    def _find(self, to_positions, place):
        """Return the example at `place`; in training, the next readable one."""
        for step in range(len(self.data) if self.training else 1):
            position = int(to_positions((place + step) % len(self.data)))
            try:
                return self.data.take([position])[0]
            except UNREADABLE as error:
                self._skip(position, error)
        return None

    def _skip(self, position, error):
        """Count an unreadable example; raise if there are too many."""
        name = np.asarray(self.data.ids([position])).tolist()[0]
        with self._lock:
            known = name in self.skipped
            self.skipped[name] = str(error)
            self.causes[name] = cause_of(error)
            count = len(self.skipped)
        if count > self.tolerate:
            raise ValueError(
                f"Example {name!r} cannot be read: {error} Unreadable so far: "
                f"{count}, allowed: tolerate={self.tolerate}."
            ) from error
        if not known:
            warnings.warn(
                f"Skipped example {name!r}, {count} of at most "
                f"{self.tolerate}: {error}",
                stacklevel=2,
            )


def iterate(
    data: Dataset,
    batch_size: int,
    *,
    transforms: str | Sequence[Transform] | None = None,
    training: bool = False,
    seed: int = 0,
    drop_remainder: bool | None = None,
    tolerate: float = 0,
    shard: tuple[int, int] = (0, 1),
    initial_epoch: int = 0,
    initial_step: int = 0,
    workers: int | None = None,
    mixup: float = 0.0,
    originals: bool = False,
) -> "Batches":
    """Return an iterable of contract batches of NumPy arrays.

    It can be iterated over any number of times; its `len` is the number of
    batches per pass.

    Args:
        data: A `Dataset`.
        batch_size: Examples per batch of this worker.
        transforms: A name in `TRANSFORMS`, or a sequence of functions
            `example, rng -> example`.
        training: Whether every pass has a different random order. It also
            chooses the training version of named transforms.
        seed: Seed of order and transforms. The random draws for an example
            depend on seed, epoch and its id, not on which thread or worker
            reads it, or when.
        drop_remainder: Whether a last batch that is not full is left out. By
            default only in training.
        tolerate: How many examples may be unreadable: a count, or a fraction
            of `data` (a float). Each gives a warning and is left out of its
            batch; in training, the next in the order takes its place.
            `Batches.report` counts them by cause.
        shard: `(index, count)`: of every `count` consecutive examples, this
            worker reads number `index`.
        initial_epoch: Epoch to begin in, when training is resumed.
        initial_step: Batch of that epoch to begin with. Every pass still has
            `len` batches, so it ends in the middle of the next epoch.
        workers: Threads that read and transform; by default one per core, at
            most 8.
        mixup: alpha of `jft.data.mixup`, applied to training batches of each
            worker separately; 0 for none.
        originals: Whether each batch also has `originals`, the list of its
            examples before `transforms`, and `placements` `(B, 2, 2)`, which
            say where the transforms moved them; see `move_back` in
            `keras_jft.data.transforms.geometry`.

    Returns:
        A `Batches`.

    Raises:
        ValueError: An argument is out of range; or, while iterating, an
            example cannot be read and `tolerate` is exhausted.

    Example:

    >>> data = keras_jft.data.load("synthetic", num_examples=100)
    >>> batches = iterate(data, 8, transforms="flip", training=True)
    >>> len(batches), next(iter(batches))["images"].shape
    (12, (8, 32, 32, 3))
    """
    check_data(data)
    is_pair = isinstance(shard, (tuple, list)) and len(shard) == 2
    index, count = shard if is_pair else (0, 0)
    if not 0 <= index < count:
        raise ValueError(
            "`shard` must be (index, count) with 0 <= index < count. "
            f"Received: {shard}."
        )
    batch_size = checks.whole("batch_size", batch_size, least=1)
    if workers is not None:
        checks.number("workers", workers, 1, whole=True)
    checks.number("mixup", mixup, 0)
    places = range(index, len(data), count)
    if training:  # All workers take as many steps as the smallest shard.
        places = places[: len(data) // count]
    steps = -(-len(places) // batch_size)
    if training if drop_remainder is None else drop_remainder:
        steps = len(places) // batch_size
    if not steps:
        raise ValueError(
            "`data` must fill at least one batch. Received: "
            f"num_examples={len(places)}, batch_size={batch_size}. Lower "
            "`batch_size`, or set `drop_remainder=False`."
        )
    return Batches(
        examples=Examples(data, training, seed, tolerate),
        transforms=_transforms(transforms, training, data.info),
        places=places,
        batch_size=batch_size,
        steps=steps,
        position=initial_epoch * steps + initial_step if training else 0,
        workers=workers or min(8, os.cpu_count() or 1),
        mixup=mixup if training else 0.0,
        originals=originals,
    )


@dataclasses.dataclass(kw_only=True)
class Batches:
    """The batches that `iterate` returns; each iteration is one pass.

    Attributes:
        examples: `Examples`, in the order of an epoch.
        transforms: Tuple of functions `example, rng -> example`.
        places: This worker's places in that order.
        batch_size: Examples per batch.
        steps: Batches per pass.
        position: Index, in the endless stream, at which the next pass begins.
            It advances when a pass has handed out its last batch, not when a
            pass begins.
        workers: Number of threads.
        mixup: alpha of `jft.data.mixup`; 0 for none.
        originals: Whether batches have `originals` and `placements`.
    """

    examples: Examples
    transforms: tuple
    places: range
    batch_size: int
    steps: int
    position: int
    workers: int
    mixup: float = 0.0
    originals: bool = False

    @property
    def skipped(self) -> dict[int | str, str]:
        """`{id: reason}` of the examples that could not be read so far."""
        return dict(self.examples.skipped)

    def report(self, most_names: int = 20) -> dict[str, Any]:
        """Return what could not be read so far, counted by cause.

        Args:
            most_names: Most ids to list per cause.

        Returns:
            A dict: `num_examples` of the data set, how many of them may be
            unreadable (`tolerate`), how many were `skipped`, how many for each
            of the `causes`, and their `names`. Each example counts once, for
            this process and since it started.
        """
        return self.examples.report(most_names)

    def __len__(self) -> int:
        return self.steps

    @property
    def identity(self) -> dict[str, Any]:
        """A dict; equal for `Batches` that are the same at each position."""
        return {
            "num_examples": len(self.examples.data),
            "batch_size": self.batch_size,
            "batches": self.steps,
            "seed": self.examples.seed,
            "training": self.examples.training,
            "shards": self.places.step,
            "mixup": self.mixup,
            "fingerprint": self._fingerprint,
        }

    @functools.cached_property
    def _fingerprint(self):
        return fingerprint(self.examples.data)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        numbers = range(self.position, self.position + self.steps)
        batches = _parallel(self.batch, numbers, self.workers)
        for number, batch in zip(numbers, batches, strict=True):
            self.advance(number)
            yield batch

    def to_tf_data(self) -> "tf.data.Dataset":
        """Return the same batches as `jft.data.batches` does."""
        from keras_jft.data.tf_data import dataset_of  # It imports this.

        return dataset_of(self)

    def advance(self, number: int) -> None:
        """Note that batch `number` was handed out; the pass may end here."""
        ends = (number + 1 - self.position) % self.steps == 0
        if ends and self.examples.training:
            self.position = max(self.position, int(number) + 1)

    def batch(self, number: int) -> dict[str, Any]:
        """Return batch `number` of the endless stream, a dict of arrays."""
        epoch, step = divmod(number, self.steps)
        places = self.places[step * self.batch_size :][: self.batch_size]
        originals = examples = self.examples.take(epoch, np.asarray(places))
        for example in examples:
            _check_keys(example)
        if self.originals:
            examples = [{**e, "placements": IN_PLACE} for e in examples]
        if self.transforms:
            draws = self.examples.generators(epoch, examples)
            examples = list(map(self._transform, examples, draws))
        info = self.examples.data.info
        batch = collate(
            examples, max_labels=info.max_labels, max_boxes=info.max_boxes
        )
        if self.mixup:
            rng = self.examples.generator(epoch, places[0])
            batch = mixup(batch, rng, self.mixup)
        if self.originals:
            batch["originals"] = originals
        return batch

    @property
    def image_size(self) -> tuple[int | None, int | None]:
        """`(H, W)` of every batch, from the transforms; None: unknown."""
        return image_size_of(self.transforms)

    def _transform(self, example, rng):
        for transform in self.transforms:
            example = transform(example, rng)
        return example


def _check_keys(example):
    """Raise `ValueError` for entries that transforms would not move."""
    unknown = [key for key in example if key not in KEYS]
    if unknown:
        raise ValueError(
            f"Example {example.get('ids')!r} has the entries {unknown}, which "
            "batches do not have, so that transforms would not move them with "
            f"the image. Expected no others than {list(KEYS)}. Leave them out; "
            "or, to train on them, pass `fit` pairs of images and targets, as "
            "arrays or a `tf.data.Dataset`."
        )


def _transforms(transforms, training, info):
    if transforms is None:
        return ()
    if isinstance(transforms, Iterator):
        transforms = tuple(transforms)  # It can be read only once.
    check_transforms(transforms)
    if not isinstance(transforms, str):
        transforms = tuple(transforms)
    else:
        transforms = TRANSFORMS[transforms](
            training,
            keypoint_names=info.keypoint_names,
            flip_pairs=info.flip_pairs,
        )
    if any(isinstance(t, RandomFlip) and t.probability for t in transforms):
        _warn_of_sides(info)
    return transforms


def _warn_of_sides(info):
    """Warn of classes that a mirror image would turn into each other."""
    for names in (info.label_names, info.mask_names):
        pairs = sides.pairs_of_classes(names)
        if pairs:
            warnings.warn(
                "`transforms` mirror images but not classes: what looks like "
                f"{pairs[0][0]!r} in the mirror keeps the label "
                f"{pairs[0][1]!r}. This concerns "
                f"{number_of(len(pairs), 'pair')} of classes: {pairs[:5]}. "
                "Leave `RandomFlip` out if sides matter.",
                stacklevel=4,
            )


def _parallel(function, arguments, workers):
    """Yield `function(argument)` in order; threads compute ahead."""
    arguments = iter(arguments)
    executor = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        pending = collections.deque(
            executor.submit(function, argument)
            for argument in itertools.islice(arguments, workers + 1)
        )
        while pending:
            result = pending.popleft().result()
            for argument in itertools.islice(arguments, 1):
                pending.append(executor.submit(function, argument))
            yield result
    finally:  # Also when the pass is abandoned half way.
        executor.shutdown(wait=False, cancel_futures=True)
