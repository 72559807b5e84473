import csv
import dataclasses

import keras
import numpy as np
import pytest

import keras_jft as jft
from keras_jft import evaluation, training
from keras_jft.data.datasets import Dataset, Info

pytestmark = pytest.mark.usefixtures("uncompiled")

COUNT = 10


class _Shades(Dataset):
    """Gray images whose class is how bright they are."""

    info = Info(num_examples=COUNT, label_names=("dark", "gray", "bright"))

    def ids(self, positions):
        return np.asarray(positions)

    def __getitem__(self, position):
        label = position % 3
        return {
            "images": np.full((2, 2, 3), 100 * label, "uint8"),
            "labels": np.int32(label),
            "ids": position,
        }


def _model():
    images = keras.Input((2, 2, 3))
    x = keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(images))
    model = training.Model(images, keras.layers.Dense(3, name="logits")(x))
    model.num_classes = 3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(2.0), loss)
    return model


def _batch():
    examples = _Shades().take(range(COUNT))
    return {k: np.stack([e[k] for e in examples]) for k in examples[0]}


class _Behind(keras.callbacks.Callback):
    """Notes the accuracy by hand, and what the logs say it is."""

    def __init__(self):
        super().__init__()
        self.by_hand, self.told = [], []

    def on_epoch_end(self, epoch, logs=None):
        batch = _batch()
        classes = self.model.predict(batch, verbose=0).argmax(-1)
        self.by_hand.append(np.mean(classes == batch["labels"]))
        self.told.append(logs["val_top1"])


def _config():
    # Four images a batch: the last is filled up.
    return evaluation.Config(task="classification", batch_size=4)


@pytest.mark.ops
def test_callbacks_behind_it_see_the_scores_of_the_epoch():
    behind = _Behind()
    history = _model().fit(
        _batch(),
        callbacks=[evaluation.Evaluate(_config(), _Shades()), behind],
        epochs=12,
        verbose=0,
    )
    np.testing.assert_allclose(behind.told, behind.by_hand)
    assert len(set(behind.by_hand)) > 1, "training changes the score"
    assert history.history["val_top1"] == behind.told
    assert history.history["val_counted"] == [COUNT] * 12


def test_between_two_measurements_scores_are_nan(tmp_path):
    history = _model().fit(
        _batch(),
        callbacks=[
            evaluation.Evaluate(_config(), _Shades(), every=2, prefix="on_"),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        ],
        epochs=5,
        verbose=0,
    )
    measured = np.isfinite(history.history["on_top1"])
    # The last epoch is measured whatever its number.
    assert measured.tolist() == [False, True, False, True, True]
    with (tmp_path / "log.csv").open() as file:
        lines = [row["on_top1"] for row in csv.DictReader(file)]
    assert lines[0] == "nan" and float(lines[1]) <= 1


def test_the_best_epoch_is_kept(tmp_path):
    _model().fit(
        _batch(),
        callbacks=[
            evaluation.Evaluate(_config(), _Shades(), every=3),
            training.Checkpoint(tmp_path, best="val_top1"),
        ],
        epochs=3,
        shuffle=False,
        verbose=0,
    )
    assert (tmp_path / "best.npz").is_file()


def test_a_mistake_shows_before_training():
    config = evaluation.Config(task="classification", dataset="image_folder")
    with pytest.raises(ValueError, match="needs the options .*directory"):
        _model().fit(
            _batch(), callbacks=[evaluation.Evaluate(config)], verbose=0
        )
    with pytest.raises(ValueError, match="`every` must be 1 or more"):
        evaluation.Evaluate(config, every=0)


def test_a_run_with_its_callbacks_is_measured_kept_and_resumed(
    tmp_path, tiny_backbone
):
    config = jft.transfer.Config(
        options={"task": "classification", "num_examples": 32},
        image_size=(16, 16),
        transforms=(jft.data.transforms.Resize((16, 16)),),
        batch_size=16,
        epochs=1,
    )
    measured = evaluation.Config(
        task="classification",
        options=config.options,
        transforms=config.transforms,
    )

    def run(config):
        callbacks = evaluation.run_callbacks(tmp_path, config, measured)
        return jft.transfer.run(
            config, tiny_backbone, callbacks=callbacks, verbose=0
        )

    first = run(config)
    (folder,) = tmp_path.iterdir()
    assert (folder / "best.npz").exists()
    # The same run only loads; one of other settings begins anew.
    again = run(config)
    for one, other in zip(first.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    run(dataclasses.replace(config, learning_rate=0.5))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_with_a_function_among_its_transforms_keeps_its_folder(tmp_path):
    def made_again():  # As in another process, at another address.
        def darker(example, rng):
            return {**example, "images": example["images"] // 2}

        return darker

    folders = {
        saves.directory
        for _ in range(2)
        for saves in evaluation.run_callbacks(
            tmp_path, jft.transfer.Config(transforms=(made_again(),))
        )
    }
    assert len(folders) == 1
