import os

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import training
from keras_jft.training.checkpoints import archive
from keras_jft.training.checkpoints import checkpoint as checkpoint_lib

STEPS = 6  # an epoch


class Stop(keras.callbacks.Callback):
    """Interrupts a run after a number of its own steps."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def _model(rate=0.3, units=8, optimizer="adam", run_eagerly=True):
    keras.utils.set_random_seed(5)
    x = inputs = keras.Input((4,))
    x = keras.layers.Dense(units, activation="relu")(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.Dropout(rate)(x)
    model = training.Model(inputs, keras.layers.Dense(3)(x))
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        run_eagerly=run_eagerly,  # Tracing would take most of the time.
    )
    return model


class Pairs(keras.utils.PyDataset):
    """Batch i of an endless stream is a function of i, as `Batches` has it."""

    def __init__(self, position=0):
        super().__init__()
        self.position, self.source = position, self
        self.identity = {"seed": 0}

    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        rng = np.random.default_rng(self.position + index)
        x = rng.normal(size=(8, 4)).astype("float32")
        return x, rng.integers(0, 3, 8)

    @property
    def num_batches(self):
        return STEPS


def _fit(model, *callbacks, epochs=3, data=None, **kwargs):
    return model.fit(
        Pairs() if data is None else data,
        epochs=epochs,
        callbacks=list(callbacks),
        verbose=0,
        **kwargs,
    )


def _state(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [ops.convert_to_numpy(v).tobytes() for v in variables]


def _interrupted(directory, steps, run_eagerly=True, **kwargs):
    with pytest.raises(KeyboardInterrupt):
        _fit(
            _model(run_eagerly=run_eagerly),
            training.Checkpoint(
                directory, save_every=1, asynchronous=False, **kwargs
            ),
            Stop(steps),
        )


class Positioned(keras.callbacks.Callback):
    """Positions the stream by epoch, as `Checkpoint` does."""

    def __init__(self, source):
        super().__init__()
        self.source = source

    def on_epoch_begin(self, epoch, logs=None):
        self.source.position = epoch * STEPS


@pytest.mark.ops
def test_a_run_interrupted_at_any_step_ends_like_one_that_was_not(tmp_path):
    model, data = _model(run_eagerly=False), Pairs()
    history = _fit(model, Positioned(data), epochs=2, data=data)
    whole = _state(model)
    for steps in (1, STEPS, STEPS + 2):
        folder = tmp_path / str(steps)
        _interrupted(folder, steps, run_eagerly=False)
        resumed, asynchronous = _model(run_eagerly=False), steps % 2 == 0
        checkpoint = training.Checkpoint(folder, asynchronous=asynchronous)
        again = _fit(resumed, checkpoint, epochs=2)
        assert _state(resumed) == whole, steps
        assert again.history == history.history, steps
        assert again.epoch == [0, 1]


def test_a_finished_run_only_loads(tmp_path):
    model = _model()
    _fit(model, training.Checkpoint(tmp_path))
    again = _model()
    history = _fit(again, training.Checkpoint(tmp_path))
    assert _state(again) == _state(model)
    assert len(history.history["loss"]) == 3
    _fit(again, training.Checkpoint(tmp_path), epochs=4)
    assert _state(again) != _state(model)


def test_callbacks_see_every_step_of_a_resumed_epoch(tmp_path):
    _interrupted(tmp_path, STEPS + 2)
    seen = []
    watcher = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: seen.append((step, logs["loss"]))
    )
    _fit(_model(), training.Checkpoint(tmp_path), watcher, epochs=2)
    assert [step for step, _ in seen] == list(range(STEPS))
    assert seen[0][1] == seen[1][1]


def test_data_without_a_position_are_read_up_to_where_the_run_was(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8 * STEPS, 4)).astype("float32")
    y = rng.integers(0, 3, 8 * STEPS)

    def fit(*callbacks):
        model = _model()
        model.fit(
            x,
            y,
            batch_size=8,
            epochs=2,
            shuffle=False,
            callbacks=list(callbacks),
            verbose=0,
        )
        return model

    whole = fit()
    with pytest.raises(KeyboardInterrupt):
        fit(training.Checkpoint(tmp_path, save_every=1), Stop(STEPS + 2))
    resumed = fit(training.Checkpoint(tmp_path))
    assert _state(resumed) == _state(whole)


def test_the_newest_and_the_best_are_kept(tmp_path):
    losses = iter([1.0, 3.0, 1.0, 5.0])

    class Score(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = next(losses)

    def checkpoint():
        return training.Checkpoint(tmp_path, keep=2, best="val_loss")

    _fit(_model(), Score(), checkpoint(), epochs=3)
    _fit(_model(), Score(), checkpoint(), epochs=4)
    names = [path.name for path in checkpoint_lib.saved(tmp_path)]
    assert names == ["step-0000000018.npz", "step-0000000024.npz"]
    # Of two epochs that are as good, the later one.
    assert archive.read(tmp_path / "best.npz")[1]["epoch"] == 3


def test_a_score_that_never_came_is_said(tmp_path):
    with pytest.warns(UserWarning, match="'val_map'.*accuracy.*loss"):
        _fit(_model(), training.Checkpoint(tmp_path, best="val_map"), epochs=1)


def _damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    model, data = _model(), Pairs()
    _fit(model, Positioned(data), epochs=2, data=data)
    _interrupted(tmp_path, STEPS + 2, keep=3)
    *_, before, newest = checkpoint_lib.saved(tmp_path)
    _damage(newest)
    resumed = _model()
    message = f"{newest.name}.*checksum.*Resuming from .*{before.name}"
    with pytest.warns(UserWarning, match=message):
        _fit(resumed, training.Checkpoint(tmp_path), epochs=2)
    assert _state(resumed) == _state(model)
    # Nothing is lost, and what cannot be read never counts as the newest.
    assert newest.with_suffix(".unreadable").exists()


def test_when_all_are_damaged_the_run_does_not_start_over(tmp_path):
    _interrupted(tmp_path, 3)
    for path in checkpoint_lib.saved(tmp_path):
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="No checkpoint.*can be read.*cut"):
        _fit(_model(), training.Checkpoint(tmp_path))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"units": 9}, r"model layers/1/config/units: 8 in .*, 9 now"),
        ({"rate": 0.1}, r"config/rate: 0.3 in the checkpoint, 0.1 now"),
        ({"optimizer": "sgd"}, r"class_name: 'Adam' in the .*, 'SGD' now"),
    ],
)
def test_another_model_is_told_where_it_differs(tmp_path, other, message):
    _interrupted(tmp_path, 3)
    model = _model(**other)
    before = [ops.convert_to_numpy(v) for v in model.weights]
    with pytest.raises(ValueError, match=message):
        _fit(model, training.Checkpoint(tmp_path))
    for old, variable in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(variable))


def test_other_data_are_told_where_they_differ(tmp_path):
    _interrupted(tmp_path, 3)
    data = Pairs()
    data.identity = {"seed": 1}
    with pytest.raises(ValueError, match="data seed: 0 in the checkpoint, 1"):
        _fit(_model(), training.Checkpoint(tmp_path), data=data)


def test_an_archive_that_is_no_run_is_refused(tmp_path):
    archive.write(tmp_path / "step-0000000001.npz", {"a": np.ones(1)}, {})
    with pytest.raises(ValueError, match="holds no run"):
        _fit(_model(), training.Checkpoint(tmp_path))


@pytest.mark.ops
@pytest.mark.parametrize("asynchronous", [False, True])
def test_weights_that_are_not_finite_are_never_saved(tmp_path, asynchronous):
    model = _model(optimizer=keras.optimizers.SGD(1e38))
    checkpoint = training.Checkpoint(
        tmp_path, save_every=1, asynchronous=asynchronous
    )
    with pytest.raises(FloatingPointError, match="step|loss"):
        _fit(model, checkpoint)
    for path in checkpoint_lib.saved(tmp_path):
        arrays, _ = archive.read(path)
        assert all(np.isfinite(a).all() for a in arrays.values())


@pytest.mark.parametrize("bad", [0, 4, STEPS + 1])
def test_a_bad_batch_stops_the_run_in_its_step_and_is_not_saved(tmp_path, bad):
    class Bad(Pairs):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            x[0] = np.nan if self.position + index == bad else x[0]
            return x, y

    seen = []
    watcher = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: seen.append(step)
    )
    checkpoint = training.Checkpoint(
        tmp_path, save_every=1, keep=20, asynchronous=False
    )
    epoch, step = divmod(bad, STEPS)
    message = f"nan in epoch {epoch + 1}, step {step + 1}.*that batch"
    with pytest.raises(FloatingPointError, match=message):
        _fit(_model(), checkpoint, watcher, data=Bad())
    assert len(seen) == bad
    assert [path.stem for path in checkpoint_lib.saved(tmp_path)] == [
        f"step-{done:010d}" for done in range(1, bad + 1)
    ]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_save_that_fails_stops_the_run_and_keeps_what_there_was(
    tmp_path, monkeypatch, asynchronous
):
    _interrupted(tmp_path, 3)
    before = [path.read_bytes() for path in checkpoint_lib.saved(tmp_path)]
    (tmp_path / ".partial-0-step-0000000009.npz").write_bytes(b"half")

    def fail(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    checkpoint = training.Checkpoint(
        tmp_path, save_every=1, asynchronous=asynchronous
    )
    with pytest.raises(OSError, match="could not be written: No space left"):
        _fit(_model(), checkpoint)
    after = [path.read_bytes() for path in checkpoint_lib.saved(tmp_path)]
    assert after == before
    assert not list(tmp_path.glob(".partial-*"))


def test_arguments_out_of_range_are_refused(tmp_path):
    with pytest.raises(ValueError, match="keep=0"):
        training.Checkpoint(tmp_path, keep=0)
    with pytest.raises(ValueError, match="mode"):
        training.Checkpoint(tmp_path, best="loss", mode="lowest")


def test_a_resume_that_was_interrupted_is_resumed(tmp_path):
    """In one process, as in a notebook: nothing of the first is left over."""
    expected, again = _model(), _model()
    _interrupted(tmp_path, STEPS + 2)
    with pytest.raises(KeyboardInterrupt):  # Among steps that are passed over.
        _fit(again, training.Checkpoint(tmp_path), Stop(1), epochs=2)
    for model in (expected, again):
        _fit(model, training.Checkpoint(tmp_path, save_every=99), epochs=2)
        (tmp_path / f"step-{2 * STEPS:010d}.npz").unlink()  # The end.
    assert _state(again) == _state(expected)


def test_steps_that_do_not_divide_a_pass_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must divide the batches of a pass"):
        _fit(_model(), training.Checkpoint(tmp_path), steps_per_epoch=4)
