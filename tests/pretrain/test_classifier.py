import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import metrics, pretrain
from keras_jft.data import mixup
from keras_jft.layers import ImageScaling
from keras_jft.pretrain import MultiLabelClassifier

pytestmark = pytest.mark.ops


def _net():
    """A net of one convolution: a deeper one only takes longer to compile."""
    inputs = keras.Input((16, 16, 3))
    x = ImageScaling("jft")(inputs)
    x = keras.layers.Conv2D(16, 3, strides=2)(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    return keras.Model(inputs, keras.layers.ReLU()(x))


@pytest.fixture
def net():
    return _net()


def _images(rng, batch=4):
    return rng.integers(0, 256, (batch, 16, 16, 3)).astype("uint8")


def test_first_logits_are_those_of_the_label_prior(net):
    prior = np.array([0.5, 0.1, 0.001])
    model = MultiLabelClassifier(net, 3, label_prior=prior)
    bias = ops.convert_to_numpy(model.get_layer("head_logits").bias)
    np.testing.assert_allclose(1 / (1 + np.exp(-bias)), prior, rtol=1e-5)


def test_logits_are_float32_under_mixed_precision(rng):
    from keras_jft import training

    with training.dtype_policy("mixed_bfloat16"):
        model = MultiLabelClassifier(_net(), 5)
    logits = model(_images(rng))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"


def test_every_argument_survives_saving(tiny_backbone, tmp_path, rng):
    model = MultiLabelClassifier(
        tiny_backbone,
        4,
        shards=3,
        label_prior=[0.1, 0.2, 0.3, 0.4],
        name="other",
    )
    model.compile("sgd", l2=0.5, multipliers={"head": 3.0})
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")

    assert (again.num_classes, again.shards) == (4, 3)
    assert again.label_prior == [0.1, 0.2, 0.3, 0.4]
    assert again.name == "other"
    assert again.backbone.get_config() == tiny_backbone.get_config()
    assert (again._l2, again._multipliers) == (0.5, {"head": 3.0})
    images = _images(rng)
    np.testing.assert_array_equal(
        model.predict(images, verbose=0), again.predict(images, verbose=0)
    )


def test_fits_arrays_of_contract_batches(net, rng):
    model = MultiLabelClassifier(net, 3, label_prior=0.3)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9))
    labels = np.array([[0, -1], [1, 2], [-1, -1], [2, -1]] * 4, "int32")
    images = _images(rng, 16)
    for row, ids in enumerate(labels):
        images[row] = 40
        for label in ids[ids >= 0]:
            images[row, ..., label] = 220
    batch = {"images": images, "labels": labels}
    history = model.fit(batch, batch_size=16, epochs=30, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert model.evaluate(batch, verbose=0) > 0


def test_fits_mixed_images(net, rng):
    model = MultiLabelClassifier(net, 3, label_prior=0.3)
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        metrics=[metrics.MeanAveragePrecision(k=3)],
    )
    labels = np.array([[0, -1], [1, 2], [1, -1], [2, -1]] * 4, "int32")
    images = np.full((16, 16, 16, 3), 40, "uint8")
    for row, ids in enumerate(labels):
        images[row, ..., ids[ids >= 0]] = 220
    batch = {"images": images, "labels": labels}
    mixed = mixup(batch, rng, alpha=0.4)
    history = model.fit(mixed, batch_size=16, epochs=10, verbose=0).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    # The loss is that of dense targets.
    y = np.zeros((16, 4))
    for row in range(16):
        ids, weights = mixed["labels"][row], mixed["label_weights"][row]
        y[row, ids[ids >= 0]] = weights[ids >= 0]
    x = model.predict(mixed, verbose=0).astype("float64")
    y = y[:, :3]
    expected = (np.logaddexp(0, x) - x * y).sum(axis=1).mean()
    found = model.evaluate(mixed, verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_dense_targets_are_refused(net, rng):
    model = MultiLabelClassifier(net, 3)
    model.compile("sgd")
    dense = np.eye(3, dtype="float32")
    with pytest.raises(ValueError, match="dense targets"):
        model.fit(_images(rng, 3), dense, verbose=0)


def test_a_prior_outside_its_range_is_refused(net):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        MultiLabelClassifier(net, 2, label_prior=[0.0, 0.5])
    with pytest.raises(ValueError, match="one number per class"):
        MultiLabelClassifier(net, 3, label_prior=[0.1, 0.5])
    with pytest.raises(ValueError, match="num_classes"):
        MultiLabelClassifier(net, 0)


def test_a_batch_without_labels_is_refused(net, rng):
    model = MultiLabelClassifier(net, 2)
    model.compile("sgd")
    with pytest.raises(ValueError, match="needs `labels`"):
        model.fit({"images": _images(rng)}, verbose=0)


def test_a_head_in_shards_gives_the_logits_of_a_whole_one(net, rng):
    whole = MultiLabelClassifier(net, 7, label_prior=0.1)
    sharded = MultiLabelClassifier(net, 7, shards=3, label_prior=0.1)
    head, parts = (model.get_layer("head_logits") for model in (whole, sharded))
    assert [kernel.shape[-1] for kernel in parts.kernels] == [3, 2, 2]
    head.kernel.assign(ops.concatenate(parts.kernels, axis=-1))
    images = _images(rng)
    np.testing.assert_allclose(
        sharded.predict(images, verbose=0),
        whole.predict(images, verbose=0),
        rtol=1e-5,
    )
    with pytest.raises(ValueError, match="`shards` must be between 1"):
        MultiLabelClassifier(net, 7, shards=8)


def test_unknown_labels_count_in_neither_loss_nor_metric(net, rng):
    model = MultiLabelClassifier(net, 4)
    model.compile(
        "sgd", metrics=[metrics.MeanAveragePrecision(k=4, max_images=4)]
    )
    batch = {
        "images": _images(rng),
        "labels": np.array([[0, 1], [2, -1], [0, -1], [1, 3]], "int32"),
        "unknown_labels": np.array([[2], [0], [-1], [0]], "int32"),
    }
    scores = model.evaluate(batch, verbose=0, return_dict=True)

    logits = model.predict(batch, verbose=0).astype("float64")
    counted = np.ones((4, 4))
    counted[[0, 1, 3], [2, 0, 0]] = 0
    y = np.zeros((4, 4))
    y[[0, 0, 1, 2, 3, 3], [0, 1, 2, 0, 1, 3]] = 1
    losses = counted * (np.log1p(np.exp(logits)) - y * logits)
    np.testing.assert_allclose(scores["loss"], losses.sum() / 4, rtol=1e-5)
    expected = metrics.evaluate_multi_label(
        batch["labels"], np.where(counted, logits, -1e30), k=4
    )
    np.testing.assert_allclose(scores["map"], expected["map"], rtol=1e-5)


def test_one_label_per_image_trains_with_the_softmax(net, rng):
    model = MultiLabelClassifier(net, 6)
    model.compile(**pretrain.recipe("imagenet"))
    batch = {"images": _images(rng), "labels": np.array([3, 0, 5, 1], "int32")}
    scores = model.evaluate(batch, verbose=0, return_dict=True)
    logits = model.predict(batch, verbose=0).astype("float64")
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        scores["loss"],
        -np.log(chances[np.arange(4), batch["labels"]]).mean(),
        rtol=1e-4,
    )
    ranked = np.argsort(-logits, axis=1)
    hits = ranked == batch["labels"][:, None]
    np.testing.assert_allclose(scores["top1"], hits[:, 0].mean())
    np.testing.assert_allclose(scores["top5"], hits[:, :5].any(axis=1).mean())


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Once is enough."
)
def test_the_paper_s_head_has_its_number_of_parameters():
    from keras_jft.backbones import ResNet

    # As many features as ResNet-101 has, whose own number `test_resnet` shows.
    backbone = ResNet((1, 1, 1, 1), image_shape=(299, 299, 3))
    assert tuple(backbone.output.shape) == (None, 10, 10, 2048)
    for shards in (1, 50):
        model = MultiLabelClassifier(backbone, 18_291, shards=shards)
        head = model.count_params() - backbone.count_params()
        assert head == 2048 * 18_291 + 18_291
        assert model.output_shape == (None, 18_291)


def test_one_id_per_image_scores_alike_in_pairs_and_dicts(net, rng):
    x, y = _images(rng), np.int32([0, 1, 2, 1])
    found = []
    for given in ((x, y), ({"images": x, "labels": y},)):
        keras.utils.set_random_seed(0)
        model = MultiLabelClassifier(net, 3)
        model.compile("sgd", metrics=[metrics.MeanAveragePrecision(k=3)])
        found.append(model.evaluate(*given, verbose=0, return_dict=True))
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", ["bool", "float32"])
def test_dense_targets_of_any_type_but_integers_are_refused(dtype, net, rng):
    model = MultiLabelClassifier(net, 3)
    model.compile("sgd")
    with pytest.raises(ValueError, match="dense targets"):
        model.fit(_images(rng, 3), np.eye(3).astype(dtype), verbose=0)


def test_what_ids_cannot_say_is_refused(net, rng):
    model = MultiLabelClassifier(net, 3)
    model.compile("sgd")
    batch = {"images": _images(rng), "labels": np.int32([[0], [1], [2], [1]])}
    with pytest.raises(ValueError, match="Give the loss `class_weights`"):
        model.fit(batch, class_weight={0: 2.0}, verbose=0)
    with pytest.raises(ValueError, match=r"Labels must be in 0\.\.2"):
        model.fit({**batch, "labels": batch["labels"] + 1}, verbose=0)
    both = {
        "label_weights": np.ones((4, 1), "float32"),
        "unknown_labels": np.int32([[2]] * 4),
    }
    with pytest.raises(ValueError, match="not both"):
        model.fit({**batch, **both}, verbose=0)


@pytest.mark.parametrize("kind", ["int64", "bool", "float32", "uint8"])
def test_multi_hot_targets_are_refused_with_the_conversion(net, rng, kind):
    images = rng.integers(0, 256, (4, 16, 16, 3), "uint8")
    dense = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 1]], kind)
    model = MultiLabelClassifier(net, 3)
    model.compile("sgd")
    for call in (model.fit, model.evaluate):
        for data in ((images, dense), ({"images": images, "labels": dense},)):
            with pytest.raises(ValueError, match=r"jft.data.label_ids\(Y\)"):
                call(*data, verbose=0)


def test_multi_hot_targets_of_a_tf_data_set_are_refused(net, rng):
    tf = pytest.importorskip("tensorflow")
    images = rng.integers(0, 256, (4, 16, 16, 3), "uint8")
    dense = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 1]], "int32")
    model = MultiLabelClassifier(net, 3)
    model.compile("sgd")
    pairs = tf.data.Dataset.from_tensor_slices((images, dense)).batch(2)
    dicts = pairs.map(lambda x, y: {"images": x, "labels": y})
    for dataset in (pairs, dicts):
        with pytest.raises(ValueError, match=r"jft.data.label_ids\(Y\)"):
            model.fit(dataset, verbose=0)


def _pairs_of_unknown_columns(x, y):
    tf = pytest.importorskip("tensorflow")
    spec = (
        tf.TensorSpec((None, 16, 16, 3), "uint8"),
        tf.TensorSpec((None, None), "int32"),
    )
    pairs = tf.data.Dataset.from_generator(
        lambda: iter([(x, y)]), output_signature=spec
    )
    return pairs.apply(tf.data.experimental.assert_cardinality(1))


def test_multi_hot_columns_that_a_spec_leaves_open_are_refused(net, rng):
    images = _images(rng)
    dense = np.int32([[0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 1]])
    for num_classes, y in ((3, dense), (2, dense[:, :2])):
        model = MultiLabelClassifier(net, num_classes)
        model.compile("sgd")
        for call in (model.fit, model.evaluate):
            with pytest.raises(ValueError, match=r"jft.data.label_ids\(Y\)"):
                call(_pairs_of_unknown_columns(images, y), verbose=0)
        # In a later batch, too.
        late = _pairs_of_unknown_columns(images, -np.ones((4, 1), "int32"))
        late = late.concatenate(_pairs_of_unknown_columns(images, y))
        with pytest.raises(ValueError, match=r"jft.data.label_ids\(Y\)"):
            model.fit(late, verbose=0)
        # Columns of another number are ids.
        ids = _pairs_of_unknown_columns(images, y[:, :1])
        assert np.isfinite(model.evaluate(ids, verbose=0))


@pytest.mark.parametrize("form", ["generator", "PyDataset", "tensor", "batch"])
def test_multi_hot_pairs_are_refused_in_every_form(form, net, rng):
    x = _images(rng)
    y = np.int32([[0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 1]])

    class Pairs(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return x, y

    model = MultiLabelClassifier(net, 3)
    model.compile("sgd")
    calls = {
        "generator": lambda call: call((p for p in [(x, y)]), verbose=0),
        "PyDataset": lambda call: call(Pairs(), verbose=0),
        "tensor": lambda call: call(
            x, keras.ops.convert_to_tensor(y), verbose=0
        ),
    }
    if form == "batch":
        for call in (model.train_on_batch, model.test_on_batch):
            with pytest.raises(ValueError, match="multi-hot targets"):
                call(x, y)
        return
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="multi-hot targets"):
            calls[form](call)


def test_unsigned_ids_are_ids(net, rng):
    x, y = _images(rng), np.int32([0, 1, 2, 1])
    model = MultiLabelClassifier(net, 4)
    model.compile("sgd")
    expected = model.evaluate(x, y, verbose=0)
    for ids in (y.astype("uint8"), y[:, None].astype("uint8")):
        model.compile("sgd")
        found = model.evaluate(x, ids, verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    model.fit(x, ids, verbose=0)


def test_a_column_of_yes_or_no_for_one_class_is_refused(net, rng):
    model = MultiLabelClassifier(net, 1)
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"jft.data.label_ids\(Y\)"):
        model.fit(_images(rng), np.int32([[0], [1], [0], [1]]), verbose=0)
