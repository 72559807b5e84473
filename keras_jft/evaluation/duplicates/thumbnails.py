"""An embedding that needs no training: small thumbnails, mirrored or not."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_jft")
class Thumbnail(keras.layers.Layer):
    """Pixels of a small thumbnail, less their mean color; mirrored or not.

    The cosine of two is a correlation of pixels: near 1 for copies that show
    the same frame. It is no feature of content, so what is cropped by more
    than a tenth is missed. An image of one color has the embedding of all of
    these.

    Args:
        side: Height and width of the thumbnail, even.
    """

    def __init__(self, side=8, **kwargs):
        super().__init__(**kwargs)
        self.side = side

    def call(self, images):
        """`(B, 3 side ** 2 + 1)` of `(B, H, W, 3)` in 0..255."""
        x = ops.cast(images, "float32")
        x = ops.image.resize(
            x,
            (self.side, self.side),
            antialias=True,
            data_format="channels_last",
        )
        x = x - ops.mean(x, axis=(1, 2), keepdims=True)
        half = x[:, :, : self.side // 2]
        mirrored = ops.flip(x, axis=2)[:, :, : self.side // 2]
        even, odd = half + mirrored, ops.abs(half - mirrored)
        rows = ops.reshape(
            ops.concatenate([even, odd], axis=2), (-1, self.width - 1)
        )
        return ops.concatenate([rows, ops.ones_like(rows[:, :1])], axis=1)

    @property
    def width(self):
        """Length of an embedding."""
        return 3 * self.side**2 + 1

    def compute_output_shape(self, input_shape):
        """`(B, width)`."""
        return (input_shape[0], self.width)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "side": self.side}


def thumbnails(side=8):
    """A model that `embed` takes as a backbone.

    Args:
        side: Height and width of the thumbnail, even.

    Returns:
        A `keras.Model` from images `(B, H, W, 3)` to `(B, 3 side ** 2 + 1)`.

    Raises:
        ValueError: If `side` is odd or not positive.
    """
    if side < 2 or side % 2:
        raise ValueError(f"`side` must be even, 2 or more. Received: {side}.")
    images = keras.Input((None, None, 3), name="images")
    layer = Thumbnail(side, dtype="float32", name="thumbnail")
    return keras.Model(images, layer(images), name="thumbnails")
