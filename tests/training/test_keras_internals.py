"""Each private name of Keras and TensorFlow does what the package needs of it.

To allow a later version of either, run this on it.
"""

import configparser
import json
import pathlib
import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.training import keras_internals as internals

ROOT = pathlib.Path(__file__).parents[2]
TENSORFLOW_ONLY = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs TensorFlow"
)


@pytest.mark.parametrize("package", ["keras", "tensorflow"])
def test_the_newest_version_allowed_is_the_one_tried(package):
    pinned = (ROOT / "constraints.txt").read_text()
    version = re.search(rf"^{package}==([\d.]+)$", pinned, re.M)[1]
    major, minor, _ = map(int, version.split("."))
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    allowed = config["options"]["install_requires"].splitlines()
    [requirement] = [r for r in allowed if re.match(rf"{package}[<>=]", r)]
    assert requirement.endswith(f",<{major}.{minor + 1}")
    assert re.search(rf"{package} {version}\b", internals.__doc__, re.I)


# === Layers, their variables and outputs ===


class _Block(keras.layers.Layer):
    """A layer with a weight of its own and a layer inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(2, name="inner")

    def build(self, shape):
        self.inner.build(shape)
        self.count = self.add_weight(name="count", trainable=False)
        self.scale = self.add_weight(name="scale")

    def call(self, x):
        return self.inner(x) * self.scale


def _model():
    inputs = keras.Input((3,), name="x")
    model = keras.Model(inputs, _Block(name="block")(inputs))
    model.compile(keras.optimizers.SGD(0.5), "mse")
    return model


@pytest.mark.ops
def test_operation_of_is_the_layer_that_made_a_tensor():
    model = _model()
    assert internals.operation_of(model.output) is model.get_layer("block")


@pytest.mark.ops
def test_flatten_layers_finds_a_model_and_layers_inside_of_layers():
    model = _model()
    block = model.get_layer("block")
    found = internals.flatten_layers(model)
    assert found[0] is model
    assert {id(layer) for layer in found[1:]} == {
        id(layer) for layer in (model.layers[0], block, block.inner)
    }
    assert internals.flatten_layers(block) == [block, block.inner]


@pytest.mark.ops
def test_own_variables_are_those_of_a_file_in_its_order(tmp_path):
    import h5py

    model = _model()
    block = model.get_layer("block")
    block.scale.assign(7.0)
    block.count.assign(3.0)
    own = internals.own_variables(block)
    assert [variable.name for variable in own] == ["scale", "count"]
    model.save_weights(tmp_path / "a.weights.h5")
    found = {}

    def look(path, item):
        if item.attrs.get("name") == "block":
            found.update((key, float(item[key][()])) for key in item)

    with h5py.File(tmp_path / "a.weights.h5") as file:
        file.visititems(look)
    assert found == {"0": 7.0, "1": 3.0}


@pytest.mark.ops
@pytest.mark.parametrize(
    "layer", [keras.layers.Dense(1), keras.layers.ReLU(), _Block()]
)
def test_automatic_name_is_what_keras_calls_a_layer_but_for_the_number(layer):
    name = internals.automatic_name(layer)
    assert re.fullmatch(rf"{name}(_\d+)?", layer.name)


@TENSORFLOW_ONLY
def test_a_moved_variable_reads_and_writes_the_new_one():
    import tensorflow as tf

    variable, value = keras.Variable(1.0), tf.Variable(2.0)
    internals.move_variable(variable, value)
    assert variable.value is value
    variable.assign(3.0)
    assert float(value) == 3.0


# === Optimizers ===


@pytest.mark.ops
def test_variable_of_finds_what_update_step_is_given():
    model, known = _model(), []
    optimizer = model.optimizer
    update_step = optimizer.update_step

    def looking(gradient, variable, learning_rate):
        known.append(internals.variable_of(optimizer, variable).path)
        return update_step(gradient, variable, learning_rate)

    optimizer.update_step = looking
    model.fit(np.ones((1, 3)), np.ones((1, 2)), verbose=0)
    assert known == [v.path for v in model.trainable_variables]


@pytest.mark.ops
def test_mean_squares_are_what_rmsprop_divides_by():
    variable = keras.Variable([1.0, 2.0])
    optimizer = keras.optimizers.RMSprop(0.1, rho=0.75)
    optimizer.build([variable])
    optimizer.apply([ops.array([2.0, 4.0])], [variable])
    [found] = internals.mean_squares(optimizer)
    # A quarter of the squares of the gradient.
    np.testing.assert_allclose(ops.convert_to_numpy(found), [1.0, 4.0])


# === `fit` ===


class Hooked(internals.HookedModel):
    """A model that notes which of its hooks were called."""

    def _step_to_compile(self, step):
        self.steps = [*getattr(self, "steps", []), step]
        return super()._step_to_compile(step)

    def _logs_of_epoch(self, logs):
        return {**super()._logs_of_epoch(logs), "ours": 1.0}


@pytest.mark.ops
def test_hooks_are_called_by_the_loops_of_keras():
    inputs = keras.Input((3,))
    model = Hooked(inputs, keras.layers.Dense(2)(inputs))
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3)), np.ones((4, 2))
    logs = model.fit(x, y, epochs=2, verbose=0).history
    assert set(logs) == {"loss", "ours"}
    assert set(model.evaluate(x, y, verbose=0, return_dict=True)) == set(logs)
    assert model.predict(x, verbose=0).shape == (4, 2)
    assert len(model.steps) >= 2  # `fit`, `evaluate`; on JAX, `predict` too.


@TENSORFLOW_ONLY
def test_models_that_are_traced_once_each_are_no_retracing(monkeypatch):
    import tensorflow as tf
    from tensorflow.python.eager.polymorphic_function import (
        polymorphic_function as counting,
    )

    def warnings_of(make):
        fresh = counting._FrequentTracingDetectorManager()
        monkeypatch.setattr(
            counting, "_frequent_tracing_detector_manager", fresh
        )
        told = []
        monkeypatch.setattr(
            tf.get_logger(), "warning", lambda text, *_: told.append(text)
        )
        x, y = np.ones((2, 3), "float32"), np.ones((2, 1), "float32")
        for _ in range(5):
            inputs = keras.Input((3,))
            model = make(inputs, keras.layers.Dense(1)(inputs))
            model.compile("sgd", "mse")
            model.predict_on_batch(x)
            model.fit(x, y, verbose=0)
            model.evaluate(x, y, verbose=0)
        return [text for text in told if "tf.function retracing" in text]

    assert not warnings_of(internals.HookedModel)
    assert len(warnings_of(keras.Model)) > 1  # Of a step that predicts or fits.


@TENSORFLOW_ONLY
def test_a_model_under_a_strategy_builds_from_data_by_the_hook():
    import tensorflow as tf

    class Model(internals.HookedModel):
        builds = 0

        def _build_from_data(self, iterator=None, data_batch=None):
            type(self).builds += 1
            super()._build_from_data(iterator, data_batch)

    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        inputs = keras.Input((3,))
        model = Model(inputs, keras.layers.Dense(2)(inputs))
        model.compile("sgd", "mse", metrics=["mae"])
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    assert Model.builds == 1
    assert internals.is_built(model)


@pytest.mark.ops
def test_begin_at_moves_a_fit_that_has_begun():
    seen = []

    class Begin(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            internals.begin_at(self.model, 3)

        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)
            internals.begin_at(self.model, None)

    model, x, y = _model(), np.ones((1, 3)), np.ones((1, 2))
    model.fit(x, y, epochs=5, verbose=0, callbacks=[Begin()])
    assert seen == [3, 4]
    seen.clear()
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(epoch)
    )
    model.fit(x, y, epochs=1, verbose=0, callbacks=[watch])
    assert seen == [0]


@pytest.mark.ops
def test_model_of_a_callback_does_not_copy_the_state_into_the_model():
    model, callback = _model(), keras.callbacks.Callback()
    copies = []
    model.jax_state_sync = lambda: copies.append(1)  # Called on JAX alone.
    callback.set_model(model)
    assert internals.model_of(callback) is model
    assert copies == []
    assert callback.model is model


@pytest.mark.ops
def test_the_loss_tracker_gives_the_loss_in_the_logs():
    model = _model()
    model.train_on_batch(np.ones((1, 3)), np.ones((1, 2)))
    tracker = internals.loss_tracker(model)
    tracker.reset_state()
    tracker.update_state(2.0, sample_weight=3)
    tracker.update_state(6.0, sample_weight=1)
    assert float(model.get_metrics_result()["loss"]) == 3.0


@pytest.mark.ops
def test_a_symbolic_build_makes_loss_and_metrics_from_shapes_alone():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    model.compile("sgd", "mse", metrics=["mae"])
    assert not internals.is_built(model)
    shapes = keras.KerasTensor((4, 3)), keras.KerasTensor((4, 2))
    internals.symbolic_build(model, shapes)
    model.optimizer.build(model.trainable_variables)
    assert internals.is_built(model)
    assert {m.name for m in model.metrics} == {"loss", "compile_metrics"}
    assert set(model.get_metrics_result()) == {"loss", "mae"}


# === tf.distribute ===


@pytest.mark.ops
def test_a_model_of_no_strategy_has_none():
    assert internals.strategy_of(_model()) is None


@TENSORFLOW_ONLY
def test_strategy_of_is_the_one_that_a_model_was_made_under():
    import tensorflow as tf

    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        model = _model()
    assert internals.strategy_of(model) is strategy
    assert not internals.spans_workers(strategy)


@TENSORFLOW_ONLY
def test_a_multi_worker_strategy_of_one_process_spans_no_workers(monkeypatch):
    # Of two processes: `distribution/test_multi_worker.py`.
    import tensorflow as tf

    monkeypatch.delenv("TF_CONFIG", raising=False)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert not internals.spans_workers(strategy)


@TENSORFLOW_ONLY
def test_the_cluster_of_a_parameter_server_strategy_is_private(monkeypatch):
    import tensorflow as tf

    cluster = {
        "chief": ["localhost:1"],
        "ps": ["localhost:2"],
        "worker": ["localhost:3", "localhost:4"],
    }
    config = {"cluster": cluster, "task": {"type": "chief", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    monkeypatch.setattr(
        tf.distribute.ParameterServerStrategy,
        "_connect_to_cluster",
        lambda *args, **kwargs: None,
    )
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    assert internals.cluster_resolver(strategy) is resolver
    assert strategy.cluster_resolver is None  # Else use this.


@pytest.mark.ops
def test_a_variable_that_never_trains_is_kept_when_its_layer_thaws():
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    internals.never_train(layer, layer.bias)
    for value in (False, True):
        layer.trainable = value
    assert [v.name for v in layer.trainable_variables] == ["kernel"]
    assert [v.name for v in layer.non_trainable_variables] == ["bias"]
    assert len(layer.weights) == 2


# === The graph of a functional model ===


def _two_paths():
    images = keras.Input((4, 4, 3))
    shared = keras.layers.Conv2D(3, 1, name="shared")
    first = shared(images)
    total = keras.layers.Add(name="total")([first, shared(first)])
    return keras.Model(images, total * 2.0)


@pytest.mark.ops
def test_calls_are_in_the_order_of_the_graph_each_time_a_layer_is_called():
    net = _two_paths()
    calls = internals.calls(net)
    names = [operation.name.split("_")[0] for operation, _, _ in calls]
    assert names == ["input", "shared", "shared", "total", "multiply"]
    made = set()
    for _, inputs, outputs in calls:
        assert {id(tensor) for tensor in inputs} <= made
        made |= {id(tensor) for tensor in outputs}
    assert id(net.output) in made
    assert internals.is_functional(net)
    assert not internals.is_functional(keras.Sequential())


@pytest.mark.ops
def test_a_net_is_called_again_behind_another_layer(rng):
    net = _two_paths()
    images = keras.Input((4, 4, 3))
    seen = []

    def call(operation, *args, **kwargs):
        seen.append(operation)
        return operation(*args, **kwargs)

    doubled = keras.layers.Rescaling(2.0)(images)
    output = internals.call_again(net, [doubled], call)
    both = keras.Model(images, output)
    assert len(seen) == 4
    pixels = rng.normal(size=(2, 4, 4, 3)).astype("float32")
    np.testing.assert_allclose(
        ops.convert_to_numpy(both(pixels)),
        ops.convert_to_numpy(net(2 * pixels)),
        rtol=1e-5,
    )
    assert {id(w) for w in both.weights} == {id(w) for w in net.weights}


@pytest.mark.ops
def test_a_layer_that_forgets_a_call_has_the_output_of_the_next():
    images = keras.Input((4, 4, 3))
    layer = keras.layers.Conv2D(3, 1)
    net = keras.Model(images, layer(images))
    internals.forget_calls(net)
    again = keras.Input((4, 4, 3))
    output = internals.call_again(net, [again], lambda op, *x: op(*x))
    assert layer.output is output
    assert net(np.zeros((1, 4, 4, 3))).shape == (1, 4, 4, 3)


@pytest.mark.ops
def test_shapes_of_weights_need_no_memory_then_or_later():
    def make():
        inputs = keras.Input((1 << 20,))
        # 4 TB.
        return keras.Model(inputs, keras.layers.Dense(1 << 20)(inputs))

    shapes = internals.shapes_of_weights(make)
    assert shapes == [(1 << 20, 1 << 20), (1 << 20,)]
    with keras.StatelessScope():
        pass  # Here Keras would make up for it.


@pytest.mark.ops
def test_the_config_of_a_subclass_can_be_that_of_its_layers():
    class Net(keras.Model):
        def __init__(self, width):
            images = keras.Input((4, 4, 3))
            layer = keras.layers.Conv2D(width, 1, name="conv")
            super().__init__(images, layer(images), name="net")

        def get_config(self):
            return {"width": 4}

    config = internals.layer_by_layer(Net(4))
    assert config["class_name"] == "Functional"
    assert [layer["class_name"] for layer in config["config"]["layers"]] == [
        "InputLayer",
        "Conv2D",
    ]


# === tf.data ===


@TENSORFLOW_ONLY
def test_data_sets_of_one_element_for_each_are_known_by_their_class():
    import tensorflow as tf

    base = tf.data.Dataset.range(4)
    keep = [
        base.map(lambda x: x),
        base.map(lambda x: x, num_parallel_calls=2),
        base.prefetch(1),
        base.with_options(tf.data.Options()),
    ]
    names = {type(dataset).__name__ for dataset in keep}
    assert names == internals.ELEMENT_BY_ELEMENT
    for dataset in keep:
        assert [*dataset.as_numpy_iterator()] == [0, 1, 2, 3]
        [before] = internals.datasets_before(dataset)
        assert before is base
    lose = [
        base.take(2),
        base.skip(1),
        base.batch(2),
        base.repeat(2),
        base.shuffle(4),
        base.filter(lambda x: x > 1),
        base.shard(2, 0),
        base.flat_map(tf.data.Dataset.from_tensors),
    ]
    names = {type(dataset).__name__ for dataset in lose}
    assert names.isdisjoint(internals.ELEMENT_BY_ELEMENT)


@TENSORFLOW_ONLY
def test_the_seeds_of_a_shuffle_are_those_it_was_given():
    import tensorflow as tf

    base = tf.data.Dataset.range(4)
    assert internals.shuffle_seeds(base) is None
    assert internals.datasets_before(base) == []
    keras.utils.clear_session()
    tf.random.set_seed(11)
    assert internals.shuffle_seeds(base.shuffle(4, seed=7)) == (11, 7)
    zipped = tf.data.Dataset.zip((base, base.batch(1)))
    assert len(internals.datasets_before(zipped)) == 2
    tf.random.set_seed(None)
    tf.random.get_global_generator()
    assert internals.shuffle_seeds(base.shuffle(4)) == (0, 0)


@pytest.mark.ops
def test_a_variable_gets_its_own_value_back():
    variable = keras.Variable(np.zeros(3, "float32"))
    own, other = variable.value, np.arange(3)
    with (
        pytest.raises(RuntimeError, match="of the block"),
        internals.values_replaced([(variable, other)]),
    ):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), other)
        raise RuntimeError("of the block")
    assert variable.value is own


def test_models_in_a_model_take_maps_of_another_size():
    inner = keras.Sequential([keras.layers.Conv2D(2, 2, 2, name="inner")])
    maps = keras.Input((4, 4, 3))
    model = keras.Model(maps, inner(maps))
    other = np.zeros((1, 8, 6, 3), "float32")
    with pytest.raises(ValueError, match="expected shape"):
        model(other)
    internals.allow_any_size(model)
    assert model(other).shape == (1, 4, 3, 2)
    assert model(keras.Input((8, 6, 3))).shape == (None, 4, 3, 2)


@pytest.mark.ops
@pytest.mark.parametrize("loop", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize("good", [0, 1])
def test_weights_survive_data_that_fails(loop, good):
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(2)(inputs)
    model = internals.HookedModel(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    before = [ops.convert_to_numpy(v) for v in model.weights]

    class Data(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            # Keras looks at the first batch before its loop begins.
            self.given = getattr(self, "given", -1) + 1
            if self.given > good:
                raise RuntimeError("the disk is gone")
            x, y = np.ones((2, 3), "float32"), np.ones((2, 2), "float32")
            return (x,) if loop == "predict" else (x, y)

    with pytest.raises(Exception, match="the disk is gone"):
        getattr(model, loop)(Data(), verbose=0)
    after = [ops.convert_to_numpy(v) for v in model.weights]
    for ours, theirs in zip(after, before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
