"""What a resumed run must have in common with the one before."""

import contextlib
import shutil
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import data, training
from keras_jft.training import keras_internals
from keras_jft.training.checkpoints import archive, resuming
from keras_jft.training.checkpoints import checkpoint as checkpoint_lib

STEPS = 6  # an epoch
X = np.random.default_rng(0).normal(size=(8 * STEPS, 4)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 8 * STEPS)


class Stop(keras.callbacks.Callback):
    """Interrupts a run after a number of its own steps."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def _plain(**kwargs):
    """A `keras.Model` of two outputs, whose metrics its first step makes."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input((4,))
    x = keras.layers.Dropout(0.3)(keras.layers.Dense(8)(inputs))
    outputs = {
        name: keras.layers.Dense(3, name=name)(x) for name in ("left", "right")
    }
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        "adam",
        {"left": loss, "right": loss},
        metrics={"left": ["accuracy"], "right": ["accuracy"]},
        **kwargs,
    )
    return model


def _state(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [ops.convert_to_numpy(v).tobytes() for v in variables]


def _fit_plain(model, *callbacks):
    return model.fit(
        X,
        {"left": Y, "right": Y[::-1].copy()},
        batch_size=8,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )


@pytest.mark.ops
@pytest.mark.parametrize("execution", [1, 2])
@pytest.mark.filterwarnings("ignore:`Checkpoint` cannot know the position")
def test_a_plain_keras_model_with_metrics_resumes_in_an_epoch(
    tmp_path, execution
):
    def plain():
        # What is compiled is tried once: tracing takes most of the time.
        return _plain(steps_per_execution=execution, run_eagerly=execution == 1)

    whole = plain()
    history = _fit_plain(whole)
    for stop in (2 // execution, (STEPS + 4) // execution):
        folder = tmp_path / str(stop)
        kept = {"save_every": 1, "asynchronous": False}
        with pytest.raises(KeyboardInterrupt):
            _fit_plain(
                plain(),
                training.Checkpoint(folder, **kept),
                Stop(stop),
            )
        assert archive.read(checkpoint_lib.saved(folder)[-1])[1]["done"] > 0
        resumed = plain()
        again = _fit_plain(resumed, training.Checkpoint(folder, **kept))
        assert _state(resumed) == _state(whole)
        assert again.history == history.history


# === Data whose position is known, or is not ===


def _batches():
    examples = data.load("synthetic", num_examples=8 * STEPS)
    return data.batches(examples, 8, transforms="flip", training=True, seed=1)


def _pair(batch):
    return batch["images"], batch["labels"][:, 0] % 4


def _small(cls):
    keras.utils.set_random_seed(5)
    x = inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x))
    model = cls(inputs, x)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], run_eagerly=True)
    return model


DERIVED = {
    "map": lambda batches: batches.map(_pair),
    "map and prefetch": lambda batches: batches.map(
        _pair, num_parallel_calls=2
    ).prefetch(2),
}


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Once is enough."
)
@pytest.mark.parametrize("case", DERIVED)
@pytest.mark.parametrize("cls", [training.Model, keras.Model])
def test_derived_batches_resume_where_they_were(tmp_path, case, cls):
    def fit(*callbacks, **kwargs):
        model, batches = _small(cls), DERIVED[case](_batches())
        if kwargs:
            told = {"data": batches} if cls is keras.Model else {}
            callbacks = training.Checkpoint(**kwargs, **told), *callbacks
        with contextlib.suppress(KeyboardInterrupt):
            model.fit(
                batches,
                epochs=2,
                shuffle=False,
                verbose=0,
                callbacks=list(callbacks),
            )
        return model

    whole = fit(directory=tmp_path / "whole")
    kept = {"save_every": 1, "asynchronous": False}
    fit(Stop(STEPS + 3), directory=tmp_path / "run", **kept)
    assert len(checkpoint_lib.saved(tmp_path / "run")) == 3
    resumed = fit(directory=tmp_path / "run")
    assert _state(resumed) == _state(whole)


def _tensorflow_data():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)


def test_wrappers_of_one_element_for_each_are_those_of_tensorflow():
    """The names are private: what they mean is tried on every version."""
    tf = pytest.importorskip("tensorflow")
    base = _tensorflow_data()
    wrapped = [
        base.map(lambda x, y: (x, y)),
        base.map(lambda x, y: (x, y), num_parallel_calls=2),
        base.prefetch(2),
        base.with_options(tf.data.Options()),
    ]
    assert {
        type(w).__name__ for w in wrapped
    } == keras_internals.ELEMENT_BY_ELEMENT
    source = base.source = _batches().source
    for dataset in wrapped:
        assert resuming.source(dataset.map(lambda x, y: (x, y))) is source
    for dataset in (
        base.take(2),
        base.skip(1),
        base.repeat(2),
        base.unbatch(),
        base.shuffle(4),
        base.cache(),
        base.filter(lambda x, y: True),
    ):
        assert resuming.source(dataset.prefetch(1)) is None


@pytest.mark.parametrize(
    ("x", "y", "shuffle", "told"),
    [
        (X, Y, True, True),
        (X, Y, False, False),
        (_tensorflow_data, None, False, True),
    ],
)
def test_fit_says_when_it_starts_that_data_tell_no_position(
    tmp_path, x, y, shuffle, told
):
    inputs = keras.Input((4,))
    model = training.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse", run_eagerly=True)
    seen = []
    told_before = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(len(caught))
    )
    x = x() if callable(x) else x
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        model.fit(
            x,
            y,
            shuffle=shuffle,
            verbose=0,
            callbacks=[training.Checkpoint(tmp_path), told_before],
        )
    messages = [str(w.message) for w in caught]
    assert [("cannot know the position" in m) for m in messages] == (
        [True] if told else []
    )
    assert seen[0] == told


def test_a_plain_keras_model_is_told_of_the_position_too(tmp_path):
    model = _plain(run_eagerly=True)
    with pytest.warns(UserWarning, match=r"Checkpoint\(data=...\)"):
        _fit_plain(model, training.Checkpoint(tmp_path))
    with pytest.raises(ValueError, match="whose position cannot be known"):
        training.Checkpoint(tmp_path, data=X)


def test_another_batch_size_is_refused_in_the_middle_of_an_epoch(tmp_path):
    def fit(batch_size, *callbacks):
        inputs = keras.Input((4,))
        model = training.Model(inputs, keras.layers.Dense(1)(inputs))
        model.compile("sgd", "mse", run_eagerly=True)
        model.fit(
            X,
            Y,
            batch_size=batch_size,
            shuffle=False,
            verbose=0,
            callbacks=[
                training.Checkpoint(tmp_path, save_every=1, asynchronous=False),
                *callbacks,
            ],
        )

    with pytest.raises(KeyboardInterrupt):
        fit(8, Stop(2))
    with pytest.raises(ValueError, match=r"batches of a pass: 6 in .*, 12 now"):
        fit(4)


# === What the model was compiled with ===


def _compiled(optimizer=None, loss="mse", cls=training.Model, **kwargs):
    keras.utils.set_random_seed(5)
    inputs = keras.Input((4,))
    model = cls(inputs, keras.layers.Dense(1, name="head")(inputs))
    optimizer = optimizer or keras.optimizers.Adam(1e-3)
    model.compile(optimizer, loss, run_eagerly=True, **kwargs)
    return model


def _fit(model, folder, epochs, *callbacks):
    checkpoint = training.Checkpoint(folder)
    arguments = {"shuffle": False, "verbose": 0, "epochs": epochs}
    model.fit(X, Y, callbacks=[*callbacks, checkpoint], **arguments)
    return model


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of one run after one, two and three epochs, and its last state.

    They are copied by those who go on from them.
    """
    folder = tmp_path_factory.mktemp("runs")
    for epochs in (1, 2, 3):
        model = _fit(_compiled(), folder / str(epochs), epochs)
    return folder, _state(model)


ADAM = keras.optimizers.Adam
OTHERS = {
    "beta_1": ({"optimizer": ADAM(1e-3, beta_1=0.1)}, "0.9 in .*, 0.1 now"),
    "clipnorm": ({"optimizer": ADAM(1e-3, clipnorm=0.1)}, "None in .*, 0.1"),
    "epsilon": ({"optimizer": ADAM(1e-3, epsilon=0.1)}, "1e-07 in .*, 0.1"),
    "weight_decay": ({"optimizer": ADAM(1e-3, weight_decay=0.1)}, "None in"),
    "learning_rate": (
        {"optimizer": ADAM(training.warmup_cosine(0.1, 10))},
        "'a number' in the checkpoint, 'a schedule' now",
    ),
    "class_name": ({"optimizer": keras.optimizers.AdamW(1e-3)}, "'Adam' in"),
    "loss/class_name": (
        {"loss": "mae"},
        "'MeanSquaredError' in the checkpoint, 'MeanAbsoluteError' now",
    ),
    "l2": ({"l2": 0.1}, "0.0 in the checkpoint, 0.1 now"),
    "multipliers/head": ({"multipliers": {"head": 2.0}}, "None in .*, 2.0 now"),
}


@pytest.mark.parametrize("field", OTHERS)
def test_another_compilation_is_told_with_both_values(tmp_path, field, runs):
    shutil.copytree(runs[0] / "1", tmp_path, dirs_exist_ok=True)
    other, values = OTHERS[field]
    with pytest.raises(ValueError, match=rf"step-.*{field}: {values}"):
        _fit(_compiled(**other), tmp_path, 2)


def test_what_changes_no_training_may_change(tmp_path):
    whole = _fit(_compiled(), tmp_path / "whole", 2)
    _fit(_compiled(), tmp_path / "run", 1)
    resumed = _compiled(metrics=["mae"])
    resumed.run_eagerly = False
    _fit(resumed, tmp_path / "run", 2)
    assert _state(resumed) == _state(whole)


LOSSES = {
    "class": keras.losses.MeanSquaredError,
    "named class": lambda: keras.losses.MeanSquaredError(name="error"),
    "function": lambda: keras.losses.mean_squared_error,
    "long name": lambda: "mean_squared_error",
    "list": lambda: ["mse"],
}


@pytest.mark.parametrize("spelling", LOSSES)
def test_names_and_the_spelling_of_a_loss_do_not_count(tmp_path, spelling):
    first = "mse" if spelling != "list" else LOSSES["class"]()
    first = [first] if spelling == "list" else first
    _fit(_compiled(ADAM(1e-3, name="first"), first), tmp_path, 1)
    loss = LOSSES[spelling]()
    _fit(_compiled(ADAM(1e-3, name="other"), loss), tmp_path, 2)


def test_another_lambda_is_told_without_its_bytes(tmp_path):
    _fit(_compiled(loss=lambda y, y_pred: keras.ops.mean(y_pred)), tmp_path, 1)
    # The same on another line of a script.
    _fit(_compiled(loss=lambda y, y_pred: keras.ops.mean(y_pred)), tmp_path, 2)
    with pytest.raises(ValueError, match="loss: 'lambda") as caught:
        _fit(
            _compiled(loss=lambda y, y_pred: keras.ops.mean(y_pred**2)),
            tmp_path,
            3,
        )
    assert len(str(caught.value)) < 500


def test_an_option_of_a_loss_counts(tmp_path):
    crossentropy = keras.losses.BinaryCrossentropy
    _fit(_compiled(loss="binary_crossentropy"), tmp_path, 1)
    with pytest.raises(ValueError, match="from_logits: False in .*, True now"):
        _fit(_compiled(loss=crossentropy(from_logits=True)), tmp_path, 2)


def test_checkpoints_of_older_versions_resume(tmp_path):
    whole = _fit(_compiled(), tmp_path / "whole", 2)
    _fit(_compiled(), tmp_path / "run", 1)
    (path,) = checkpoint_lib.saved(tmp_path / "run")
    arrays, about = archive.read(path)
    del about["compilation"], about["steps"]
    archive.write(path, arrays, about)
    assert _state(_fit(_compiled(), tmp_path / "run", 2)) == _state(whole)


def test_a_rate_that_a_callback_changes_is_gone_on_with_in_silence(tmp_path):
    class Halve(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            optimizer = self.model.optimizer
            optimizer.learning_rate = float(optimizer.learning_rate) / 2

    for epochs in (1, 2, 3):
        model = _fit(_compiled(), tmp_path, epochs, Halve())
    assert float(model.optimizer.learning_rate) == np.float32(1e-3 / 8)
    _fit(model, tmp_path, 4, Halve())  # In the same process.


def test_another_rate_is_told_and_not_taken(tmp_path):
    _fit(_compiled(), tmp_path, 1)
    model = _compiled(keras.optimizers.Adam(0.5))
    message = (
        "learning_rate 0.001.*, and now with 0.5. The run goes on with 0.0"
    )
    with pytest.warns(UserWarning, match=message):
        _fit(model, tmp_path, 2)
    assert float(model.optimizer.learning_rate) == np.float32(1e-3)


def test_another_schedule_is_told_and_followed(tmp_path):
    def adam(steps):
        return keras.optimizers.Adam(training.warmup_cosine(0.1, steps))

    _fit(_compiled(adam(10)), tmp_path, 1)
    _fit(_compiled(adam(10)), tmp_path, 1)
    # No more than the field that differs.
    message = (
        "learning rate: config/decay_steps: 9 in the checkpoint, 18 now; "
        "config/warmup_steps: 1 in the checkpoint, 2 now. The schedule of now "
        "is followed"
    )
    with pytest.warns(UserWarning, match=message):
        _fit(_compiled(adam(20)), tmp_path, 2)
    _fit(_compiled(adam(20)), tmp_path, 3)  # Told once.


# === Whole archives that are not whole runs ===


LACKING = {
    "all": lambda about: (
        about.clear() or about.update(kind=checkpoint_lib._KIND)
    ),
    "an epoch": lambda about: about.pop("epoch"),
    "a negative step": lambda about: about.update(step=-1),
    "a step that is a flag": lambda about: about.update(step=True),
    "a history that is text": lambda about: about.update(history="x"),
    "a model that is text": lambda about: about.update(model="x"),
    "data": lambda about: about.pop("data"),
    "a compilation that is a list": lambda about: about.update(compilation=[]),
}


@pytest.mark.parametrize("case", [*LACKING, "finite weights"])
def test_a_signed_checkpoint_that_lacks_something_is_passed_over(
    tmp_path, case, runs
):
    folder, whole = runs
    shutil.copytree(folder / "2", tmp_path / "run")
    *_, before, newest = checkpoint_lib.saved(tmp_path / "run")
    arrays, about = archive.read(newest)
    if case in LACKING:
        LACKING[case](about)
    else:
        name = next(name for name in arrays if name.startswith("model/"))
        arrays[name] = arrays[name] * np.float32(np.nan)
    archive.write(newest, arrays, about)
    message = f"{newest.name}. lacks.*Resuming from .*{before.name}"
    with pytest.warns(UserWarning, match=message):
        resumed = _fit(_compiled(), tmp_path / "run", 3)
    assert _state(resumed) == whole


# === Lists of batches ===


def test_a_list_of_batches_resumes_in_its_order(tmp_path):
    """No warning of a position that is not known."""
    net = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
    )

    class Scorer(training.Model):
        def targets(self, batch):
            return batch["labels"]

    rng = np.random.default_rng(3)
    batches = [
        {
            "images": rng.uniform(2, 255, (2, 4, 4, 3)).astype("float32"),
            "labels": rng.integers(0, 9, (2, 1)),
        }
        for _ in range(4)
    ]
    start = net.get_weights()

    def fit(folder, *callbacks):
        net.set_weights(start)
        model = Scorer(net.inputs, net.outputs)
        model.compile(keras.optimizers.SGD(1e-6), "mse", run_eagerly=True)
        checkpoint = training.Checkpoint(folder, save_every=1)
        model.fit(batches, verbose=0, callbacks=[checkpoint, *callbacks])
        return model.get_weights()

    whole = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", Stop(2))
    resumed = fit(tmp_path / "run")
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(a, b)
