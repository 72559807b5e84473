"""Weights of `keras.applications`, converted to fit `ResNet`."""

import contextlib
from collections.abc import Iterator

import keras

from keras_jft import checks

# The arguments of `ResNet` that the published weights were trained with.
IMAGENET_ARGUMENTS = {"pool_padding": "symmetric", "scaling": "caffe"}


def load_imagenet(backbone, depth):
    """Load the ImageNet weights of `keras.applications` into `backbone`.

    Args:
        backbone: `ResNet.from_depth(depth)` with `IMAGENET_ARGUMENTS`.
        depth: 50, 101 or 152.

    Raises:
        ValueError: If there are no weights for that depth, or they need
            another width, pool padding or scaling than `backbone` has.
        OSError: If the weights could not be downloaded.
    """
    applications = {
        50: keras.applications.ResNet50,
        101: keras.applications.ResNet101,
        152: keras.applications.ResNet152,
    }
    checks.one_of("depth", depth, applications)
    for name, needed in IMAGENET_ARGUMENTS.items():
        if getattr(backbone, name) != needed:
            raise ValueError(
                f'`weights="imagenet"` needs {name}="{needed}". Received: '
                f'"{getattr(backbone, name)}". Leave `{name}` out.'
            )
    instead = "give `weights=None`, or the path of a file with weights"
    with downloading(f"The weights of ResNet-{depth}", instead):
        source = applications[depth](include_top=False, weights="imagenet")
    _convert_applications(source, backbone)


@contextlib.contextmanager
def downloading(what: str, instead: str) -> Iterator[None]:
    """Raise an `OSError` that says what to do where a download fails.

    Args:
        what: What is downloaded, for the message.
        instead: What to do without a network.
    """
    try:
        yield
    except Exception as error:
        # Keras raises a plain `Exception` without a network.
        if not isinstance(error, OSError) and "URL fetch" not in str(error):
            raise
        raise OSError(
            f"{what} could not be downloaded. Check the network, or {instead}. "
            f"The download failed with: {error}"
        ) from error


def _convert_applications(source, backbone):
    """Copy the weights of a `keras.applications` ResNet into `backbone`.

    There, convolutions have a bias b and batch normalization has an epsilon of
    1.001e-5. The moving statistics absorb both: normalizing `x + b` by
    `(mean, variance, epsilon)` is the same as normalizing `x` by
    `(mean - b, variance + epsilon - our epsilon)`.

    Args:
        source: `keras.applications.ResNet50`, `ResNet101` or `ResNet152`.
        backbone: A `ResNet` of the same depth and width 64.

    Raises:
        ValueError: If the convolutions of the two differ.

    Example:

    >>> from keras_jft.backbones import ResNet
    >>> source = keras.applications.ResNet50(weights=None, include_top=False)
    >>> backbone = ResNet.from_depth(50, **IMAGENET_ARGUMENTS)
    >>> _convert_applications(source, backbone)
    """
    theirs, ours = _convolutions(source), _convolutions(backbone)
    shapes, needed = (
        {name: tuple(conv.kernel.shape) for name, (conv, _) in layers.items()}
        for layers in (theirs, ours)
    )
    if shapes != needed:
        raise ValueError(
            f"The convolutions of `{source.name}` and `{backbone.name}` differ "
            f"in {sorted(dict(shapes.items() ^ needed.items()))}. Pass models "
            "of the same depth and width."
        )
    for name, (conv, norm) in ours.items():
        their_conv, their_norm = theirs[name]
        conv.kernel.assign(their_conv.kernel)
        norm.gamma.assign(their_norm.gamma)
        norm.beta.assign(their_norm.beta)
        norm.moving_mean.assign(their_norm.moving_mean - their_conv.bias)
        norm.moving_variance.assign(
            their_norm.moving_variance + (their_norm.epsilon - norm.epsilon)
        )


def _convolutions(model):
    """Return `{our name: (convolution, its batch normalization)}`."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            name = layer.name.removesuffix("_conv")
            norm = model.get_layer(f"{name}_bn")
            found[name.replace("_block", "_")] = layer, norm
    return found
