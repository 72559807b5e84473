"""What the tasks of an asynchronous cluster run, for its test.

Every task leaves its process number in `FOLDER/<job>_<index>.pid`; the chief
what it measured in `FOLDER/<name>.json`.
"""

import json
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cluster_jobs
import keras
import numpy as np

from keras_jft import data, layers, pretrain, training
from keras_jft.training.checkpoints.checkpoint import saved

STEPS, BATCH = 60, 8
FOLDER = None  # `main` sets it.


def _task():
    task = json.loads(os.environ["TF_CONFIG"])["task"]
    return f"{task['type']}_{task['index']}"


@training.sendable
class Noted:
    """A transform that notes who read what."""

    def __init__(self, name):
        self.name = name

    def __call__(self, example, rng):
        """The example, unchanged."""
        who = f"{self.name}_{_task()}_{os.getpid()}"
        with open(FOLDER / who, "a") as file:
            file.write(f"{example['ids']}\n")
        return example


class Paced(keras.callbacks.Callback):
    """Tells the step, slowly; waits at one until it may go on."""

    def __init__(self, wait_at=None):
        super().__init__()
        self.wait_at = wait_at

    def on_train_batch_end(self, batch, logs=None):
        """Writes the step, for those outside to see."""
        step = int(self.model.optimizer.iterations)
        (FOLDER / "step").write_text(str(step))
        if self.wait_at is not None:
            time.sleep(0.1)
        while step == self.wait_at and not (FOLDER / "go_on").exists():
            time.sleep(0.1)


def _batches(num_examples=STEPS * BATCH, transforms=(), training=True):
    source = data.load("synthetic", num_examples=num_examples, image_size=16)
    return data.batches(source, BATCH, transforms=transforms, training=training)


def _compiled(strategy, rate=0.01, **options):
    labels = len(data.load("synthetic", num_examples=1).info.label_names)
    with strategy.scope():
        model = pretrain.MultiLabelClassifier(
            cluster_jobs._small(frozen=False), labels, shards=6
        )
        model.compile(keras.optimizers.SGD(rate, momentum=0.9), **options)
    return model


def _write(name, **values):
    path = FOLDER / f"{name}.json"
    path.with_suffix(".tmp").write_text(json.dumps(values))
    path.with_suffix(".tmp").replace(path)


# === What the chief does ===


def killed(strategy):
    """An epoch in which workers are killed; then everything else."""
    model = _compiled(strategy, l2=1e-3, metrics=cluster_jobs.top_two())
    validation = _batches(16, training=False)
    history = model.fit(
        _batches(transforms=(Noted("read_by"),)),
        validation_data=validation,
        callbacks=[Paced(wait_at=STEPS - 8)],
        verbose=0,
    ).history
    model.save(FOLDER / "model.keras")
    alone = keras.saving.load_model(FOLDER / "model.keras")
    logits = model.predict(validation, verbose=0)
    _write(
        "killed",
        history=history,
        iterations=int(model.optimizer.iterations),
        places={
            v.path: v.value.device
            for v in (*model.variables, *model.optimizer.variables)
        },
        evaluated=model.evaluate(validation, verbose=0),
        evaluated_alone=alone.evaluate(validation, verbose=0),
        difference=float(
            np.abs(logits - alone.predict(validation, verbose=0)).max()
        ),
    )


def others(strategy):
    """What needs no more than a living cluster."""
    _write(
        "others",
        **_counted(strategy),
        **_not_finite(strategy),
        heads=_heads(strategy),
        detector=_detector(strategy),
        read=_read(strategy),
    )


def _counted(strategy):
    """The learning rate follows the chief's count; on arrays."""
    with strategy.scope():
        inputs = keras.Input((1,))
        head = layers.ShardedDense(
            2, 2, kernel_initializer="zeros", name="head"
        )
        model = training.Model(inputs, head(inputs))
        rate = training.piecewise(1.0, (10,), 1 / 64)
        model.compile(
            keras.optimizers.SGD(rate),
            loss=lambda y, y_pred: keras.ops.sum(y_pred, axis=-1),
            multipliers={"head/kernel_1": 0.5},
        )
    ones = np.ones((STEPS * BATCH, 1), "float32")
    model.fit(ones, ones, batch_size=BATCH, verbose=0)
    return {
        "iterations": int(model.optimizer.iterations),
        "weights": [float(kernel[0, 0]) for kernel in head.kernels],
    }


def _read(strategy):
    """Ids that each worker read, in less than a pass."""
    batches = _batches(STEPS * BATCH * 20, (Noted("seen_by"),))
    _compiled(strategy).fit(batches, steps_per_epoch=20, verbose=0)
    paths = FOLDER.glob("seen_by_worker_*")
    return {path.name: path.read_text().split() for path in paths}


def _heads(strategy):
    """Losses of the other heads, on contract batches of arrays."""
    histories = {}
    for build in (cluster_jobs.one_label, cluster_jobs.segmenter):
        with strategy.scope():
            model = build()
            model.compile(keras.optimizers.Adam(1e-3))
        batch = cluster_jobs.batch(BATCH)
        batch["labels"] = np.maximum(batch["labels"][:, 0], 0)
        fit = model.fit(batch, batch_size=4, epochs=2, verbose=0)
        histories[build.__name__] = fit.history
    return histories


def _detector(strategy):
    """Loss of a detector by step; each waits for the one before it."""
    _, history = cluster_jobs.train(
        cluster_jobs.detector,
        cluster_jobs.boxes(),
        strategy,
        size=3,
        test=False,
    )
    return history


def _not_finite(strategy):
    """The error of a loss that is not finite, and how far training went."""
    with strategy.scope():
        inputs = keras.Input((1,))
        model = training.Model(inputs, keras.layers.Dense(1)(inputs))
        model.compile("sgd", "mse")
    bad = np.full((STEPS * BATCH, 1), np.nan, "float32")
    try:
        model.fit(bad, bad, batch_size=BATCH, verbose=0)
    except FloatingPointError as error:
        message = str(error)
    steps = int(model.optimizer.iterations)
    return {"not_finite": message, "steps_until_stopped": steps}


def endless(strategy):
    """Trains until a server is lost."""
    checkpoint = training.Checkpoint(FOLDER / "run", save_every=10)
    _compiled(strategy).fit(
        _batches(), epochs=10**6, callbacks=[checkpoint], verbose=0
    )


def resumed(strategy):
    """Goes on with that, to the end of the next epoch."""
    model, pace = _compiled(strategy), Paced()
    newest = saved(FOLDER / "run")[-1]
    done = int(newest.stem.removeprefix("step-"))
    epochs = done // STEPS + 1
    began = []
    first = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: began.append(
            int(model.optimizer.iterations)
        )
    )
    checkpoint = training.Checkpoint(FOLDER / "run", save_every=10)
    model.fit(
        _batches(),
        epochs=epochs,
        callbacks=[checkpoint, pace, first],
        verbose=0,
    )
    _write(
        "resumed",
        began=min(began),
        iterations=int(model.optimizer.iterations),
        epochs=epochs,
    )


JOBS = {
    "killed": killed,
    "others": others,
    "endless": endless,
    "resumed": resumed,
}


def main(jobs, folder):
    """Run jobs, separated by commas, under the strategy of TF_CONFIG."""
    global FOLDER
    FOLDER = folder
    cluster_jobs.as_written()
    (FOLDER / f"{_task()}.pid").write_text(str(os.getpid()))
    strategy = training.strategy("auto")
    keras.utils.set_random_seed(0)
    for job in jobs.split(","):
        JOBS[job](strategy)
