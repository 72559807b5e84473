"""How often each whole number was seen, in the memory of the largest."""

import numpy as np

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Histogram:
    """Counts of whole numbers of 0 or more.

    Attributes:
        counts: `(largest + 1,)` int64, how often each number was seen.

    Example:

    >>> seen = Histogram()
    >>> seen.add(np.array([1, 1, 4]))
    >>> seen.counts, seen.mean, seen.quantile(0.5)
    (array([0, 2, 0, 0, 1]), 2.0, 1)
    """

    def __init__(self):
        self.counts = np.zeros(0, "int64")

    def add(self, numbers):
        """Counts `numbers`, integers of any shape."""
        self.counts = added(
            self.counts, np.bincount(np.ravel(numbers).astype("int64"))
        )

    @property
    def total(self):
        """How many numbers were seen."""
        return int(self.counts.sum())

    @property
    def sum(self):
        """The sum of all numbers."""
        return int(self.counts @ np.arange(len(self.counts)))

    @property
    def mean(self):
        """Their mean; None if there are none."""
        return self.sum / self.total if self.total else None

    @property
    def largest(self):
        """The largest number; None if there are none."""
        return len(self.counts) - 1 if self.total else None

    def quantile(self, q):
        """The smallest number that a fraction `q` of them do not exceed."""
        if not self.total:
            return None
        reached = np.cumsum(self.counts) >= q * self.total
        return int(np.flatnonzero(reached & (self.counts > 0))[0])

    def to_dict(self):
        """`{"mean", "5%", ..., "largest", "counts"}`."""
        return {
            "mean": self.mean,
            **{f"{q:.0%}": self.quantile(q) for q in QUANTILES},
            "largest": self.largest,
            "counts": self.counts.tolist(),
        }


def added(total, more):
    """The sum of two arrays of counts, as long as the longer.

    Args:
        total: `(n,)` int64.
        more: `(m,)` integers.
    """
    longer, shorter = (
        (total, more) if len(total) >= len(more) else (more, total)
    )
    out = longer.astype("int64")
    out[: len(shorter)] += shorter
    return out
