import os
import struct
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import training
from keras_jft.training.checkpoints import archive


def _model(units=3, extra=False):
    x = inputs = keras.Input((4,))
    x = keras.layers.Dense(5, name="body")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    if extra:
        x = keras.layers.Dense(5, name="extra")(x)
    return keras.Model(inputs, keras.layers.Dense(units, name="head")(x))


def _arrays(model):
    return {v.path: ops.convert_to_numpy(v) for v in model.weights}


def _randomized(model):
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    return model


def _saved(model, folder, kind):
    path = folder / f"model{kind}"
    if kind == ".npz":
        model.compile("sgd", "mse")
        x, y = np.ones((2, 4)), np.ones((2, *model.output_shape[1:]))
        checkpoint = training.Checkpoint(folder / "run")
        with pytest.warns(UserWarning, match="not know the position"):
            model.fit(x, y, callbacks=[checkpoint], verbose=0)
        return folder / "run" / "step-0000000001.npz"
    (model.save_weights if kind == ".weights.h5" else model.save)(path)
    return path


@pytest.mark.parametrize("kind", [".npz", ".weights.h5", ".keras"])
def test_weights_are_taken_by_name_and_the_rest_is_told(tmp_path, kind):
    source = _randomized(_model(units=3, extra=True))
    path = _saved(source, tmp_path, kind)
    model = _model(units=2)
    head = _arrays(model)["head/bias"]
    table = training.load_weights(model, path)
    assert len(table.loaded) == 6
    assert table.other_shape == (
        ("head/kernel", (5, 3), (5, 2)),
        ("head/bias", (3,), (2,)),
    )
    assert table.only_in_model == ()
    assert [name.split("/")[0] for name in table.only_in_file] == ["extra"] * 2
    theirs, ours = _arrays(source), _arrays(model)
    for name in table.loaded:
        np.testing.assert_array_equal(ours[name], theirs[name])
    np.testing.assert_array_equal(ours["head/bias"], head)
    text = str(table)
    assert "head/kernel" in text
    assert "(5, 3) in the file, (5, 2) here" in text
    assert text.endswith("6 of 8 weights were loaded.")


def test_a_file_of_which_nothing_fits_is_an_error(tmp_path):
    archive.write(tmp_path / "a.npz", {"model/x/kernel": np.ones(3)}, {})
    with pytest.raises(ValueError, match="No weight.*x/kernel.*body/bias"):
        training.load_weights(_model(), tmp_path / "a.npz")


@pytest.mark.parametrize("attack", ["soft", "external", "array", "virtual"])
def test_an_h5_file_that_points_elsewhere_is_refused(tmp_path, attack):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.arange(4, dtype="float32")
    path = tmp_path / "evil.weights.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/dense/vars")
        group.attrs["name"] = "body"
        if attack == "soft":
            group["0"] = h5py.SoftLink("/elsewhere")
        elif attack == "external":
            group["0"] = h5py.ExternalLink(str(secret), "x")
        elif attack == "array":
            group.create_dataset(
                "0", (4,), "float32", external=[(str(secret), 0, 16)]
            )
        else:
            layout = h5py.VirtualLayout((4,), "float32")
            layout[:] = h5py.VirtualSource(str(secret), "x", (4,))
            group.create_virtual_dataset("0", layout)
    with pytest.raises(ValueError, match="Do not trust"):
        training.load_weights(_model(), path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    for name in ("a.pkl", "model"):
        with pytest.raises(ValueError, match="are read from"):
            training.load_weights(_model(), tmp_path / name)
    for name in ("a.h5", "a.keras", "a.npz"):
        (tmp_path / name).write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
        with pytest.raises(ValueError, match="damaged"):
            training.load_weights(_model(), tmp_path / name)


@pytest.mark.parametrize("kind", [".weights.h5", ".keras"])
def test_a_layer_of_another_number_of_weights_is_left_alone(tmp_path, kind):
    def normalizing(scale):
        inputs = keras.Input((4,))
        x = keras.layers.Dense(5, name="body")(inputs)
        norm = keras.layers.BatchNormalization(scale=scale, name="norm")
        return keras.Model(inputs, norm(x))

    # By place, its beta would be taken for a gamma.
    path = _saved(_randomized(normalizing(False)), tmp_path, kind)
    model = normalizing(True)
    before = _arrays(model)
    table = training.load_weights(model, path)
    assert [name.split("/")[0] for name in table.loaded] == ["body"] * 2
    assert "norm/gamma" in str(table)
    assert "NOT loaded: a layer of 3 weights in the file, 4 here" in str(table)
    for path, array in _arrays(model).items():
        if path.startswith("norm"):
            np.testing.assert_array_equal(array, before[path])


def _vars(file, layer):
    """The group of a layer's weights in a Keras file."""
    found = []
    file.visititems(
        lambda name, item: (
            found.append(item) if item.attrs.get("name") == layer else None
        )
    )
    return found[0]


def _instead(file, **kwargs):
    """Puts another data set in the place of the bias of `body`."""
    group = _vars(file, "body")
    del group["1"]
    return group.create_dataset("1", **kwargs)


def _many_ways(file):
    """Twice as many paths with every group."""
    group = file.create_group("zz/0")
    for i in range(1, 45):
        new = file["zz"].create_group(str(i))
        new["a"] = new["b"] = group
        group = new


def _circle(file):
    group = file.create_group("zz")
    group["again"] = group


def _deep(file):
    group = file
    for _ in range(3000):
        group = group.create_group("a")


def _bomb(file):
    data = np.zeros(10**6, "float32")
    _instead(file, data=data, compression="gzip")


def _huge_chunk(file):
    """A chunk of 2.7 GB, of which nothing is in the file."""
    _instead(
        file,
        shape=(5,),
        maxshape=(None,),
        chunks=(680_000_000,),
        dtype="float32",
    )


HOSTILE = {
    "2 ** 45 paths": (_many_ways, "second name"),
    "a circle": (_circle, "second name"),
    "3,000 groups deep": (_deep, "groups lie 101 deep"),
    "compression": (_bomb, "is compressed"),
    "a huge chunk": (_huge_chunk, "needs 20 bytes and claims 0"),
    "a huge empty array": (
        lambda file: _instead(file, shape=(10**12,), dtype="float32"),
        "needs 4,000,000,000,000 bytes and claims 0",
    ),
    "no array at all": (
        lambda file: _instead(file, data=h5py.Empty("f4")),
        "not real numbers",
    ),
    "complex numbers": (
        lambda file: _instead(file, data=np.ones(5, "complex64")),
        "complex64, not real",
    ),
    "texts": (
        lambda file: _instead(file, data=[b"12345"] * 5),
        "not real numbers",
    ),
    "a named type": (
        lambda file: file.__setitem__("layers/x", np.dtype("f4")),
        "named type",
    ),
    "a name that is not UTF-8": (
        lambda file: file["layers"].create_group(b"\xff\xfe"),
        "utf-8",
    ),
    "a layer whose name is a number": (
        lambda file: _vars(file, "body").attrs.__setitem__("name", 3),
        "is 3, not text|is np.int64.3., not text",
    ),
    "a NaN": (
        lambda file: _instead(file, data=np.float32([1, 2, np.nan, 4, 5])),
        "body/1' has a NaN",
    ),
    "more than float32 holds": (
        lambda file: _instead(file, data=np.float64([1, 2, 1e300, 4, 5])),
        "NaN or an infinity as float32",
    ),
}


@pytest.mark.parametrize("kind", [".weights.h5", ".keras"])
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_h5_file_is_refused_by_name(tmp_path, case, kind):
    attack, message = HOSTILE[case]
    path = tmp_path / "evil.weights.h5"
    _model().save_weights(path)
    with h5py.File(path, "a") as file:
        attack(file)
    if kind == ".keras":
        path, content = tmp_path / "evil.keras", path.read_bytes()
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("model.weights.h5", content)
    model = _model()
    before = _arrays(model)
    with pytest.raises(ValueError, match=rf"`{path}` is .*({message})"):
        training.load_weights(model, path)
    for name, array in _arrays(model).items():
        np.testing.assert_array_equal(array, before[name])


def test_a_keras_file_whose_sizes_lie_is_refused_by_name(tmp_path):
    path = tmp_path / "model.keras"
    _model().save(path)
    content = bytearray(path.read_bytes())
    for place in range(len(content) - 4):
        if content[place : place + 4] == b"PK\1\2":
            struct.pack_into("<II", content, place + 20, 0xFFFFFFF0, 0xFFFFFFF0)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.keras.*larger than the file"):
        training.load_weights(_model(), path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model.weights.h5", b"no HDF5")
    with pytest.raises(ValueError, match=r"model\.keras. is damaged"):
        training.load_weights(_model(), path)


def test_what_is_not_a_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    for name in ("pipe.npz", "absent.h5"):
        with pytest.raises(ValueError, match=f"{name}. is not a file"):
            training.load_weights(_model(), tmp_path / name)


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_an_archive_of_weights_that_are_not_finite_is_refused(tmp_path, bad):
    arrays = {"model/body/bias": np.float32([1, 2, 3, 4, bad])}
    archive.write(tmp_path / "a.npz", arrays, {})
    with pytest.raises(ValueError, match=r"a\.npz.*body/bias' has a NaN or"):
        training.load_weights(_model(), tmp_path / "a.npz")


def test_whole_numbers_are_never_taken_for_real_ones(tmp_path):
    """A quantized kernel has the shape of the kernel, and other values."""
    arrays = {
        "model/body/kernel": np.ones((4, 5), "int8"),
        "model/body/bias": np.ones(5, "float64"),
    }
    archive.write(tmp_path / "a.npz", arrays, {})
    table = training.load_weights(_model(), tmp_path / "a.npz")
    assert table.loaded == ("body/bias",)
    assert table.other_shape == (
        ("body/kernel", "whole numbers", "real numbers"),
    )


def test_bfloat16_weights_are_read_from_every_kind_of_file(tmp_path):
    def halved():
        inputs = keras.Input((4,))
        layer = keras.layers.Dense(5, name="body", dtype="bfloat16")
        return keras.Model(inputs, layer(inputs))

    source = _randomized(halved())
    for kind in (".npz", ".weights.h5", ".keras"):
        model = halved()
        assert (
            len(
                training.load_weights(
                    model, _saved(source, tmp_path, kind)
                ).loaded
            )
            == 2
        )
        theirs, ours = _arrays(source), _arrays(model)
        assert [a.tobytes() for a in theirs.values()] == [
            a.tobytes() for a in ours.values()
        ]


def test_layers_of_one_name_are_not_mixed_up(tmp_path):
    """Each of the two would be given the weights of the last in the file."""
    path = tmp_path / "twins.weights.h5"

    def inner(name):
        inputs = keras.Input((4,))
        return keras.Model(
            inputs, keras.layers.Dense(4, name="body")(inputs), name=name
        )

    inputs = keras.Input((4,))
    twins = keras.Model(inputs, inner("right")(inner("left")(inputs)))
    twins.save_weights(path)
    with pytest.raises(ValueError, match="several layers.*'body/kernel'"):
        training.load_weights(twins, path)
    with pytest.raises(ValueError, match="several of its layers.*'body/0'"):
        training.load_weights(inner("left"), path)


def _unnamed():
    """Layers in a layer, and all with the names that Keras gives them."""
    x = inputs = keras.Input((2, 4))
    x = keras.layers.Dense(4)(x)
    x = keras.layers.MultiHeadAttention(2, 2)(x, x)
    x = keras.layers.Dense(4)(keras.layers.LayerNormalization()(x))
    return keras.Model(inputs, keras.layers.LayerNormalization()(x))


@pytest.mark.parametrize("kind", [".npz", ".weights.h5", ".keras"])
def test_layers_that_keras_numbers_are_taken_in_their_order(tmp_path, kind):
    keras.utils.clear_session()
    source = _randomized(_unnamed())
    path = tmp_path / f"model{kind}"
    if kind == ".npz":
        arrays = {f"model/{k}": v for k, v in _arrays(source).items()}
        archive.write(path, arrays, {})
    else:
        (source.save if kind == ".keras" else source.save_weights)(path)
    keras.utils.clear_session()
    keras.layers.Dense(1)  # Now `dense_1` is the first here, the second there.
    model = _unnamed()
    table = training.load_weights(model, path)
    assert len(table.loaded) == len(model.weights)
    for ours, theirs in zip(model.weights, source.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs)
        )


@pytest.mark.filterwarnings("ignore")  # Keras advises against the format.
def test_a_whole_model_in_an_h5_file_is_told_what_to_save(tmp_path):
    _model().save(tmp_path / "whole.h5")
    with pytest.raises(ValueError, match=r"whole model.*weights\.h5"):
        training.load_weights(_model(), tmp_path / "whole.h5")
