"""Weights from any file into any model, and a table of what fitted.

Only numbers are read: no configuration is deserialized, no pickle, no link to
another file. A weight is found by the name of its layer and its own; in Keras's
files, which do not name it, by its place in a layer of as many weights.
"""

import collections
import contextlib
import dataclasses
import io
import pathlib
import zipfile

from keras_jft.training import archive


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What `load_weights` did; printed, it is a table.

    Attributes:
        loaded: Names of the weights that the model took over.
        other_shape: Of those that it did not, for their shape: `(name, shape
            in the file, shape in the model)`; how many weights the layer has,
            where that differs.
        only_in_model: Names that the file lacks; as they were.
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


def load_weights(model, path):
    """Gives `model` the weights of a file that fit, and says which did.

    Args:
        model: A built `keras.Model`.
        path: A checkpoint (`run/best.npz`), what `jft.backbones.save` wrote,
            a `.weights.h5` or a `.keras` file.

    Returns:
        A `Loaded`.

    Raises:
        ValueError: Nothing fits, or the file is damaged, links to others, or
            is of a kind that is not read.

    Example:

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.weights.h5"
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.save_weights(path)
    >>> print(str(load_weights(model, path)).splitlines()[-1])
    2 of 2 weights were loaded.
    """
    path = pathlib.Path(path)
    readers = {".npz": _of_archive, ".h5": _of_h5, ".keras": _of_keras}
    if path.suffix not in readers:
        raise ValueError(
            f"Weights are read from {sorted(readers)} files. Received: "
            f"`{path}`. Save it as one of these."
        )
    with readers[path.suffix](path) as found:
        by_name, by_place = _weights(model)
        wanted = by_name if path.suffix == ".npz" else by_place
        # A place says which weight it is where a layer has as many of them.
        unlike = _unlike(wanted, found) if wanted is by_place else {}
        table = _assign(wanted, found, unlike)
    if not table.loaded:
        raise ValueError(
            f"No weight of `{path}` fits `{model.name}`. In the file: "
            f"{sorted(found)[:5]}; in the model: {sorted(wanted)[:5]}. Build "
            "the model with the layer names and sizes of the file."
        )
    return table


def _unlike(wanted, found):
    """`{key: (theirs, ours)}` of layers with other numbers of weights there."""
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


def _assign(wanted, found, unlike):
    loaded, other_shape = [], []
    for key, (name, variable) in wanted.items():
        if key in unlike:
            theirs, ours = unlike[key]
            other_shape.append((name, f"a layer of {theirs} weights", ours))
            continue
        if key not in found:
            continue
        shapes = tuple(found[key].shape), tuple(variable.shape)
        if shapes[0] != shapes[1]:
            other_shape.append((name, *shapes))
            continue
        variable.assign(found[key][...])
        loaded.append(name)
    return Loaded(
        tuple(loaded),
        tuple(other_shape),
        tuple(
            name
            for key, (name, _) in wanted.items()
            if key not in found and key not in unlike
        ),
        tuple(key for key in found if key not in wanted),
    )


def _weights(model):
    """`{key: (name, variable)}` by layer and name, and by layer and place."""
    by_name, by_place = {}, {}
    for layer in _leaves(model):
        for place, variable in enumerate(layer.weights):
            name = f"{layer.name}/{variable.name}"
            by_name[name] = by_place[f"{layer.name}/{place}"] = name, variable
    return by_name, by_place


def _leaves(layer):
    if not hasattr(layer, "layers"):
        yield layer
    for inner in getattr(layer, "layers", ()):
        yield from _leaves(inner)


@contextlib.contextmanager
def _of_archive(path):
    arrays, _ = archive.read(path)
    yield {
        "/".join(name.split("/")[-2:]): array
        for name, array in arrays.items()
        if name.startswith("model/") and not name.endswith("_state")
    }


@contextlib.contextmanager
def _of_h5(path):
    # A Keras file: a group `vars` a layer, which tells the layer's name.
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found = {}
            _walk(path, file, found)
            yield found
    except OSError as error:
        raise ValueError(
            f"`{path}` is no HDF5 file, or is damaged: {error}. Use another."
        ) from error


@contextlib.contextmanager
def _of_keras(path):
    # Its configuration, which could name code, is never looked at.
    try:
        with zipfile.ZipFile(path) as file:
            info = file.getinfo("model.weights.h5")
            if info.compress_type != zipfile.ZIP_STORED:
                raise KeyError("its weights are compressed")
            content = io.BytesIO(file.read(info))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(
            f"`{path}` is no `.keras` file of Keras 3, or is damaged: "
            f"{error}. Use another."
        ) from error
    with _of_h5(content) as found:
        yield found


def _walk(path, group, found):
    import h5py

    for key in group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise ValueError(
                f"`{path}` has a link at {group.name}/{key}, to elsewhere on "
                "this machine. Nothing was loaded. Do not trust this file."
            )
        item = group[key]
        if isinstance(item, h5py.Group):
            _walk(path, item, found)
        elif item.external or item.is_virtual:
            raise ValueError(
                f"`{path}` has its array {item.name} in another file. Nothing "
                "was loaded. Do not trust this file."
            )
        elif item.dtype.kind in "fiub" and "name" in group.attrs:
            layer = group.attrs["name"]
            if not group.name.startswith("/optimizer"):
                found[f"{layer}/{key}"] = item
