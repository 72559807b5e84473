"""A wide Dense layer whose columns are split over several variables."""

import functools
import itertools
from typing import Any

import keras
from keras import ops

from keras_jft.typing import Tensor


@keras.saving.register_keras_serializable("keras_jft")
class ShardedDense(keras.layers.Layer):
    """A wide Dense layer whose columns are split over several variables.

    Results and initial weights are those of `keras.layers.Dense`: initializers
    draw the whole kernel, which is then split. A parameter-server strategy
    assigns variables to servers in turn; all kernels are created before all
    biases, so both are spread evenly over any number of servers.

    Args:
        units: Number of outputs.
        shards: Number of kernels. Their widths differ by at most one, the
            wider ones first: 18,291 units in 50 shards are 41 kernels of
            width 366 and 9 of width 365.
        kernel_initializer: Draws the whole kernel, `(features, units)`.
        bias_initializer: Draws the whole bias, `(units,)`.

    Raises:
        ValueError: If `shards` is not between 1 and `units`.

    Example:

    >>> layer = ShardedDense(units=7, shards=3)
    >>> tuple(layer(ops.ones((2, 4))).shape)
    (2, 7)
    >>> [kernel.shape[-1] for kernel in layer.kernels]
    [3, 2, 2]

    References:
        Sun et al. 2017, https://arxiv.org/abs/1707.02968, section 4.1 (the
        last layer in 50 shards on 17 servers).
    """

    def __init__(
        self,
        units: int,
        shards: int = 1,
        *,
        kernel_initializer: str
        | keras.initializers.Initializer = "glorot_uniform",
        bias_initializer: str | keras.initializers.Initializer = "zeros",
        **kwargs: Any,
    ):
        if not 1 <= shards <= units:
            raise ValueError(
                "`shards` must be between 1 and `units`. Received: "
                f"shards={shards}, units={units}."
            )
        super().__init__(**kwargs)
        self.units = units
        self.shards = shards
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create `kernels` and `biases`, one of each per shard.

        Args:
            input_shape: `(..., features)`.
        """
        self.kernels = self._add_shards(
            "kernel", self.kernel_initializer, (input_shape[-1],)
        )
        self.biases = self._add_shards("bias", self.bias_initializer, ())

    def _add_shards(self, name, initializer, rows):
        @functools.cache
        def whole(dtype):
            return initializer((*rows, self.units), dtype=dtype)

        def cut(start, stop):
            return lambda shape, dtype: whole(dtype)[..., start:stop]

        width, wider = divmod(self.units, self.shards)
        widths = [width + (i < wider) for i in range(self.shards)]
        edges = itertools.pairwise(itertools.accumulate(widths, initial=0))
        return [
            self.add_weight(
                (*rows, stop - start), cut(start, stop), name=f"{name}_{i}"
            )
            for i, (start, stop) in enumerate(edges)
        ]

    def call(self, inputs: Tensor) -> Tensor:
        """Return `inputs @ kernel + bias`.

        Args:
            inputs: `(..., features)`.

        Returns:
            `(..., units)`.
        """
        outputs = [
            ops.matmul(inputs, kernel) + bias
            for kernel, bias in zip(self.kernels, self.biases, strict=True)
        ]
        return ops.concatenate(outputs, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "shards": self.shards,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
        }
