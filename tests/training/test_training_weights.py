import h5py
import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import training
from keras_jft.training import archive


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
