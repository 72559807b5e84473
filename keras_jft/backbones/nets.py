"""Functional nets as plain data, and back, trusting no file.

A net is described by what Keras writes of it: its class and the arguments of
its constructor where it is one of `HUB`, or each of its layers. Whoever reads a
description may only ask for what is listed here, none of which runs code, reads
a file or uses the network.
"""

import copy
import json

import keras

from keras_jft.training import keras_internals

# Backbones of KerasHub that are made from plain arguments.
HUB = (
    "CSPNetBackbone",
    "DINOV2Backbone",
    "DINOV3Backbone",
    "DeiTBackbone",
    "DenseNetBackbone",
    "EfficientNetBackbone",
    "HGNetV2Backbone",
    "MiTBackbone",
    "MobileNetBackbone",
    "ResNetBackbone",
    "VGGBackbone",
    "ViTBackbone",
    "XceptionBackbone",
)
LAYERS = (
    *("Activation", "ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax"),
    *("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum"),
    *("Multiply", "Subtract", "Identity", "InputLayer", "Rescaling"),
    *("AveragePooling2D", "MaxPooling2D", "UpSampling2D", "ZeroPadding2D"),
    *("GlobalAveragePooling2D", "GlobalMaxPooling2D", "Cropping1D"),
    *("Conv1D", "Conv2D", "Conv2DTranspose", "DepthwiseConv2D"),
    *("SeparableConv2D", "Cropping2D", "Dense", "EinsumDense", "Embedding"),
    *("BatchNormalization", "GroupNormalization", "LayerNormalization"),
    *("Normalization", "RMSNormalization", "UnitNormalization"),
    *("Dropout", "SpatialDropout2D", "GaussianDropout", "GaussianNoise"),
    *("AlphaDropout", "MultiHeadAttention", "GroupQueryAttention"),
    *("Flatten", "Permute", "RepeatVector", "Reshape", "Resizing"),
)
OPERATIONS = (
    *("Absolute", "Add", "Arange", "Concatenate", "Divide", "Exp"),
    *("ExpandDims", "Flip", "GetItem", "Gelu", "HardSigmoid", "HardSwish"),
    *("Matmul", "Max", "Maximum", "Mean", "Minimum", "Moveaxis"),
    *("Multiply", "Negative", "Pad", "Relu", "Relu6", "Reshape", "Rsqrt"),
    *("Sigmoid", "Silu", "Softmax", "Split", "Sqrt", "Square", "Squeeze"),
    *("Stack", "Subtract", "Sum", "Tanh", "Transpose", "TrueDivide"),
)
_OWN = ("Conv2D", "FusedBatchNormalization", "ImageScaling")
_OF_KERAS = {
    "keras": ("DTypePolicy", "Sequential"),
    "keras.layers": LAYERS,
    "keras.src.applications.convnext": ("LayerScale",),
    "keras.src.models.functional": ("Functional",),
    "keras.src.ops.nn": OPERATIONS,
    "keras.src.ops.numpy": OPERATIONS,
    "keras.initializers": (
        *("Constant", "GlorotNormal", "GlorotUniform", "HeNormal"),
        *("HeUniform", "LecunNormal", "LecunUniform", "Ones", "Orthogonal"),
        *("RandomNormal", "RandomUniform", "TruncatedNormal"),
        *("VarianceScaling", "Zeros"),
    ),
    "keras.regularizers": ("L1", "L1L2", "L2"),
    "keras.constraints": ("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"),
}
# The class names under which Keras writes plain values in a config.
_VALUES = ("__keras_tensor__", "__tuple__", "__ellipsis__")
_DEEPEST = 60


def describe(model):
    """Return a functional net as plain data.

    Args:
        model: A functional model.

    Returns:
        What JSON can hold.

    Raises:
        ValueError: If the net has parts that a file could not be trusted with.

    Example:

    >>> images = keras.Input((8, 8, 3), name="images")
    >>> net = keras.Model(images, keras.layers.Conv2D(4, 1)(images))
    >>> build(describe(net)).output.shape
    (None, 8, 8, 4)
    """
    if type(model).__name__ in HUB and _is_of_hub(type(model).__module__):
        config = keras.saving.serialize_keras_object(model)
        prefix = f"{model.name}_"
        if not any(layer.name.startswith(prefix) for layer in model.layers):
            # Some put a name that is given before those of their layers.
            config["config"]["name"] = None
    else:
        config = keras_internals.layer_by_layer(model)
    config = json.loads(json.dumps(_uncompiled(config)))
    reason = refusal(config)
    if reason:
        raise ValueError(
            f"{model.name!r} cannot be a backbone, since {reason}: a file "
            "with it could not be loaded without trusting its author. Expected "
            "layers of Keras that run no code of their own, or a backbone of "
            f"KerasHub: {', '.join(HUB)}."
        )
    return config


def build(config):
    """Return the functional net that `describe` described, with new weights.

    Args:
        config: What `describe` returned, or what a file says that it did.

    Raises:
        ValueError: If it is none of what `describe` returns. Nothing of it was
            run then.
        ImportError: If it is of KerasHub, which is not installed.
    """
    reason = refusal(config)
    if reason:
        raise ValueError(
            f"The description of a net is refused, since {reason}. Do not "
            "trust its author."
        )
    if is_of_hub(config):
        import_hub()
    # Keras changes what it reads.
    model = keras.saving.deserialize_keras_object(copy.deepcopy(config))
    if not keras_internals.is_functional(model):
        raise ValueError(
            f"The description is of a {type(model).__name__}, not of a net."
        )
    return model


def is_of_hub(config):
    """Return whether a description is of a backbone of KerasHub."""
    return _is_of_hub(config.get("module"))


def import_hub(wanted="This net"):
    """Return the module `keras_hub`.

    Args:
        wanted: What needs it, for the message.

    Raises:
        ImportError: If it is not installed; the message says what to install.
    """
    try:
        import keras_hub
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{wanted} is one of KerasHub, which is not installed. `pip "
            f"install keras_jft[hub]` installs it. ({error})"
        ) from error
    return keras_hub


def with_image_shape(config, image_shape):
    """Return a description with another shape of images."""
    config = copy.deepcopy(config)
    inner = config["config"]
    for key in ("image_shape", "input_shape"):
        if key in inner:
            inner[key] = list(image_shape)
            return config
    for layer in inner["layers"]:
        if layer["class_name"] == "InputLayer":
            layer["config"]["batch_shape"] = [None, *image_shape]
    return config


def with_dtype(config, dtype):
    """Return a description in which all layers have another dtype policy.

    Args:
        config: What `describe` returned.
        dtype: Name of a dtype policy.
    """
    if isinstance(config, list):
        return [with_dtype(item, dtype) for item in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return {**config, "config": {"name": dtype}}
    return {key: with_dtype(value, dtype) for key, value in config.items()}


def _uncompiled(config):
    """Return a config without what models in it were compiled with."""
    if isinstance(config, (list, tuple)):
        return [_uncompiled(item) for item in config]
    if not isinstance(config, dict):
        return config
    return {
        key: _uncompiled(value)
        for key, value in config.items()
        if key not in ("compile_config", "build_config")
    }


def _is_of_hub(module):
    return isinstance(module, str) and module.split(".")[0] == "keras_hub"


def refusal(config):
    """Return why a description of a net is not to be trusted; None if it is."""
    if not isinstance(config, dict) or "class_name" not in config:
        return "it is not an object of a class"
    return _refusal(config, 0)


def _refusal(config, depth):
    if depth > _DEEPEST:
        return "it is nested too deeply"
    if isinstance(config, list):
        inside = config
    elif isinstance(config, dict):
        if "class_name" in config and not _is_listed(config):
            return f"it holds {_said(config)}, which is not in the list"
        if config.get("compile_config") or config.get("build_config"):
            return "it says how to compile or build"
        inside = config.values()
    elif config is None or isinstance(config, (bool, int, float, str)):
        return None
    else:
        return f"it holds a {type(config).__name__}"
    refusals = (_refusal(item, depth + 1) for item in inside)
    return next((reason for reason in refusals if reason), None)


def _is_listed(config):
    """Return whether a config names a listed class, and names it in one way."""
    names = [config.get(k) for k in ("module", "class_name", "registered_name")]
    module, name, registered = names
    if not isinstance(name, str):
        return False
    if name in _VALUES:
        return True
    if module == "builtins" and name == "function":
        return hasattr(keras.activations, str(config.get("config")))
    if isinstance(module, str) and module.split(".")[0] == "keras_jft":
        return name in _OWN and registered == f"keras_jft>{name}"
    if _is_of_hub(module):
        return name in HUB and registered == f"keras_hub>{name}"
    listed = isinstance(module, str) and name in _OF_KERAS.get(module, ())
    return listed and registered in (None, name)


def _said(config):
    parts = (config.get("module"), config.get("class_name"))
    return ".".join(str(part)[:80] for part in parts if part)
