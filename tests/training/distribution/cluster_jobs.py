"""Models and runs for the tests of strategies, and jobs for clusters."""

import json
import multiprocessing
import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from keras_jft import backbones, metrics, pretrain, training, transfer
from keras_jft import data as data_lib
from keras_jft.layers import FusedBatchNormalization, ImageScaling
from keras_jft.training.checkpoints import resuming

CLASSES = 5
# All are forked from one process that has imported TensorFlow and run nothing.
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["keras_jft.pretrain", "keras_jft.transfer"])


def batch(size=13, image_size=16):
    """A contract batch of noise, the same in every process."""
    rng = np.random.default_rng(0)
    side = (size, image_size, image_size)
    return {
        "images": rng.integers(0, 256, (*side, 3)).astype("uint8"),
        "labels": rng.integers(-1, CLASSES, (size, 3)).astype("int32"),
        "segmentation_masks": rng.choice(
            [0, 1, 2, 255], (*side, 1), p=[0.3, 0.2, 0.1, 0.4]
        ).astype("uint8"),
    }


def _small(frozen, size=16):
    """A backbone of one convolution."""
    inputs = keras.Input((size, size, 3))
    x = ImageScaling("jft")(inputs)
    x = keras.layers.Conv2D(16, 3, use_bias=False, name="conv")(x)
    x = FusedBatchNormalization(momentum=0.9, name="bn")(x)
    backbone = keras.Model(inputs, keras.layers.ReLU()(x))
    if frozen:
        freeze_statistics(backbone)
    return backbone


def freeze_statistics(model):
    """Without batch statistics a batch can be split at will."""
    for layer in model._flatten_layers():
        if isinstance(layer, FusedBatchNormalization):
            layer.trainable = False


def many_label(frozen=True, shards=1):
    return pretrain.MultiLabelClassifier(_small(frozen), CLASSES, shards=shards)


def one_label():
    return transfer.heads.classification.Classifier(_small(True), CLASSES)


def segmenter():
    """DeepLab on a backbone of one convolution."""
    inputs = keras.Input((16, 16, 3))
    options = {"strides": 4, "padding": "same", "name": "conv"}
    x = keras.layers.Conv2D(16, 5, **options)(inputs)
    x = FusedBatchNormalization(name="bn")(x)
    net = keras.Model(inputs, keras.layers.ReLU(name="relu")(x))
    head = transfer.heads.deeplab_aspp.DeepLabASPP
    model = head(backbones.adapt(net, scaling="jft"), 16, output_stride=4)
    freeze_statistics(model)
    return model


def detector():
    """A Faster R-CNN of a convolution per stage, which samples everything."""
    x = inputs = keras.Input((32, 32, 3))
    for stage in range(1, 6):
        options = {"strides": 2, "padding": "same", "activation": "relu"}
        x = keras.layers.Conv2D(16, 3, **options, name=f"stage{stage}")(x)
    return transfer.FasterRCNN(
        backbones.adapt(keras.Model(inputs, x), scaling="jft"),
        3,
        anchor_base=16,
        rpn_filters=16,
        rpn_samples=2 * 48,
        head_samples=4 * 8,
        num_proposals=8,
        crop_size=4,
    )


def boxes():
    """Images with two boxes, one and none."""
    entry = {
        "boxes": np.zeros((3, 2, 4), "float32"),
        "labels": np.array([[0, 2], [1, -1], [-1, -1]], "int32"),
        "ignored": np.zeros((3, 2), "bool"),
    }
    entry["boxes"][0] = [[2, 3, 14, 20], [10, 10, 31, 30]]
    entry["boxes"][1, 0] = [5, 5, 22, 21]
    return {"images": batch(3, 32)["images"], "bounding_boxes": entry}


def top_two():
    """The many-label metric for as many images as there are."""
    return [metrics.MeanAveragePrecision(k=2, max_images=16)]


def train(
    build, data, strategy, metrics=lambda: None, size=4, *, test=True, **options
):
    """A model and its history, from fixed weights, in batches of `size`."""
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = build()
        model.compile(
            keras.optimizers.SGD(0.05, momentum=0.9),
            metrics=metrics(),
            l2=1e-3,
        )
    history = model.fit(
        data,
        batch_size=size,
        epochs=2,
        shuffle=False,
        validation_data=data if test else None,
        validation_batch_size=size,
        verbose=0,
        **options,
    ).history
    return model, history


def arrays(model):
    """Weights by path."""
    return {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}


# === Jobs: what one process of a cluster does ===


def equal(folder, strategy):
    """Trains without batch statistics, to compare with one device."""
    model, history = train(many_label, batch(), strategy, top_two)
    logits = model.predict(batch(), batch_size=4, verbose=0)
    return {**arrays(model), "history": json.dumps(history), "logits": logits}


def boxed(folder, strategy):
    """Trains a detector; the last worker has no image in the last step."""
    # How it is tested on several replicas, `test_faster_rcnn_training` shows.
    model, history = train(detector, boxes(), strategy, size=2, test=False)
    return {**arrays(model), "history": json.dumps(history)}


def statistics(folder, strategy):
    """Trains batch normalization; checkpoints, logs, predicts."""
    task = strategy.cluster_resolver.task_id
    checkpoint = keras.callbacks.ModelCheckpoint(
        str(folder / f"of_worker{task}" / "{epoch}.keras"), save_freq=2
    )
    model, history = train(
        lambda: many_label(frozen=False),
        batch(12),
        strategy,
        # All but `Throughput`, which no two workers see alike.
        callbacks=[checkpoint, *training.loggers(folder / "logs", 4)[1:]],
    )
    logits = model.predict(batch(), batch_size=4, verbose=0)
    return {**arrays(model), "history": json.dumps(history), "logits": logits}


def whole(folder, strategy, callbacks=()):
    """Trains with checkpoints, every four steps and after each of six."""
    examples = data_lib.load("synthetic", num_examples=36)
    batches = data_lib.batches(examples, 6, transforms="flip", training=True)
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = pretrain.MultiLabelClassifier(
            _small(frozen=False, size=32), len(examples.info.label_names)
        )
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9))
    steps = []
    checkpoint = training.Checkpoint(
        folder / ("run" if callbacks else "whole"), save_every=4
    )
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: steps.append(
            not resuming.is_passing_over(model)
        )
    )
    history = model.fit(
        batches, epochs=2, callbacks=[checkpoint, note, *callbacks]
    ).history
    return {**arrays(model), "loss": history["loss"], "steps": sum(steps)}


def killed(folder, strategy):
    """As `whole`; the chief is killed in the middle of the second epoch."""

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            task = strategy.cluster_resolver.task_id
            if (task, self.epoch, batch) == (0, 1, 2):
                os.kill(os.getpid(), signal.SIGKILL)

    return whole(folder, strategy, [Kill()])


def resumed(folder, strategy):
    """What `killed` left, to its end."""
    return whole(folder, strategy, [keras.callbacks.Callback()])


class Noting(training.Model):
    """A model that notes the targets of each of its steps, in `seen`."""

    def train_step(self, data):
        import tensorflow as tf

        tf.numpy_function(self.seen.extend, [data[1]], [])
        return super().train_step(data)


class Pairs(keras.utils.PyDataset):
    """Four batches of four."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return np.ones((4, 2), "float32"), np.ones((4, 1), "float32")


def orders(folder, strategy):
    """What each worker reads of arrays, and what it refuses to read.

    Each worker has a seed of its own.
    """
    task = strategy.cluster_resolver.task_id
    keras.utils.set_random_seed(task)
    with strategy.scope():
        inputs = keras.Input((2,))
        model = Noting(inputs, keras.layers.Dense(1)(inputs))
        model.compile("sgd", "mse")
    model.seen = []
    x, y = np.ones((13, 2)), np.arange(13.0)[:, None]

    def fit(x, y=None, **options):
        model.seen.clear()
        passes = []
        note = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: passes.append(len(model.seen))
        )
        model.fit(x, y, epochs=2, callbacks=[note], **options)
        return np.ravel(model.seen), passes

    def refusal(*args, **options):
        try:
            fit(*args, **options)
        except ValueError as error:
            return str(error)
        return "none"

    import tensorflow as tf

    found = {}
    for name, options in {
        "whole": {"batch_size": 4},
        "weighted": {"batch_size": 4, "sample_weight": np.ones(13)},
        "split": {"validation_split": 0.25, "steps_per_epoch": 3},
        "in_order": {"batch_size": 4, "shuffle": False},
    }.items():
        found[name], found[f"{name}_passes"] = fit(x, y, **options)
    batches = tf.data.Dataset.from_tensor_slices((x, y))
    tf.random.set_seed(None)
    unseeded = batches.shuffle(13).batch(4)
    own = batches.shuffle(13, seed=task + 1).batch(4).prefetch(1)
    alike = batches.shuffle(13, seed=1).batch(4).prefetch(1)
    examples = data_lib.load("synthetic", num_examples=8, image_size=16)
    iterated = data_lib.iterate(examples, 4, training=True, seed=task)
    return {
        **found,
        "own_arrays": refusal(x + task, y),
        "own_sizes": refusal(x[: 13 - task], y[: 13 - task]),
        "unseeded": refusal(unseeded),
        "own_seeds": refusal(own),
        "alike": refusal(alike),
        "own_order": refusal(iterated),
        "shuffled_batches": refusal(Pairs(), shuffle=True),
        "batches": refusal(Pairs()),
    }


JOBS = {
    "equal": equal,
    "boxed": boxed,
    "statistics": statistics,
    "orders": orders,
    "whole": whole,
    "killed": killed,
    "resumed": resumed,
}


def as_written():
    """Run graphs as they were written, as tests/conftest.py does and why."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options(
        {"disable_meta_optimizer": True}
    )


def main(jobs, folder):
    """Run jobs, separated by commas, under the strategy of TF_CONFIG.

    What they measured is left in `folder/<job>_<task>.npz`.
    """
    as_written()
    task = json.loads(os.environ["TF_CONFIG"])["task"]
    strategy = training.strategy("auto")
    for job in jobs.split(","):
        np.savez(
            folder / f"{job}_{task['type']}{task['index']}.npz",
            **JOBS[job](folder, strategy),
        )
