"""The contract of a head: a backbone in, a model for one task out.

A head is a `keras_jft.training.Model` that defines its targets and its loss, so
that `compile(optimizer)` and `fit(batches)` are enough to train it. Its
attribute `backbone` is the backbone whose layers it uses.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from keras_jft.backbones import resnet

# All output strides that a backbone may have, whatever its stem.
OUTPUT_STRIDES = tuple(
    sorted({s for strides in resnet.OUTPUT_STRIDES.values() for s in strides})
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """One row of `HEADS`.

    Attributes:
        build: `build(backbone, num_classes, ...)` returns the model.
        task: The task whose metric measures it, a key of `jft.metrics.METRICS`.
        check_options: `check_options(num_classes, **options)` raises a
            `ValueError` for options of `build` that fail with any backbone;
            `num_classes` may be None if it is not known yet.
    """

    build: Callable
    task: str
    check_options: Callable

    def check(
        self, num_classes: int | None, options: Mapping[str, Any]
    ) -> None:
        """Raise a `ValueError` for options with which no model can be built.

        Args:
            num_classes: Number of classes; None if it is not known yet.
            options: Keyword arguments of `build`.
        """
        parameters = inspect.signature(self.build).parameters.values()
        given = {
            parameter.name: parameter.default
            for parameter in parameters
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        given |= options
        if not isinstance(given["name"], str):
            raise ValueError(
                f"`name` must be a string. Received: name={given['name']!r}."
            )
        if not isinstance(given.get("trainable", True), bool):
            raise ValueError(
                "`trainable` must be True or False. Received: "
                f"trainable={given['trainable']!r}."
            )
        self.check_options(num_classes, **given)
