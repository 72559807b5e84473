import csv
import importlib.util
import math

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.util import tensor_util

from keras_jft import training


class Stop(keras.callbacks.Callback):
    """Interrupts a run in its sixth step."""

    seen = 0

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.seen == 6:
            raise KeyboardInterrupt


class _Pairs(keras.utils.PyDataset):
    """Four batches of four."""

    position = 0
    identity = None

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return np.ones((4, 2), "float32"), np.ones((4, 1), "float32")


def _fit(callbacks, epochs=2):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((2,))
    model = training.Model(inputs, keras.layers.Dense(1)(inputs))
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    model.compile(keras.optimizers.SGD(schedule), "mse", run_eagerly=True)
    data = _Pairs()
    data.source = data
    return model.fit(data, epochs=epochs, callbacks=callbacks, verbose=0)


@pytest.mark.ops
def test_lines_tell_step_epoch_learning_rate_and_logs(tmp_path):
    logger = training.JSONLogger(tmp_path / "new/log.jsonl", every=2)
    history = _fit([training.Throughput(4), logger]).history
    lines = training.read_log(tmp_path / "new/log.jsonl")
    assert [line["step"] for line in lines] == [2, 4, 4, 6, 8, 8]
    assert [line.get("epoch") for line in lines] == [None, None, 1] + [
        None,
        None,
        2,
    ]
    for line in lines:
        expected = 0.1 * 0.5 ** line["step"]
        assert math.isclose(line["learning_rate"], expected, rel_tol=1e-5)
        assert line["images_per_second"] > 0
    assert [lines[2]["loss"], lines[5]["loss"]] == history["loss"]


def test_a_resumed_run_goes_on_in_the_same_files(tmp_path):
    def callbacks():
        checkpoint = training.Checkpoint(
            tmp_path / "run", save_every=1, asynchronous=False
        )
        return [*training.loggers(tmp_path, 4, every=1), checkpoint]

    killed = callbacks()
    with pytest.raises(KeyboardInterrupt):
        _fit([*killed, Stop()])
    killed[2].csv_file.close()
    history = _fit(callbacks()).history
    lines = training.read_log(tmp_path / "log.jsonl")
    steps = [line["step"] for line in lines if "epoch" not in line]
    assert steps == list(range(1, 9))
    losses = [line["loss"] for line in lines if "epoch" in line]
    assert losses == history["loss"]
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().split()))
    assert [float(row["loss"]) for row in rows] == history["loss"]


def test_what_is_torn_or_not_finite_can_be_read(tmp_path):
    path = tmp_path / "log.jsonl"

    class Bad(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = math.nan

    _fit([Bad(), training.JSONLogger(path)], epochs=1)
    with path.open("a") as file:
        file.write('{"step": 8, "epo')
    (line,) = training.read_log(path)
    assert line["score"] is None
    for text in ("[1]", '{"epoch": 1}', '{"step": "8"}', "7"):
        (tmp_path / "other.jsonl").write_text(f"{text}\n")
        with pytest.raises(ValueError, match=r"other\.jsonl', line 1, must"):
            training.read_log(tmp_path / "other.jsonl")
    with pytest.raises(ValueError, match=r"none\.jsonl"):
        training.read_log(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="every=0"):
        training.JSONLogger(path, every=0)


def test_tensorboard_is_left_out_where_it_is_not_installed(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    names = [type(c).__name__ for c in training.loggers(tmp_path, 4)]
    assert names == ["Throughput", "JSONLogger", "CSVLogger"]


def test_tensorboard_shows_the_losses_of_the_epochs(tmp_path):
    history = _fit(training.loggers(tmp_path, 4)).history
    # What TensorBoard itself reads, not what was written by our own code.
    events = event_accumulator.EventAccumulator(
        str(tmp_path / "tensorboard" / "train")
    ).Reload()
    losses = [
        tensor_util.make_ndarray(event.tensor_proto).item()
        for event in events.Tensors("epoch_loss")
    ]
    np.testing.assert_allclose(losses, history["loss"], rtol=1e-6)
