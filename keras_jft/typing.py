"""Names of types that many signatures share."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

PathLike: TypeAlias = str | os.PathLike[str]
# Of Keras's backend, whichever it is, of NumPy, or Keras's symbolic one.
Tensor: TypeAlias = Any
# One row of `jft.data.check_batch`, and a whole batch.
Example: TypeAlias = Mapping[str, Any]
Batch: TypeAlias = Mapping[str, Any]
# One entry per image or class: a list, or rows of an array.
Arrays: TypeAlias = Sequence[Any] | np.ndarray
# Of examples in a data set.
Positions: TypeAlias = Sequence[int] | np.ndarray
Transform: TypeAlias = Callable[[Any, Any], Example]
