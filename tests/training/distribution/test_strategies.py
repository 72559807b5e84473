import json
import os

import keras
import pytest

from keras_jft import training

CLUSTER = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}


@pytest.fixture
def tf_config(monkeypatch):
    def configure(value):
        text = value if isinstance(value, str) else json.dumps(value)
        monkeypatch.setenv("TF_CONFIG", text)

    monkeypatch.delenv("TF_CONFIG", raising=False)
    return configure


@pytest.mark.ops
def test_a_model_trains_under_one_device(tf_config):
    strategy = training.strategy("one_device")
    with strategy.scope():
        inputs = keras.Input((2,))
        model = training.Model(inputs, keras.layers.Dense(1)(inputs))
        model.compile("sgd", loss="mse")
    x, y = keras.ops.ones((4, 2)), keras.ops.ones((4, 1))
    losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[0]


@pytest.mark.ops
def test_an_unknown_name_lists_the_known(tf_config):
    with pytest.raises(ValueError, match="one_device.*multi_worker"):
        training.strategy("two_devices")


@pytest.mark.ops
def test_a_cluster_needs_its_description(tf_config):
    with pytest.raises(ValueError, match="TF_CONFIG=None.*launch --workers"):
        training.strategy("multi_worker")


SERVERS = {**CLUSTER, "chief": ["127.0.0.1:3"], "ps": ["127.0.0.1:4"]}


@pytest.mark.ops
@pytest.mark.parametrize(
    ("name", "cluster", "message"),
    [
        ("multi_worker", SERVERS, r"jobs \['worker'\].*--workers 2 script"),
        (
            "parameter_server",
            CLUSTER,
            r"'ps', 'worker'\].*--servers",
        ),
        ("parameter_server", {**SERVERS, "chief": []}, "'chief', 'ps'"),
        ("parameter_server", {**SERVERS, "evaluator": ["a:1"]}, "no others"),
    ],
)
def test_a_cluster_must_have_the_jobs_of_its_strategy(
    tf_config, name, cluster, message
):
    tf_config({"cluster": cluster, "task": {"type": "worker", "index": 0}})
    with pytest.raises(ValueError, match=message):
        training.strategy(name)


@pytest.mark.ops
def test_a_resolver_is_for_parameter_servers(tf_config):
    with pytest.raises(ValueError, match="`resolver` is for"):
        training.strategy("mirrored", resolver=object())


@pytest.mark.ops
def test_several_devices_need_tensorflow(tf_config):
    if keras.backend.backend() == "tensorflow":
        return
    with pytest.raises(ValueError, match="set_distribution"):
        training.strategy("mirrored")


@pytest.mark.ops
@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": 3}'])
def test_a_description_that_is_none_is_an_error(text, tf_config):
    tf_config(text)
    with pytest.raises(ValueError, match="`TF_CONFIG` must be JSON"):
        training.strategy()


@pytest.mark.ops
def test_a_process_must_know_its_task(tf_config):
    tf_config({"cluster": CLUSTER})
    with pytest.raises(ValueError, match="this process's task"):
        training.strategy("multi_worker")


def test_auto_takes_what_the_cluster_is(tf_config, monkeypatch):
    from keras_jft.training.distribution import strategies

    taken = []
    monkeypatch.setattr(
        strategies, "_tensorflow", lambda name, *rest: taken.append(name)
    )
    task = {"type": "worker", "index": 0}
    for cluster in ({}, {"worker": ["a:1"]}, CLUSTER, SERVERS):
        tf_config({"cluster": cluster, "task": task})
        training.strategy("auto")
    assert taken == [
        "one_device",
        "one_device",
        "multi_worker",
        "parameter_server",
    ]


@pytest.mark.parametrize(
    ("cores", "given", "threads"),
    [({3}, None, "2"), ({3}, "8", "8"), ({0, 3}, None, None)],
)
def test_a_worker_on_one_core_can_have_two_steps(
    cores, given, threads, monkeypatch
):
    from keras_jft.training.distribution import strategies

    name = "TF_NUM_INTEROP_THREADS"
    monkeypatch.setenv(name, given or "")  # It is given back as it was.
    if given is None:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: cores)
    strategies._allow_two_steps()
    assert os.environ.get(name) == threads


def test_the_same_devices_give_the_same_strategy(tf_config):
    tf = pytest.importorskip("tensorflow")
    cpus = ["CPU:0", "CPU:1"]
    strategy = training.strategy("mirrored", devices=cpus)
    assert strategy is training.strategy("mirrored", devices=cpus)
    assert strategy.num_replicas_in_sync == 2
    assert isinstance(strategy, tf.distribute.MirroredStrategy)


def test_devices_are_a_list(tf_config):
    with pytest.raises(ValueError, match="must be a list"):
        training.strategy("mirrored", devices="CPU:0")
