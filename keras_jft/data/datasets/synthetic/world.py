"""The synthetic world as a data set: examples from positions, nothing stored.

Shapes: n examples.
"""

import dataclasses
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_jft.data import keyed_random
from keras_jft.data.dataset import Dataset
from keras_jft.data.datasets.synthetic import render, scene, vocabulary
from keras_jft.typing import Example, Positions

# Pixels that are rendered together: enough that a NumPy call costs nothing,
# few enough that its arrays stay in the processor's cache.
_CHUNK = 2**17


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """The settings of a view of a synthetic world.

    Attributes:
        task: Name in `TASKS`.
        split: "train" or "test".
        num_examples: Number of images.
        height: Height of images in pixels.
        width: Width of images in pixels.
        preset: How hard things are to see.
        seed: Seed of the world.
        threads: How many threads render a large request.
    """

    task: str
    split: str
    num_examples: int
    height: int
    width: int
    preset: vocabulary.Preset
    seed: int
    threads: int | None


class World(Dataset):
    """Base class of the tasks, which define what images and examples contain.

    A subclass sets `info` and implements `_examples`.

    Attributes:
        view: `View`.
        extent: Width and height of an image in units of its shorter side.
        first: Slot of the first thing that the task is about. Slots before it
            are distractors behind it, the last slot an occluder in front.
        OPTIONS: Names of the arguments that only this task has.
        DEFAULT_SIZES: Number of examples by split.
    """

    OPTIONS: tuple[str, ...] = ()
    DEFAULT_SIZES: Mapping[str, int] = {}

    def __init__(self, view: View):
        self.view = view
        short = min(view.height, view.width)
        self.extent = (view.width / short, view.height / short)
        self.first = view.preset.distractors
        self._root = keyed_random.hash64(view.seed, f"{view.task} {view.split}")

    def ids(self, positions: Positions) -> np.ndarray:
        """Return the ids at `positions`, which are the positions themselves."""
        return np.asarray(positions, "int64")

    def take(self, positions: Positions) -> list[Example]:
        """Return examples at `positions`, rendered together and by threads."""
        ids = self.ids(positions)
        size = max(1, _CHUNK // (self.view.height * self.view.width))
        chunks = [ids[i : i + size] for i in range(0, len(ids), size)]
        threads = min(len(chunks), self.view.threads or os.cpu_count() or 1)
        if threads < 2:
            groups = [self._chunk(chunk) for chunk in chunks]
        else:
            with ThreadPoolExecutor(threads) as pool:
                groups = list(pool.map(self._chunk, chunks))
        return [example for group in groups for example in group]

    def _keys(self, ids):
        return keyed_random.hash64(self._root, ids)

    def _chunk(self, ids):
        return self._rows(ids, self._examples(ids, self._keys(ids)))

    def _rows(self, ids, examples):
        columns = {"ids": ids, **examples}
        rows = zip(*columns.values(), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _examples(self, ids, keys):
        """Return columns of the examples, {name: one value per example}.

        Args:
            ids: `(n,)` int64.
            keys: `(n,)` uint64, from which all randomness of an image derives.
        """
        raise NotImplementedError

    def _look(self, keys, combinations):
        """Return things, images and the slot on top of each pixel."""
        preset = self.view.preset
        named = scene.objects(keys, combinations, self.extent, preset)
        first = named.x[:, 0], named.y[:, 0], named.radius[:, 0]
        return self._photograph(keys, named, first)

    def _photograph(self, keys, subjects, disc):
        """Render `subjects` among things without names."""
        preset = self.view.preset
        things = scene.Things.concatenate(
            [
                scene.distractors(keys, self.extent, preset),
                subjects,
                scene.occluders(keys, *disc, preset),
            ]
        )
        backdrop = scene.backdrop(keys, preset)
        images, top = render.paint(
            things, backdrop, self.view.height, self.view.width
        )
        return things, images, top
