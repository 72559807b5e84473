"""Two replicas on two virtual CPUs train like one device."""

import json

import cluster_jobs as jobs
import keras
import ml_dtypes
import numpy as np
import pytest

from keras_jft import data, metrics, pretrain, training
from keras_jft.training.distribution import replicas

tf = pytest.importorskip("tensorflow")


@pytest.fixture
def mirrored():
    return training.strategy("mirrored", devices=["CPU:0", "CPU:1"])


@pytest.mark.slow
@pytest.mark.parametrize("build", [jobs.one_label, jobs.segmenter])
def test_two_replicas_train_like_one_device(build, mirrored):
    # 13 images in batches of 4: the last replica of the last step has none.
    data = jobs.batch()
    if build is jobs.one_label:
        data["labels"] = np.maximum(data["labels"][:, 0], 0)
    one, alone = jobs.train(build, data, training.strategy("one_device"))
    two, together = jobs.train(build, data, mirrored)
    assert set(alone) == set(together)
    for key in alone:
        np.testing.assert_allclose(together[key], alone[key], rtol=2e-6)
    expected = jobs.arrays(one)
    for path, weight in jobs.arrays(two).items():
        np.testing.assert_allclose(
            weight, expected[path], atol=1e-6, err_msg=path
        )
    np.testing.assert_allclose(
        two.predict(data, batch_size=4, verbose=0, logits=True),
        one.predict(data, batch_size=4, verbose=0, logits=True),
        atol=1e-5,
    )


@pytest.mark.parametrize("gradients", [None, "bfloat16"])
def test_gradients_are_exchanged_as_they_are_or_rounded(gradients, rng):
    strategy = training.strategy(
        "mirrored", devices=["CPU:0", "CPU:1"], gradients=gradients
    )
    with strategy.scope():
        inputs = keras.Input((3,))
        dense = keras.layers.Dense(1, use_bias=False)
        model = training.Model(inputs, dense(inputs))
        model.compile(keras.optimizers.SGD(1.0), loss="mse")
    before = dense.kernel.numpy()
    x = rng.normal(size=(2, 3)).astype("float32")
    y = rng.normal(size=(2, 1)).astype("float32")
    model.fit(x, y, batch_size=2, verbose=0, shuffle=False)
    # One image per replica; the mean over both of (x w - y)^2.
    parts = [(x[i] @ before - y[i]) * x[i][:, None] for i in (0, 1)]
    if gradients:
        parts = [part.astype(ml_dtypes.bfloat16) for part in parts]
    total = (parts[0] + parts[1]).astype("float32")
    # A rounding of bfloat16 is 1/256; another order of float32 sums is not.
    np.testing.assert_allclose(
        before - dense.kernel.numpy(), total, rtol=1e-4, atol=1e-6
    )


def test_only_replicas_exchange_gradients_in_another_type(monkeypatch):
    with pytest.raises(ValueError, match="gradients.*bfloat16.*float16"):
        training.strategy("mirrored", gradients="float16")
    cluster = {job: ["127.0.0.1:1"] for job in ("chief", "worker", "ps")}
    config = {"cluster": cluster, "task": {"type": "chief", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    for name in ("auto", "parameter_server"):
        with pytest.raises(ValueError, match="exchanges gradients as they are"):
            training.strategy(name, gradients="bfloat16")


def _normalizing_model(strategy, **compiled):
    with strategy.scope():
        inputs = keras.Input((3,))
        x = keras.layers.BatchNormalization(momentum=0.5)(inputs)
        model = training.Model(inputs, keras.layers.Dense(4)(x))
        model.compile(keras.optimizers.SGD(0.0), loss="mse", **compiled)
    return model


def test_moving_statistics_are_the_mean_of_those_of_the_replicas(
    mirrored, rng, tmp_path
):
    model = _normalizing_model(mirrored)
    x = rng.normal(3, 2, (8, 3)).astype("float32")
    y = np.zeros((8, 4), "float32")
    model.fit(x, y, batch_size=8, verbose=0, shuffle=False)
    means = (0.5 * x[:4].mean(0) + 0.5 * x[4:].mean(0)) * 0.5
    variances = 0.5 + 0.5 * (x[:4].var(0) + x[4:].var(0)) / 2
    model.save(tmp_path / "model.keras")
    saved = keras.saving.load_model(tmp_path / "model.keras")
    for one in (model, saved):
        layer = one.layers[1]
        for found, expected in (
            (layer.moving_mean, means),
            (layer.moving_variance, variances),
        ):
            np.testing.assert_allclose(
                keras.ops.convert_to_numpy(found), expected, rtol=1e-5
            )
    layer = model.layers[1]
    values = mirrored.experimental_local_results(layer.moving_mean.value)
    np.testing.assert_array_equal(values[0].numpy(), values[1].numpy())


def test_a_replica_without_images_leaves_the_statistics_alone(mirrored, rng):
    model = _normalizing_model(mirrored)
    x = rng.normal(3, 2, (1, 3)).astype("float32")
    model.fit(x, np.zeros((1, 4), "float32"), batch_size=2, verbose=0)
    # One replica has seen the image, the other is at zero.
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model.layers[1].moving_mean),
        (0.5 * x[0] + 0.0) / 2,
        rtol=1e-5,
    )


def _identity(size, *scores):
    inputs = keras.Input((size,))
    model = training.Model(inputs, keras.layers.Identity()(inputs))
    model.compile(
        loss=lambda labels, logits: keras.ops.sum(logits, axis=1) * 0.0,
        metrics=[*scores],
    )
    return model


def test_the_many_label_metric_is_exact(mirrored, rng):
    with mirrored.scope():
        variants = [
            metrics.MeanAveragePrecision(2, None, v, max_images=11, name=v)
            for v in "ABC"
        ]
        model = _identity(4, *variants)
    logits = rng.normal(size=(11, 4)).astype("float32")
    labels = rng.integers(-1, 4, (11, 3)).astype("int32")
    for _ in range(2):  # The second time starts from nothing again.
        result = model.evaluate(
            logits, labels, batch_size=4, verbose=0, return_dict=True
        )
    for variant in "ABC":
        expected = metrics.evaluate_multi_label(labels, logits, 2, variant)
        assert result[variant] == pytest.approx(expected["map"], abs=1e-6)


def test_more_images_than_the_metric_holds_are_an_error(mirrored, rng):
    with mirrored.scope():
        model = _identity(3, metrics.MeanAveragePrecision(k=2, max_images=7))
    x, y = np.zeros((8, 3), "float32"), np.zeros((8, 1), "int32")
    with pytest.raises(ValueError, match="max_images=8"):
        model.evaluate(x, y, batch_size=4, verbose=0)


def test_a_backbone_made_outside_of_the_scope_is_an_error(
    mirrored, tiny_backbone
):
    with mirrored.scope():
        model = pretrain.MultiLabelClassifier(tiny_backbone, 3)
        with pytest.raises(ValueError, match=r"`conv1_conv/kernel`.*rebuild"):
            model.compile("sgd")
        model = pretrain.MultiLabelClassifier(tiny_backbone.rebuild(), 3)
        model.compile("sgd")


def test_a_metric_made_outside_of_the_scope_is_an_error(mirrored):
    metric = metrics.MeanAveragePrecision(k=2)
    with mirrored.scope(), pytest.raises(ValueError, match="map/images|images"):
        _identity(3, metric)


def test_a_run_by_steps_is_logged(mirrored, tmp_path):
    config = training.Optimization(schedule="constant", epochs=None, steps=3)
    with mirrored.scope():
        inputs = keras.Input((3,))
        model = training.Model(inputs, keras.layers.Dense(1)(inputs))
        model.compile(config.build_optimizer(), loss="mse")
    arrays = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
    data = tf.data.Dataset.from_tensor_slices(arrays).batch(4)
    loggers = training.loggers(tmp_path, batch_size=4)
    training.fit(model, data, config, loggers, verbose=0)
    lines = training.read_log(tmp_path / "log.jsonl")
    assert [line["step"] for line in lines] == [2, 3]
    assert lines[-1]["learning_rate"] == pytest.approx(config.learning_rate)


@pytest.mark.parametrize("name", ["_span_workers", "is_asynchronous"])
def test_workers_that_split_the_data_are_not_given_a_part(name, monkeypatch):
    monkeypatch.setattr(replicas, "is_chief", lambda model: True)
    source = data.load("synthetic", num_examples=8)
    part = data.batches(source, 2, shard=(1, 2))
    model = _normalizing_model(training.strategy("one_device"))
    assert replicas.shard_by_element(model, part) is part
    monkeypatch.setattr(replicas, name, lambda model: True)
    for method in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match=r"shard=\(1, 2\). Leave out"):
            method(part)
    with pytest.raises(ValueError, match="must be given the whole"):
        model.fit(data.batches(source, 2), validation_data=part)
    whole = data.batches(source, 2)
    assert len(replicas.shard_by_element(model, whole)) == 4
