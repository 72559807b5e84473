"""Backbones by name: ours, those of `keras.applications` and of KerasHub."""

import contextlib
import difflib
import importlib.util
import inspect
import os
from collections.abc import Mapping
from typing import Any

import keras

from keras_jft.backbones import files, nets
from keras_jft.backbones.adapter import adapt
from keras_jft.backbones.backbone import Backbone
from keras_jft.backbones.imagenet_weights import downloading
from keras_jft.backbones.resnet import DEPTHS, ResNet

APPLICATIONS = "applications/"
HUB = "hub/"
FILE = ".npz"
_OWN = {f"resnet{depth}": depth for depth in DEPTHS}
_ANY_SIZE = (None, None, 3)


def names() -> list[str]:
    """Return the names that `create` takes.

    KerasHub's nets are included if it is installed; it is then imported.

    Returns:
        A sorted list.

    Example:

    >>> [name for name in names() if "resnet5" in name.lower()][:2]
    ['applications/ResNet50', 'applications/ResNet50V2']
    """
    found = {*_OWN, *(APPLICATIONS + name for name in _applications())}
    if importlib.util.find_spec("keras_hub"):
        models = nets.import_hub().models
        for name in nets.HUB:
            presets = getattr(models, name).presets
            found.update(HUB + preset for preset in presets)
    return sorted(found)


def create(
    name: str,
    *,
    weights: str | None = None,
    image_shape: tuple[int | None, ...] | None = None,
    dtype: str | None = None,
    bn_momentum: float | None = None,
    scaling: Any = None,
    levels: Mapping[str, str] | None = None,
    fused: bool = False,
    **options: Any,
) -> Backbone:
    """Return a backbone by its name. Nothing else here downloads anything.

    A net of `keras.applications` is downloaded only where `weights` are asked
    for. A preset of KerasHub holds its architecture as well as its weights, so
    the first use of one downloads it even without weights; a folder does not.

    Args:
        name: One of `names()`: `"resnet50"`, `"applications/EfficientNetV2B0"`,
            `"hub/vit_base_patch16_224_imagenet"`. After `"hub/"` may also come
            whatever KerasHub loads: `"hf://user/model"`, `"kaggle://..."`, or
            the folder that `save_to_preset` wrote, `"hub/my_folder"`. Or a file
            that `jft.backbones.save` wrote, `"my_net.npz"`.
        weights: None: random weights. `"imagenet"`: those that
            `keras.applications`, the preset of KerasHub or the file has,
            whatever they were trained on. For `"resnet50"` also the path of a
            file, see `ResNet.from_depth`.
        image_shape: `(H, W, 3)`. None: any size, or the one of the preset.
        dtype: Dtype policy of all layers. None: the global one.
        bn_momentum: Momentum of the moving statistics. None: as in the net.
        scaling: As for `adapt`. None: the one that the net was trained with.
        levels: As for `adapt`.
        fused: As for `adapt`.
        **options: Arguments of `jft.ResNet`, of the function in
            `keras.applications`, or of KerasHub's `from_preset`.

    Returns:
        A `ResNet` or an `AdaptedBackbone`.

    Raises:
        ValueError: If there is no such name, or it does not take an option.
        OSError: If weights or a preset could not be downloaded.
        ImportError: If it is of KerasHub, which is not installed.

    Example:

    >>> create("resnet50", image_shape=(64, 64, 3)).image_shape
    (64, 64, 3)
    """
    check_name(name)
    if name in _OWN:
        return _own(name, weights, image_shape, dtype, bn_momentum, options)
    backbone: Backbone
    if name.endswith(FILE):
        backbone = _file(name, weights, scaling, levels, fused, options)
    else:
        if name.startswith(HUB):
            net, converter = _hub(name, weights, options)
            scaling = converter if scaling is None else scaling
        else:
            net = _application(name, weights, image_shape, options)
        backbone = adapt(net, scaling=scaling, levels=levels, fused=fused)
    changes: dict[str, Any] = {
        "bn_momentum": bn_momentum,
        "image_shape": image_shape,
    }
    dtype = dtype or keras.config.dtype_policy().name
    if dtype != backbone.dtype_policy.name:
        changes["dtype"] = dtype
    if image_shape and tuple(image_shape) == backbone.image_shape:
        del changes["image_shape"]
    changes = {k: value for k, value in changes.items() if value is not None}
    return backbone.rebuild(**changes)


def check_name(name: Any, argument: str = "name") -> None:
    """Raise `ValueError` unless `create` may take a name.

    A preset of KerasHub is not looked up, which may need the network.

    Args:
        name: As for `create`.
        argument: What it was passed as, for the message.
    """
    if not isinstance(name, str) or not (
        name in _OWN
        or name.startswith((APPLICATIONS, HUB))
        or name.endswith(FILE)
    ):
        known = [*(APPLICATIONS + net for net in _applications()), *_OWN]
        raise ValueError(
            f"`{argument}` must be one of {list(_OWN)}, begin with "
            f"{APPLICATIONS!r} or {HUB!r}, or end with {FILE!r}: "
            "`jft.backbones.names()` lists all but files. Received: "
            f"{name!r}.{_near(name, known)}"
        )
    start, _, net = name.partition("/")
    if start + "/" == APPLICATIONS and net not in _applications():
        raise ValueError(
            "`keras.applications` has no net of that name. Received: "
            f"{name!r}. Expected one of {sorted(_applications())} after "
            f"{APPLICATIONS!r}."
        )


def _near(name, names):
    """Return a sentence that suggests the nearest of some names, or ""."""
    last = {known.rpartition("/")[2].lower(): known for known in names}
    wanted = str(name).rpartition("/")[2].lower()
    near = difflib.get_close_matches(wanted, last, 1)
    return f" Did you mean {last[near[0]]!r}?" if near else ""


def _own(name, weights, image_shape, dtype, bn_momentum, options):
    settings = {
        "image_shape": image_shape,
        "dtype": dtype,
        "bn_momentum": bn_momentum,
    }
    given = {k: value for k, value in settings.items() if value is not None}
    return ResNet.from_depth(_OWN[name], weights, **given, **options)


def _applications():
    """Return the functions of `keras.applications` by name."""
    return {
        name: function
        for name, function in vars(keras.applications).items()
        if inspect.isfunction(function)
    }


def _application(name, weights, image_shape, options):
    function = _applications()[name.removeprefix(APPLICATIONS)]
    instead = "give `weights=None`"
    with _made(name), downloading(repr(name), instead):
        return function(
            weights=weights,
            include_top=False,
            input_shape=image_shape or _ANY_SIZE,
            **options,
        )


def _file(name, weights, scaling, levels, fused, options):
    given = {"scaling": scaling, "levels": levels, **options}
    unknown = [key for key, value in given.items() if value is not None]
    if unknown:
        raise ValueError(
            f"The file `{name}` says what its net is. Received also: "
            f"{unknown}. Leave them out."
        )
    backbone = files.load(name, **({"fused": True} if fused else {}))
    if weights is None:  # New ones.
        return type(backbone).from_config(backbone.get_config())
    return backbone


def _hub(name, weights, options):
    """Return a backbone of KerasHub and its image converter, or None."""
    keras_hub = nets.import_hub()
    preset = name.removeprefix(HUB)
    _check_preset(preset, keras_hub.models.Backbone.presets)
    # Its architecture is a part of it, so that `weights=None` needs it, too.
    instead = (
        "give the folder of a preset, or build the net with KerasHub and pass "
        "it to `jft.backbones.adapt`"
    )
    with _made(name), downloading(repr(name), instead):
        net = keras_hub.models.Backbone.from_preset(
            preset, load_weights=weights is not None, **options
        )
    try:
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except (OSError, ValueError):  # The preset has none.
        converter = None
    return net, converter


def _check_preset(preset, known):
    """Raise `ValueError` for what is neither a preset, a URL nor a folder."""
    if preset in known or "://" in preset or os.path.isdir(preset):
        return
    raise ValueError(
        f"'{HUB}{preset}' is neither a preset of KerasHub nor an existing "
        f"folder.{_near(preset, [HUB + name for name in known])} "
        "`jft.backbones.names()` lists the presets; a folder is relative to "
        f"{os.getcwd()}."
    )


@contextlib.contextmanager
def _made(name):
    """Say which net could not be made, and why."""
    try:
        yield
    except (TypeError, ValueError) as error:
        hint = ""
        if "://" in name:  # Some are reported as missing if out of reach.
            hint = " If it is there, check the network."
        raise ValueError(
            f"{name!r} could not be made: {str(error).rstrip('.')}.{hint}"
        ) from error
