"""The contract of a metric: predictions and truth in, a dict of numbers out.

A metric is pure NumPy and streams: `update` takes one batch, memory does not
grow with the number of images more than the definition demands, `result` gives
fractions in [0, 1]. `evaluate(batches)` is the whole in one call.
"""

import abc
from typing import ClassVar


class Metric(abc.ABC):
    """Accumulates batches of truth and predictions.

    Attributes:
        score: The name of its main number, the one that a study follows.
        title: What that number is called on an axis.
    """

    score: ClassVar[str]
    title: ClassVar[str]

    @abc.abstractmethod
    def update(self, truth, predictions):
        """Adds one batch."""

    @abc.abstractmethod
    def result(self) -> dict:
        """The numbers over all that was added, `{name: float or array}`.

        The numbers of a metric that saw nothing are nan. `counted` is always
        there: how many images or classes the main number is the mean of.
        """

    def evaluate(self, batches):
        """The numbers over `batches`, pairs of truth and predictions."""
        for truth, predictions in batches:
            self.update(truth, predictions)
        return self.result()
