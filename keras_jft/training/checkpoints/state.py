"""The state of a model in training, as named arrays.

The state consists of the weights, the seeds of random layers (each
`keras.random.SeedGenerator`, as in Dropout and augmentation layers), the
optimizer and the metrics. Random operations outside layers that receive no seed
use Keras's global state, which does not belong to the model and is not saved.
"""

import json
import re
import warnings
import zlib

import keras
import numpy as np
from keras import ops

from keras_jft.training.distribution import jax_layouts, replicas

# Keras draws these anew in each process; the drawn seeds are in the state.
_DRAWN = {"seed", "shared_object_id"}


def snapshot(model, metrics=True):
    """Return the state of `model` as `{name: array}`, copied to the host.

    Args:
        model: A built, compiled model.
        metrics: Whether to include the metrics, as needed within an epoch.
    """
    return {
        name: np.array(jax_layouts.on_host(variable))
        for name, variable in _variables(model, metrics).items()
    }


def not_finite(arrays):
    """Return the names of weights and optimizer slots that are not finite."""
    return [
        name
        for name, array in arrays.items()
        if not name.startswith("metrics/")
        and array.dtype.kind in "fV"
        and not np.isfinite(array).all()
    ]


def restore(model, arrays, metrics=False):
    """Restore a state that `snapshot` took of a model built the same way.

    Args:
        model: A built, compiled model.
        arrays: What `snapshot` returned.
        metrics: Whether to restore only the metrics, instead of the rest.

    Raises:
        ValueError: The variables differ; the message says where. `model` is
            then unchanged.
    """
    variables = {
        name: variable
        for name, variable in _variables(model, metrics).items()
        if name.startswith("metrics/") == metrics
    }
    arrays = {
        name: array
        for name, array in arrays.items()
        if name.startswith("metrics/") == metrics
    }
    lines = list(_differences(arrays, variables))
    if lines:
        raise ValueError(_told(lines))
    for variable, array in zip(
        variables.values(), arrays.values(), strict=True
    ):
        variable.assign(array)


def has_metrics(model, arrays):
    """Return whether `model` has built the metrics that are in `arrays`."""
    saved = sum(name.startswith("metrics/") for name in arrays)
    return len(list(replicas.metric_variables(model))) >= saved


def reset(model: keras.Model, fresh: keras.Model) -> None:
    """Give a compiled model fresh weights and a fresh optimizer state.

    Compiling again means tracing again, which takes seconds; a study of many
    small runs resets one model instead.

    Args:
        model: A compiled, built model.
        fresh: A new model of the same architecture, whose weights and seeds of
            random layers are copied.
    """
    optimizer = model.optimizer.from_config(model.optimizer.get_config())
    optimizer.build(model.trainable_variables)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    for old, new in zip(
        [*model.variables, *model.optimizer.variables],
        [*fresh.variables, *optimizer.variables],
        strict=True,
    ):
        old.assign(ops.convert_to_numpy(new))


def architecture(model):
    """Return the configuration of `model` as JSON data, None if it has none."""
    try:
        with warnings.catch_warnings():
            # Keras also warns if it cannot serialize how it was compiled.
            warnings.filterwarnings("ignore", message=".*includes a `lambda`")
            config = keras.saving.serialize_keras_object(model)["config"]
    except (NotImplementedError, TypeError, ValueError):
        return None
    return _without_draws(_plain(config))


def compilation(model):
    """Return the arguments of `compile` that change training, as JSON data.

    A part without a configuration is None.
    """
    parts = {
        "optimizer": model.optimizer,
        "loss": keras.tree.map_structure(_lambda_as_text, model.loss),
        "l2": getattr(model, "_l2", None),
        "multipliers": getattr(model, "_multipliers", None),
    }
    config = {}
    for name, part in parts.items():
        try:
            serialized = keras.saving.serialize_keras_object(part)
            config[name] = _without_draws(_plain(serialized))
        except (NotImplementedError, TypeError, ValueError):
            config[name] = None
    return config


def check_compiled(saved, now):
    """Raise unless two compilations are the same but for learning rates.

    Args:
        saved: The result of `compilation` in the earlier process, or None.
        now: The result in this process.

    Returns:
        The learning rates that differ, `[(before, now), ...]`: numbers, or
        configurations of schedules.

    Raises:
        ValueError: Something else differs; the message says what.
    """
    if saved is None:
        return []
    saved, now = (
        {**config, "loss": _loss_by_class(config.get("loss"))}
        for config in (saved, now)
    )
    parts = {key for key in now if None not in (saved.get(key), now[key])}
    pairs = []
    for config in (saved, now):
        rates = []
        parted = {key: _without_names(config[key]) for key in sorted(parts)}
        if "optimizer" in parts:
            parted["optimizer"] = _without_rates(parted["optimizer"], rates)
        pairs.append((parted, rates))
    (saved, saved_rates), (now, rates) = pairs
    check_same(saved, now, "compile")
    return [
        pair
        for pair in zip(saved_rates, rates, strict=True)
        if list(_leaves(pair[0])) != list(_leaves(pair[1]))
    ]


def check_same(saved, now, what):
    """Raise unless two configurations are the same but for numbers in names.

    Args:
        saved: A dict from a checkpoint, or None.
        now: A dict from this process, or None.
        what: What the message calls them.

    Raises:
        ValueError: They differ; the message says where.

    Example:

    >>> check_same({"rate": 0.1, "name": "a_1"}, {"rate": 0.1, "name": "a"}, "")
    """
    if saved is None or now is None:
        return
    lines = [f"{what} {line}" for line in differences(saved, now)]
    if lines:
        raise ValueError(_told(lines))


def differences(saved, now):
    """Return the differences of two configurations, a line for each.

    Args:
        saved: A dict from a checkpoint.
        now: A dict from this process.

    Example:

    >>> differences({"steps": 10, "rate": 0.1}, {"steps": 20, "rate": 0.1})
    ['steps: 10 in the checkpoint, 20 now']
    """
    saved, now = dict(_leaves(saved)), dict(_leaves(now))
    return [
        f"{key}: {saved.get(key)!r} in the checkpoint, {now.get(key)!r} now"
        for key in {**saved, **now}
        if saved.get(key) != now.get(key)
    ]


def unnumbered(name):
    """Return a name without the number that Keras adds to make it unique."""
    return re.sub(r"_\d+(?=_|/|$)", "", name)


def _variables(model, metrics):
    groups = {"model": model.variables}
    if model.optimizer is not None:
        groups["optimizer"] = model.optimizer.variables
    if metrics:
        groups["metrics"] = replicas.metric_variables(model)
    return {
        name: variable
        for group, variables in groups.items()
        for name, variable in named(group, variables).items()
    }


def named(group, variables):
    """Return variables by `group/path`, with a "+" behind each repetition."""
    names = {}
    for variable in variables:
        name = f"{group}/{variable.path}"
        while name in names:
            name += "+"
        names[name] = variable
    return names


def _differences(arrays, variables):
    saved = [_place(name) for name in arrays]
    wanted = [_place(name) for name in variables]
    if saved != wanted:
        for name, there in {**arrays, **variables}.items():
            if _place(name) not in wanted:
                yield f"{name}: only in the checkpoint, {there.shape}"
            elif _place(name) not in saved:
                yield f"{name}: only in the model, {tuple(there.shape)}"
        if sorted(saved) == sorted(wanted):
            yield "the same variables in another order"
        elif set(saved) == set(wanted):
            yield f"{len(saved)} variables there, {len(wanted)} in the model"
        return
    for (name, array), variable in zip(
        arrays.items(), variables.values(), strict=True
    ):
        there = f"{array.shape} {array.dtype.name}"
        here = f"{tuple(variable.shape)} {variable.dtype}"
        if there != here:
            yield f"{name}: {there} in the checkpoint, {here} in the model"


def _place(name):
    """Return a variable's name without numbers and the optimizer's name."""
    group, *path = unnumbered(name).split("/")
    return "/".join([group, *(path[1:] if group == "optimizer" else path)])


def _plain(config):
    """Return `config` as JSON data, without the addresses of objects."""
    return json.loads(
        json.dumps(
            config,
            default=lambda value: re.sub(r" at 0x\w+", "", str(value)),
        )
    )


def _without_rates(config, rates):
    """Return `config` with kinds for learning rates, which go to `rates`."""
    if not isinstance(config, dict):
        return config
    rest = {}
    for key, value in config.items():
        if key == "learning_rate" and value is not None:
            rates.append(value)
            value = "a schedule" if isinstance(value, dict) else "a number"
        rest[key] = _without_rates(value, rates)
    return rest


def _without_names(config):
    """Return `config` without names of instances, which change no number."""
    if isinstance(config, dict):
        return {
            key: _without_names(value)
            for key, value in config.items()
            if key != "name"
        }
    if isinstance(config, list):
        return [*map(_without_names, config)]
    return config


def _lambda_as_text(loss):
    """Return a text that identifies a lambda; anything else unchanged."""
    if getattr(loss, "__name__", None) != "<lambda>":
        return loss
    code = loss.__code__
    computes = code.co_code, code.co_consts, code.co_names
    return f"lambda {zlib.crc32(repr(computes).encode()):08x}"


def _loss_by_class(config):
    """Return the Keras class, as JSON data, that a loss abbreviates, or None.

    "mse", `keras.losses.mean_squared_error` and `MeanSquaredError()` are the
    same loss.
    """
    if isinstance(config, list):
        return [*map(_loss_by_class, config)]
    name = config
    if isinstance(config, dict):
        if "class_name" not in config:
            return {key: _loss_by_class(part) for key, part in config.items()}
        if config["class_name"] == "__lambda__":  # Of older versions: bytes.
            return None
        name = config["config"]
        if config["class_name"] != "function":
            return config
    try:
        found = keras.losses.get(name)
    except (TypeError, ValueError):  # A function or a lambda of the user.
        return config
    function = getattr(found, "__name__", "")
    if found is getattr(keras.losses, function, None):
        classes = {
            key.lower(): value
            for key, value in vars(keras.losses).items()
            if isinstance(value, type)
        }
        of_function = classes.get(function.replace("_", ""))
        found = of_function() if of_function else found
    return _plain(keras.saving.serialize_keras_object(found))


def _without_draws(config):
    if isinstance(config, dict):
        return {
            key: _without_draws(value)
            for key, value in config.items()
            if key not in _DRAWN
        }
    if isinstance(config, list):
        return [_without_draws(value) for value in config]
    return config


def _leaves(config, path=""):
    if isinstance(config, (dict, list)):
        items = (
            config.items() if isinstance(config, dict) else enumerate(config)
        )
        for key, value in items:
            yield from _leaves(value, f"{path}/{key}")
    else:
        yield (
            path.removeprefix("/"),
            (unnumbered(config) if isinstance(config, str) else config),
        )


def _told(lines, most=6):
    more = [f"and {len(lines) - most} more"] if len(lines) > most else []
    return (
        "The checkpoint was written by another run. It differs in: "
        + "; ".join([*lines[:most], *more])
        + ". Build the same run again, save to another directory, or take "
        "over what fits with `jft.training.load_weights`."
    )
