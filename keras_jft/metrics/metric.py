"""The contract of a metric: predictions and truth in, a dict of numbers out.

A metric is pure NumPy and streams: `update` takes one batch, and `result`
returns fractions in [0, 1]. Memory grows with the number of images only if the
definition demands it. `evaluate(batches)` does all of it in one call.
"""

import abc
from collections.abc import Iterable
from typing import Any, ClassVar


class Metric(abc.ABC):
    """Accumulates batches of truth and predictions.

    Attributes:
        score: Name of the main number, the one that a study follows.
        title: Label of that number on an axis.
    """

    score: ClassVar[str]
    title: ClassVar[str]

    @abc.abstractmethod
    def update(self, truth: Any, predictions: Any) -> None:
        """Add one batch."""

    @abc.abstractmethod
    def result(self) -> dict:
        """Return the numbers over all batches, `{name: float or array}`.

        Before any batch the numbers are nan. `counted` is always there: how
        many images or classes the main number is the mean of.
        """

    def evaluate(self, batches: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
        """Return the numbers over `batches`, pairs of truth and predictions."""
        for truth, predictions in batches:
            self.update(truth, predictions)
        return self.result()
