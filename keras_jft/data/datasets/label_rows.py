"""The labels of millions of examples in two arrays, closed when they are read.

Shapes: N examples, M labels of all N examples together, C classes, L labels of
one example.
"""

import numpy as np

# Examples that are closed at once when all are counted.
_CHUNK = 100_000


class LabelRows:
    """Label ids of every example, concatenated in one array (CSR).

    A row is closed upward when it is read, so that only the labels of the files
    are kept in memory: 4 bytes per label and 8 per example.

    Args:
        examples: `(M,)` positions, in any order.
        labels: `(M,)` label ids of those examples; repeats count once.
        num_examples: N.
        num_classes: C.
        hierarchy: The `LabelHierarchy` that closes the rows, or None.

    Example:

    >>> rows = LabelRows([2, 0, 0, 2], [0, 4, 1, 0], 3, num_classes=5)
    >>> rows[0], rows[1], rows[2]
    (array([1, 4], dtype=int32), array([], dtype=int32), \
array([0], dtype=int32))
    >>> rows.count()
    (array([1, 1, 0, 0, 1]), 2)
    """

    def __init__(
        self, examples, labels, num_examples, num_classes, hierarchy=None
    ):
        # One integer per (row, label): sorting them sorts within rows.
        cells = np.asarray(examples, "int64") * max(1, num_classes)
        cells += np.asarray(labels, "int64")
        if not (cells[1:] > cells[:-1]).all():
            cells = np.unique(cells)
        examples, labels = np.divmod(cells, max(1, num_classes))
        self.values = labels.astype("int32")
        self.starts = np.searchsorted(examples, np.arange(num_examples + 1))
        self.num_classes, self.hierarchy = num_classes, hierarchy

    def __len__(self):
        return len(self.starts) - 1

    def __getitem__(self, position):
        """Return the sorted, unique, closed ids of an example, `(L,)` int32."""
        row = self.values[self.starts[position] : self.starts[position + 1]]
        return row if self.hierarchy is None else self.hierarchy.close(row)

    def count(self):
        """Return `(C,)` int64 examples per class, and the most per example."""
        counts, longest = np.zeros(self.num_classes, "int64"), 0
        for first in range(0, len(self), _CHUNK):
            rows, labels = self._closed(self.starts[first:][: _CHUNK + 1])
            counts += np.bincount(labels, minlength=self.num_classes)
            longest = max(longest, np.bincount(rows, minlength=1).max())
        return counts, int(longest)

    def _closed(self, starts):
        """Return row numbers, from 0, and labels of examples at `starts`."""
        sizes, labels = np.diff(starts), self.values[starts[0] : starts[-1]]
        rows = np.repeat(np.arange(len(sizes)), sizes)
        if self.hierarchy is None:
            return rows, labels
        columns = np.arange(starts[0], starts[-1]) - starts[rows]
        padded = np.full((len(sizes), sizes.max(initial=0)), -1, "int32")
        padded[rows, columns] = labels
        closed = self.hierarchy.close_batch(padded)
        rows, columns = np.nonzero(closed >= 0)
        return rows, closed[rows, columns]


class ExampleLabels:
    """`labels` and, if requested, `unknown_labels` of every example.

    Args:
        present: `LabelRows`.
        unknown: `LabelRows` of labels that may be present; those that are
            present are left out when a row is read. None: examples have no
            `unknown_labels`.
    """

    def __init__(self, present, unknown=None):
        self.present, self.unknown = present, unknown
        self._width = 0 if unknown is None else max(1, unknown.count()[1])

    def __getitem__(self, position):
        """Return the label entries of one example."""
        labels = self.present[position]
        if self.unknown is None:
            return {"labels": labels}
        found = np.setdiff1d(self.unknown[position], labels)
        padded = np.full(self._width, -1, "int32")
        padded[: len(found)] = found
        return {"labels": labels, "unknown_labels": padded}
