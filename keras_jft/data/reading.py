"""Examples in the order of an epoch; unreadable ones within a tolerance."""

import threading
import warnings

import numpy as np

from keras_jft.data import order
from keras_jft.data.statistics.failures import UNREADABLE, cause_of


class Examples:
    """The examples of a data set by epoch and place.

    Args:
        data: A `Dataset`.
        training: Whether every epoch has an order of its own.
        seed: Of the orders, and of the draws for examples.
        tolerate: How many examples may be unreadable: a count, or a fraction
            of `data` (a float).

    Attributes:
        skipped: `{id: reason}` of the examples that could not be read so far.
        causes: `{id: cause}` of them, a short one to count by.

    Raises:
        ValueError: `tolerate` is neither a count nor a fraction.
    """

    def __init__(self, data, training, seed, tolerate=0):
        limit = 1 if isinstance(tolerate, float) else np.inf
        if not 0 <= tolerate < limit:
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
        """What goes to another process: all but the lock."""
        state = dict(self.__dict__)
        del state["_lock"]
        return state

    def __setstate__(self, state):
        """Takes the state of another process, with a lock of this one."""
        self.__dict__.update(state, _lock=threading.Lock())

    def take(self, epoch, places):
        """The readable examples at `places` in the order of `epoch`.

        Raises:
            ValueError: An example cannot be read and that is not, or no more,
                tolerated; or none can be read.
        """
        to_positions = self._order(epoch)
        try:
            return self.data.take(to_positions(places))
        except UNREADABLE:
            # Again one by one, to know which it is.
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
        """What could not be read so far; see `Batches.report`."""
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
        """One random generator an example, of seed, epoch and id."""
        ids = [example["ids"] for example in examples]
        seed = order.hash64(order.hash64(self.seed, epoch), 1)
        return order.generators(order.hash64(seed, ids))

    def generator(self, epoch, place):
        """A random generator of seed, epoch and place, for a whole batch."""
        seed = order.hash64(order.hash64(self.seed, epoch), 2)
        (generator,) = order.generators(order.hash64(seed, [place]))
        return generator

    def _order(self, epoch):
        if not self.training:
            return np.asarray
        seed = order.hash64(order.hash64(self.seed, epoch), 0)
        return order.permutation(len(self.data), seed)

    def _find(self, to_positions, place):
        """The example at `place` or, in training, the next readable one."""
        for step in range(len(self.data) if self.training else 1):
            position = int(to_positions((place + step) % len(self.data)))
            try:
                return self.data.take([position])[0]
            except UNREADABLE as error:
                self._skip(position, error)
        return None

    def _skip(self, position, error):
        """Counts an unreadable example; raises if there are too many."""
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
