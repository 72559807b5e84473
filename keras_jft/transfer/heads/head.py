"""The contract of a head: a backbone in, a model for one task out.

A head is a `keras_jft.training.Model` that owns its targets and its loss, so
that `compile(optimizer)` and `fit(batches)` are enough. It keeps the backbone
whose layers it applies as `backbone`.
"""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """One row of `HEADS`.

    Attributes:
        build: `build(backbone, num_classes, ...)` gives the model.
        task: The task whose metric measures it, a key of `jft.metrics.METRICS`.
    """

    build: Callable
    task: str
