"""Load weights from a file into any model, and list which of them fit.

Only arrays are read: no configuration is deserialized, and pickles, links to
other files and compressed data are refused. A weight is found by the name of
its layer and its own name. Keras's files do not name weights; there it is found
by its position in a layer with the same number of weights.
"""

import collections
import contextlib
import dataclasses
import io
import math
import zipfile

import keras
import ml_dtypes
import numpy as np

from keras_jft import files
from keras_jft.training import keras_internals
from keras_jft.training.checkpoints import archive
from keras_jft.typing import PathLike

_DEEPEST = 100  # Most levels of groups in an HDF5 file; Keras needs few.
_SEVERAL = object()  # Stands for the weights of layers that share a name.


class _OtherLayout(Exception):
    """An HDF5 file is not laid out as Keras's weights."""


@dataclasses.dataclass(frozen=True)
class Loaded:
    """Result of `load_weights`; printed, it is a table.

    Attributes:
        loaded: Names of the weights that the model took over.
        other_shape: Weights that do not fit: `(name, shape in the file, shape
            in the model)`; in place of shapes, the number of weights of the
            layer, or whether they are whole numbers, where that differs.
        only_in_model: Names that the file lacks; these weights are unchanged.
        only_in_file: Names that the model lacks.
    """

    loaded: tuple
    other_shape: tuple
    only_in_model: tuple
    only_in_file: tuple

    def __str__(self):
        rows = [
            *((name, "loaded") for name in self.loaded),
            *(
                (name, f"NOT loaded: {theirs} in the file, {ours} here")
                for name, theirs, ours in self.other_shape
            ),
            *((n, "NOT loaded: not in the file") for n in self.only_in_model),
            *((n, "not used: not in the model") for n in self.only_in_file),
        ]
        width = max((len(name) for name, _ in rows), default=0)
        lines = [f"{name:{width}}  {what}" for name, what in rows]
        total = len(rows) - len(self.only_in_file)
        lines.append(f"{len(self.loaded)} of {total} weights were loaded.")
        return "\n".join(lines)


def load_weights(model: keras.Model, path: PathLike) -> Loaded:
    """Load those weights of a file that fit a model, and report which did.

    Args:
        model: A built `keras.Model`.
        path: A checkpoint (`run/best.npz`), what `jft.backbones.save` wrote,
            a `.weights.h5` or a `.keras` file.

    Returns:
        A `Loaded`.

    Raises:
        ValueError: Nothing fits; a weight that fits is not finite, or its layer
            shares its name with another one; or the file is damaged, is shorter
            than it says, links to other files, or has an unknown suffix.
            `model` is then unchanged.

    Example:

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.weights.h5"
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.save_weights(path)
    >>> print(str(load_weights(model, path)).splitlines()[-1])
    2 of 2 weights were loaded.
    """
    file = files.as_path("path", path, "run/best.npz")
    readers = {".npz": _of_archive, ".h5": _of_h5, ".keras": _of_keras}
    if file.suffix not in readers:
        raise ValueError(
            f"Weights are read from {sorted(readers)} files. Received: "
            f"`{path}`. Save it as one of these."
        )
    if not file.is_file():  # Reading from a pipe might wait forever.
        raise ValueError(f"`{path}` is not a file. Check the path.")
    by_name, by_place = _weights(model)
    wanted = by_name if file.suffix == ".npz" else by_place
    with readers[file.suffix](file) as found:
        found = _renumbered(found, wanted, model)
        several = [
            name
            for key, (name, variable) in wanted.items()
            if variable is _SEVERAL and key in found
        ]
        wanted = {
            k: pair for k, pair in wanted.items() if pair[0] not in several
        }
        # A position tells which weight it is only if both layers have the same
        # number of weights.
        unlike = {} if file.suffix == ".npz" else _unlike(wanted, found)
        table, values = _fitting(wanted, found, unlike)
    if several:
        raise ValueError(
            f"`{model.name}` has several layers with the weight "
            f"{several[0]!r}, and weights are found by the layer's name. "
            "Rename layers, or use Keras's own `load_weights`."
        )
    if not table.loaded:
        raise ValueError(
            f"No weight of `{path}` fits `{model.name}`. In the file: "
            f"{sorted(found)[:5]}; in the model: {sorted(wanted)[:5]}. Build "
            "the model with the layer names and sizes of the file."
        )
    for variable, value in values:
        variable.assign(value)
    return table


def load_all_weights(model, path):
    """Load all weights of a model from a file.

    Args:
        model: A built `keras.Model`.
        path: As for `load_weights`.

    Returns:
        A `Loaded`.

    Raises:
        ValueError: As `load_weights`; or a weight of `model` is not in the file
            or has another shape there.
    """
    table = load_weights(model, path)
    if table.other_shape or table.only_in_model:
        raise ValueError(
            f"The weights in `{path}` do not fit `{model.name}`:\n{table}"
        )
    return table


def _unlike(wanted, found):
    """Return `{key: (theirs, ours)}`, numbers of weights that differ."""
    ours, theirs = (
        collections.Counter(key.rpartition("/")[0] for key in side)
        for side in (wanted, found)
    )
    counts = {
        key: (theirs[layer], ours[layer])
        for key in wanted
        for layer in [key.rpartition("/")[0]]
    }
    return {key: n for key, n in counts.items() if 0 < n[0] != n[1]}


def _fitting(wanted, found, unlike):
    """Return a `Loaded`, and the `[(variable, value)]` to assign."""
    values, loaded, other_shape = [], [], []
    for key, (name, variable) in wanted.items():
        if key in unlike:
            theirs, ours = unlike[key]
            other_shape.append((name, f"a layer of {theirs} weights", ours))
            continue
        if key not in found:
            continue
        if found[key] is _SEVERAL:
            raise ValueError(f"several of its layers have the weight {key!r}")
        differences = ((of(found[key]), of(variable)) for of in (_shape, _kind))
        different = next((d for d in differences if d[0] != d[1]), None)
        if different:
            other_shape.append((name, *different))
            continue
        values.append((variable, _values(key, found[key], variable)))
        loaded.append(name)
    table = Loaded(
        tuple(loaded),
        tuple(other_shape),
        tuple(
            name
            for key, (name, _) in wanted.items()
            if key not in found and key not in unlike
        ),
        tuple(key for key in found if key not in wanted),
    )
    return table, values


def _shape(weight):
    return tuple(weight.shape)


def _kind(weight):
    """Return the kind of the numbers of a variable, array or HDF5 data set."""
    if isinstance(weight, keras.Variable):
        dtype = np.dtype(weight.dtype)
    else:
        dtype = weight.dtype
    # Those of `ml_dtypes` are "V"; they and what is "f" stand for each other.
    return {"i": "whole numbers", "u": "whole numbers", "b": "flags"}.get(
        dtype.kind, "real numbers"
    )


def _values(key, weight, variable):
    """Return a weight of a file as an array for `variable`; or raise."""
    array = np.asarray(weight[...])
    if array.dtype == "V2":  # As HDF5 has bfloat16.
        array = array.view(ml_dtypes.bfloat16)
    with np.errstate(over="ignore"):
        array = array.astype(variable.dtype)
    if not np.isfinite(array).all():
        raise ValueError(
            f"its weight {key!r} has a NaN or an infinity as {variable.dtype}"
        )
    return array


def _weights(model):
    """Return `{key: (name, variable)}` by name, and by place in the layer."""
    by_name, by_place = {}, {}
    for layer in keras_internals.flatten_layers(model):
        own = keras_internals.own_variables(layer)
        for place, variable in enumerate(own):
            name = f"{layer.name}/{variable.name}"
            if by_name.get(name, (name, variable))[1] is not variable:
                variable = _SEVERAL
            by_name[name] = by_place[f"{layer.name}/{place}"] = name, variable
    return by_name, by_place


def _renumbered(found, wanted, model):
    """Return `found` with the automatic layer names of this model.

    Keras numbers the layers of a process, so the numbers of a second model
    begin where those of the first ended. If file and model have equally many
    layers of a kind, they are matched in order.
    """
    layers = keras_internals.flatten_layers(model)
    kinds = {keras_internals.automatic_name(layer) for layer in layers}
    ours, theirs = (_numbered(side, kinds) for side in (wanted, found))
    names = {}
    for kind, layers in ours.items():
        if len(layers) == len(theirs[kind]):
            names.update(zip(theirs[kind], layers, strict=True))
    renumbered = {}
    for key, weight in found.items():
        layer, _, last = key.rpartition("/")
        renumbered[f"{names.get(layer, layer)}/{last}"] = weight
    return renumbered


def _numbered(keys, kinds):
    """Return `{kind: names}` of layers that Keras named, by number."""
    numbers = collections.defaultdict(dict)
    for key in keys:
        layer = key.rpartition("/")[0]
        kind, _, number = layer.rpartition("_")
        if layer in kinds:
            numbers[layer][layer] = 0
        elif kind in kinds and number.isdecimal():
            numbers[kind][layer] = int(number)
    return collections.defaultdict(
        list,
        {
            kind: sorted(layers, key=layers.get)
            for kind, layers in numbers.items()
        },
    )


@contextlib.contextmanager
def _naming(path):
    """Turn any error in reading a file into one that names the file."""
    try:
        yield
    except archive.UnreadableArchive:
        raise
    except _OtherLayout:
        raise ValueError(
            f"`{path}` is a whole model as `model.save` writes it to `.h5`, a "
            "layout that is not read. Save `model.save_weights("
            '"x.weights.h5")` or `model.save("x.keras")` instead.'
        ) from None
    except Exception as error:  # A hostile file may cause any.
        raise ValueError(
            f"`{path}` is damaged, or has content that weights do not need: "
            f"{error}. Nothing was loaded. Do not trust it; use another file."
        ) from error


@contextlib.contextmanager
def _of_archive(path):
    arrays, _ = archive.read(path)
    with _naming(path):
        found = {}
        for name, array in arrays.items():
            if name.startswith("model/") and not name.endswith("_state"):
                if array.dtype.kind not in "fiubV":
                    raise ValueError(f"{name!r} is {array.dtype}")
                _add(found, "/".join(name.split("/")[-2:]), array)
        yield found


@contextlib.contextmanager
def _of_h5(path):
    with (
        files.local_copy(path) as copy,
        _stored(path, copy, copy.stat().st_size) as found,
    ):
        yield found


@contextlib.contextmanager
def _stored(path, source, size):
    """Yield the weights that `path` holds in HDF5, a file or its bytes."""
    import h5py

    with _naming(path), h5py.File(source, "r") as file:
        found = {}
        if "model_weights" in file and "layers" not in file:
            raise _OtherLayout
        _walk(file, size, found, seen=set())
        yield found


@contextlib.contextmanager
def _of_keras(path):
    # Its configuration, which could name code, is never looked at.
    with (
        files.local_copy(path) as copy,
        _naming(path),
        zipfile.ZipFile(copy) as file,
    ):
        info = file.getinfo("model.weights.h5")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError("its weights are compressed")
        if info.file_size > copy.stat().st_size:
            raise ValueError("its weights are larger than the file")
        content = file.read(info)
    with _stored(path, io.BytesIO(content), len(content)) as found:
        yield found


def _walk(group, size, found, seen, depth=0):
    """Add `{layer/place: data set}` of a group to `found`, each object once.

    Keras writes a group `vars` for each layer, which has the layer's name.
    """
    import h5py

    if depth > _DEEPEST:
        raise ValueError(f"groups lie {depth} deep")
    for key in group:
        where = f"{group.name}/{key}"
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise ValueError(f"a link at {where}, to elsewhere on this machine")
        item = group[key]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:  # A cycle, or a second path to it.
            raise ValueError(f"a second name, {where}, of one object")
        seen.add(address)
        if isinstance(item, h5py.Group):
            _walk(item, size, found, seen, depth + 1)
        elif not isinstance(item, h5py.Dataset):
            raise ValueError(f"a named type at {where}")
        elif item.external or item.is_virtual:
            raise ValueError(f"an array {where} that is in another file")
        elif "name" in group.attrs and not where.startswith("/optimizer"):
            _check_data_set(item, size)
            _add(found, f"{_layer(group)}/{key}", item)


def _layer(group):
    name = group.attrs["name"]
    if not isinstance(name, str):
        raise ValueError(f"the name of {group.name} is {name!r}, not text")
    return name


def _check_data_set(item, size):
    """Raise unless `item` holds as many real numbers as it claims."""
    is_bfloat16 = item.dtype == "V2" and item.attrs.get("dtype") == "bfloat16"
    if item.shape is None or (
        item.dtype.kind not in "fiub" and not is_bfloat16
    ):
        raise ValueError(f"{item.name} holds {item.dtype}, not real numbers")
    if item.id.get_create_plist().get_nfilters():
        raise ValueError(f"{item.name} is compressed")
    needed = math.prod(item.shape) * item.dtype.itemsize
    stored = item.id.get_storage_size()
    if not needed <= stored <= size:
        raise ValueError(
            f"{item.name} needs {needed:,} bytes and claims {stored:,} of a "
            f"file of {size:,}"
        )


def _add(found, key, weight):
    found[key] = _SEVERAL if key in found else weight
