import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

import keras_jft as jft
from keras_jft import files

pytestmark = pytest.mark.usefixtures("uncompiled")

CONFIG = jft.pretrain.Config(
    options={"num_examples": 64, "image_size": 16},
    num_examples=64,
    image_size=(16, 16),
    dtype="float32",
    batch_size=32,
    epochs=2,
)


def _arrays(model):
    return [ops.convert_to_numpy(v) for v in model.weights]


def test_the_same_config_gives_the_same_backbone():
    one = jft.pretrain.run(CONFIG, verbose=0)
    other = jft.pretrain.run(CONFIG, verbose=0)
    for ours, theirs in zip(_arrays(one), _arrays(other), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    fresh = jft.pretrain.backbone(CONFIG)
    assert any(
        not np.allclose(a, b, atol=1e-3)
        for a, b in zip(_arrays(one), _arrays(fresh), strict=True)
    )


def test_zero_examples_give_the_random_initial_weights():
    config = dataclasses.replace(CONFIG, num_examples=0)
    backbone = jft.pretrain.run(config)
    for ours, theirs in zip(
        _arrays(backbone), _arrays(jft.pretrain.backbone(config)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_the_bias_starts_at_the_label_frequencies():
    examples = jft.data.load("synthetic", **CONFIG.options)
    model = jft.pretrain.classifier(CONFIG, examples)
    counts = np.zeros(model.num_classes)
    for i in range(len(examples)):
        for label in set(examples[i]["labels"].tolist()) - {-1}:
            counts[label] += 1
    bias = ops.convert_to_numpy(model.get_layer("head_logits").bias)
    np.testing.assert_allclose(
        1 / (1 + np.exp(-bias)), (counts + 0.5) / 65, rtol=1e-4
    )


def test_the_paper_s_recipe_has_its_constants():
    arguments = jft.pretrain.recipe("jft300m")
    optimizer, rate = arguments["optimizer"], arguments["optimizer"]
    optimizer.build([keras.Variable([0.0])])
    assert arguments["l2"] == 1e-4
    assert isinstance(optimizer, jft.training.TF1RMSprop)
    assert (optimizer.rho, optimizer.momentum) == (0.9, 0.9)
    assert optimizer.epsilon == 1.0
    # 1e-3 * 0.9 ** floor(step / 3e6): section 4.1.
    rate = optimizer._learning_rate
    for step, expected in (
        (0, 1e-3),
        (2_999_999, 1e-3),
        (3_000_000, 0.9e-3),
        (36_000_000, 0.2824295e-3),
    ):
        np.testing.assert_allclose(float(rate(step)), expected, rtol=1e-5)


def test_the_imagenet_recipes_have_their_constants():
    for name, peak, steps in (
        ("imagenet", 5e-2, 5_000_000),
        ("imagenet_finetune", 1e-3, 4_000_000),
    ):
        arguments = jft.pretrain.recipe(name)
        optimizer = arguments["optimizer"]
        assert isinstance(optimizer, keras.optimizers.SGD)
        assert (optimizer.momentum, optimizer.nesterov) == (0.9, False)
        assert isinstance(arguments["loss"], jft.pretrain.SoftmaxLoss)
        config = jft.pretrain.RECIPES[name]
        assert (config.steps, config.batch_size) == (steps, 32)
        # A tenth every 30 epochs, 1.2M steps: section 4.1.
        rate = optimizer._learning_rate
        for step, factor in (
            (0, 1.0),
            (1_199_999, 1.0),
            (1_200_000, 0.1),
            (3_600_000, 0.001),
        ):
            np.testing.assert_allclose(
                float(rate(step)), factor * peak, rtol=1e-5
            )


def test_the_modern_recipes_warm_up_and_grow_with_the_batch():
    for name, peak in (("modern", 0.1), ("modern_adamw", 1e-3)):
        arguments = jft.pretrain.recipe(name, steps=1_000)
        rate = arguments["optimizer"]._learning_rate
        for step, factor in ((0, 0.0), (25, 0.5), (50, 1.0), (1_000, 0.0)):
            np.testing.assert_allclose(
                float(rate(step)), factor * peak, atol=1e-9
            )
        assert arguments["loss"].label_smoothing == 0.1
        config = jft.pretrain.RECIPES[name]
        assert config.label_prior
        quarter = dataclasses.replace(config, batch_size=64)
        np.testing.assert_allclose(quarter.peak, peak / 4)


def test_a_run_by_steps_starts_from_a_given_backbone(tiny_backbone):
    config = dataclasses.replace(CONFIG, epochs=None, steps=3)
    before = _arrays(tiny_backbone)
    seen = []
    watcher = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    still = dataclasses.replace(config, learning_rate=0.0, bn_momentum=1.0)
    backbone = jft.pretrain.run(
        still, initial=tiny_backbone, callbacks=[watcher], verbose=0
    )
    # Two batches an epoch.
    assert seen == [0, 1, 0]
    for ours, theirs, old in zip(
        _arrays(backbone), _arrays(tiny_backbone), before, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
        np.testing.assert_array_equal(theirs, old)


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
def test_mixup_trains_on_images_mixed_in_pairs(loss, monkeypatch):
    config = dataclasses.replace(CONFIG, mixup=0.5, loss=loss, epochs=1)
    if loss == "softmax":
        single = {**config.options, "task": "classification"}
        config = dataclasses.replace(config, options=single)
    mixed, targets = [], jft.MultiLabelClassifier.targets

    def seen(self, batch):
        mixed.append("label_weights" in batch)
        return targets(self, batch)

    monkeypatch.setattr(jft.MultiLabelClassifier, "targets", seen)
    history = keras.callbacks.History()
    jft.pretrain.run(config, verbose=0, callbacks=[history])
    assert mixed and all(mixed)
    assert np.isfinite(history.history["loss"]).all()


def test_every_recipe_compiles():
    for name in jft.pretrain.RECIPES:
        arguments = jft.pretrain.recipe(name, steps=100)
        inputs = keras.Input((2,))
        model = jft.training.Model(inputs, keras.layers.Dense(3)(inputs))
        model.compile(**arguments)


def test_bad_configs_are_refused():
    with pytest.raises(ValueError, match="fill at least one batch"):
        dataclasses.replace(CONFIG, num_examples=31)
    with pytest.raises(ValueError, match="`optimizer` must be one of"):
        dataclasses.replace(CONFIG, optimizer="lion")
    with pytest.raises(ValueError, match="`schedule` must be one of"):
        dataclasses.replace(CONFIG, schedule="step")
    with pytest.raises(ValueError, match="`loss` must be one of"):
        dataclasses.replace(CONFIG, loss="hinge")
    with pytest.raises(ValueError, match="Exactly one of"):
        dataclasses.replace(CONFIG, steps=5)
    with pytest.raises(ValueError, match="`name` must be one of"):
        jft.pretrain.recipe("jft3b")
    with pytest.raises(ValueError, match="needs `steps`"):
        jft.pretrain.recipe("small")


def test_the_recipe_of_the_paper_reads_records(tmp_path):
    pytest.importorskip("tensorflow")
    data = jft.data.load("synthetic", num_examples=8, image_size=16)
    jft.data.write_records(data, f"{tmp_path}/train@2", verbose=False)
    config = dataclasses.replace(
        jft.pretrain.RECIPES["jft300m"],
        options={"directory": str(tmp_path)},
        transforms="flip",
        image_size=(16, 16),
        blocks=(1, 1, 1, 1),
        width=16,
        block="basic",
        stem="small",
        shards=2,
        batch_size=4,
        epochs=1,
    )
    backbone = jft.pretrain.run(config, verbose=0)
    fresh = jft.pretrain.backbone(config)
    assert any(
        not np.allclose(a, b)
        for a, b in zip(_arrays(backbone), _arrays(fresh), strict=True)
    )


def test_the_softmax_trains_on_several_labels_per_image():
    config = dataclasses.replace(CONFIG, loss="softmax", epochs=1)
    history = keras.callbacks.History()
    jft.pretrain.run(config, verbose=0, callbacks=[history])
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_given_backbone_takes_the_dtype_of_the_run(dtype):
    initial = jft.ResNet((1, 1, 1, 1), block="basic", stem="small", width=16)
    config = dataclasses.replace(CONFIG, dtype=dtype)
    assert jft.pretrain.backbone(config, initial).dtype_policy.name == dtype
    config = jft.transfer.Config(dtype=dtype, num_classes=3)
    model = jft.transfer.build(config, initial)
    assert model.backbone.dtype_policy.name == dtype


def test_a_backbone_by_name_is_pre_trained():
    config = dataclasses.replace(
        CONFIG, backbone="resnet18", backbone_options={"width": 4}, epochs=1
    )
    backbone = jft.pretrain.run(config, verbose=0)
    assert (backbone.width, backbone.image_shape) == (4, (16, 16, 3))
    assert backbone.bn_momentum == config.bn_momentum
    again = jft.pretrain.backbone(config, backbone)
    for ours, theirs in zip(_arrays(again), _arrays(backbone), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"backbone": "resnet51"}, "`backbone` must be one of"),
        ({"backbone": "applications/X"}, "no net of that name"),
        ({"backbone_options": {"width": 4}}, "for a `backbone` by name"),
        (
            {"backbone": "resnet18", "backbone_options": {"dtype": "float32"}},
            r"leave out \['dtype'\]",
        ),
    ],
)
def test_a_backbone_that_is_not_there_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_runs_without_a_name_keep_their_ids():
    from keras_jft.scaling.study.config_id import config_id

    named = dataclasses.replace(CONFIG, backbone="resnet18")
    other = dataclasses.replace(named, backbone_options={"width": 4})
    ids = [config_id(config) for config in (CONFIG, named, other)]
    assert len({*ids}) == 3
    # As it was before there were names.
    fields = dataclasses.asdict(CONFIG)
    added = ("backbone", "backbone_options", "mixup", "split")
    for name in (*added, "initial", "map_weights"):
        del fields[name]
    assert config_id(fields) == ids[0]


def test_a_pre_training_starts_from_the_backbone_of_another():
    before = dataclasses.replace(CONFIG, seed=1, epochs=1)
    # Without images of its own it ends where it starts.
    config = dataclasses.replace(CONFIG, num_examples=0, initial=before)
    found = jft.pretrain.run(config, verbose=0)
    expected = jft.pretrain.run(before, verbose=0)
    for ours, theirs in zip(_arrays(found), _arrays(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_another_net_is_not_started_from():
    before = dataclasses.replace(CONFIG, width=8)
    with pytest.raises(ValueError, match=r"same net.*width=16, in .* 8"):
        dataclasses.replace(CONFIG, initial=before)


@pytest.mark.parametrize("store", ["", "memory:/"])
def test_a_pre_training_starts_from_the_file_of_a_backbone(store, tmp_path):
    before = jft.pretrain.backbone(
        dataclasses.replace(CONFIG, seed=1, width=8, stem="imagenet")
    )
    path = f"{store}{tmp_path}/before.keras"
    with files.atomic_write(path) as partial:
        before.save(partial)
    # Its net, whatever that of the config is.
    config = dataclasses.replace(CONFIG, num_examples=0, initial=path)
    found = jft.pretrain.run(config, verbose=0)
    assert found.stem == "imagenet"
    for ours, theirs in zip(_arrays(found), _arrays(before), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_file_without_a_backbone_is_refused(tmp_path, tiny_backbone):
    path = str(tmp_path / "before.keras")
    config = dataclasses.replace(CONFIG, initial=path)
    with pytest.raises(ValueError, match=r"There is no backbone '.*before"):
        jft.pretrain.run(config, verbose=0)
    jft.Classifier(tiny_backbone, num_classes=3).save(path)
    with pytest.raises(ValueError, match=r"must have a.*Save its `backbone`."):
        jft.pretrain.run(config, verbose=0)


def test_the_metric_of_validation_counts_classes_as_the_training_set_does():
    config = dataclasses.replace(CONFIG, map_weights="frequency")
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(logs)

    examples = jft.data.load("synthetic", **CONFIG.options)
    validation = jft.data.batches(examples, batch_size=32)
    jft.pretrain.run(
        config, validation=validation, callbacks=[Look()], verbose=0
    )
    assert 0 < seen[-1]["val_weighted_map"] < 1
    assert "val_map" not in seen[-1]
    counts = jft.data.label_counts(examples)
    expected = np.zeros(len(counts))
    for example in examples:
        expected[np.unique(example["labels"])] += 1
    np.testing.assert_array_equal(counts, expected)
    [metric] = jft.pretrain.trainer.compile_arguments(
        config, 4, class_weights=counts
    )["metrics"]
    assert metric.class_weights == expected.tolist()


@pytest.mark.parametrize("config", [CONFIG, jft.evaluation.Config()])
def test_pre_training_and_evaluation_take_the_same_weights_of_classes(config):
    from keras_jft.scaling.study.config_id import config_id

    same = config_id(config)
    assert config_id(dataclasses.replace(config, map_weights="equal")) == same
    for given in ("frequency", "val", {"dataset": "synthetic"}):
        other = dataclasses.replace(config, map_weights=given)
        assert config_id(other) != same
    for wrong in ({"split": "train"}, {"dataset": "none"}, 3, None):
        with pytest.raises(ValueError, match="`map_weights`|`dataset`"):
            dataclasses.replace(config, map_weights=wrong)


def test_the_counts_of_another_data_set_weigh_the_classes_of_validation():
    source = {"dataset": "synthetic", "options": {"num_examples": 100}}
    config = dataclasses.replace(
        CONFIG, map_weights=source, epochs=1, num_examples=32
    )
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            seen.extend(self.model.metrics)

    jft.pretrain.run(config, callbacks=[Look()], verbose=0)
    [metric] = [m for m in _all(seen) if m.name == "weighted_map"]
    other = jft.data.load("synthetic", **source["options"])
    np.testing.assert_array_equal(metric.class_weights, other.info.class_counts)


def _all(metrics):
    """Metrics, and those that others are made of."""
    for metric in metrics:
        yield metric
        yield from _all(getattr(metric, "metrics", []) or [])
