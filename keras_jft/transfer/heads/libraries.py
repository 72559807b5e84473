"""KerasCV and KerasHub, which are imported when a head asks for them."""

import keras

from keras_jft.backbones import nets
from keras_jft.layers import Conv2D
from keras_jft.training import keras_internals

# The first is the default.
IMPLEMENTATIONS = ("keras_cv", "keras_hub")


def keras_cv(head, instead, *, needs_tensorflow=True):
    """Return the module `keras_cv`.

    Args:
        head: Name of the class that needs it.
        instead: What to use where it cannot be had.
        needs_tensorflow: Whether its part of the head runs on TensorFlow
            alone. All of KerasCV needs it installed.

    Raises:
        ImportError: If TensorFlow or KerasCV is not installed.
        ValueError: If Keras runs on another backend than that part.
    """
    if needs_tensorflow and keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"`{head}` uses KerasCV, which trains only on TensorFlow. "
            f"Received: the backend {keras.backend.backend()!r}. Use {instead}."
        )
    try:
        import keras_cv
    except ImportError as error:
        raise ImportError(
            f"`{head}` uses KerasCV, which needs TensorFlow with every "
            f"backend. Install keras-cv and tensorflow, or use {instead}."
        ) from error
    return keras_cv


def keras_hub(head):
    """Return the module `keras_hub`.

    Args:
        head: Name of the class that needs it.

    Raises:
        ImportError: If KerasHub is not installed.
    """
    return nets.import_hub(f'`{head}(implementation="keras_hub")`')


def with_own_convolutions(network):
    """Make Keras's convolutions in a network ours, which are as exact.

    On the smallest maps only a few taps of a strided kernel see a feature:
    Keras's layer would leave the gradients of the others uninitialized.

    Args:
        network: A layer or a model. Its weights stay.
    """
    for layer in keras_internals.flatten_layers(network):
        if type(layer) is keras.layers.Conv2D:
            layer.__class__ = Conv2D
