import copy
import pickle

import keras
import numpy as np
import pytest

from keras_jft import data, transfer
from keras_jft.pretrain import MultiLabelClassifier
from keras_jft.transfer import Classifier

pytestmark = pytest.mark.ops


class _Data(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


@pytest.fixture
def batches(rng):
    """Contract batches whose rows of labels are of several lengths."""
    return [
        {
            "images": rng.integers(0, 256, (size, 16, 16, 3), "uint8"),
            "labels": rng.integers(0, 3, (size, width)).astype("int32"),
            "ids": np.arange(size),
        }
        for size, width in ((4, 2), (4, 2), (2, 4))
    ]


@pytest.fixture
def net():
    """A backbone of one convolution: what is tested is what goes in."""
    images = keras.Input((16, 16, 3), name="images")
    x = keras.layers.Rescaling(1 / 255)(images)
    return keras.Model(images, keras.layers.Conv2D(8, 3, strides=4)(x))


def _model(backbone):
    keras.utils.set_random_seed(0)
    model = MultiLabelClassifier(backbone, 5)
    model.compile(keras.optimizers.SGD(0.0))
    return model


def _pairs(batches):
    return [(b["images"], b["labels"]) for b in batches]


FORMS = {
    "list": lambda batches: batches,
    "tuple": tuple,
    "PyDataset of dicts": _Data,
    "PyDataset of pairs": lambda batches: _Data(_pairs(batches)),
    "generator of dicts": lambda batches: (b for b in batches),
    "map object": lambda batches: map(dict, batches),
    "generator of pairs": lambda batches: (b for b in _pairs(batches)),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_the_same_batches_gives_the_same_numbers(
    form, net, batches
):
    if form not in ("list", "tuple"):
        batches = batches[:2]  # Keras looks at two batches for the shapes.
    model = _model(net)
    # The mean over images, by hand from one batch after another.
    losses = [model.evaluate(*pair, verbose=0) for pair in _pairs(batches)]
    sizes = [len(b["images"]) for b in batches]
    expected = np.average(losses, weights=sizes)
    logits = np.concatenate(
        [model.predict(b["images"], verbose=0) for b in batches]
    )

    def given():
        return FORMS[form](batches)

    steps = {"steps": len(batches)}
    found = model.evaluate(given(), verbose=0, **steps)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    found = model.predict(given(), verbose=0, **steps)
    np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-5)
    history = model.fit(
        given(),
        validation_data=given(),
        steps_per_epoch=len(batches),
        validation_steps=len(batches),
        verbose=0,
    ).history
    # Learning at a rate of 0 changes nothing: this net has no statistics.
    np.testing.assert_allclose(history["loss"][0], expected, rtol=1e-5)
    np.testing.assert_allclose(history["val_loss"][0], expected, rtol=1e-5)


def test_fit_takes_what_iterate_gives_pass_by_pass(net):
    examples = data.load("synthetic", num_examples=24, image_size=16)
    names = examples.info.label_names
    source = data.iterate(examples, 8, training=True)
    model = MultiLabelClassifier(net, len(names))
    model.compile("sgd")
    history = model.fit(source, epochs=2, verbose=0).history
    assert len(history["loss"]) == 2
    assert int(model.optimizer.iterations) == 6
    assert source.position == 6  # Two passes were handed out.
    assert model.predict(source, verbose=0).shape == (24, len(names))


def test_examples_in_place_of_batches_are_refused(net):
    examples = data.load("synthetic", num_examples=4, image_size=16)
    with pytest.raises(ValueError, match=r"examples, not batches.*iterate"):
        _model(net).fit(examples, verbose=0)


def test_positional_arguments_are_those_of_keras(net, batches):
    model = _model(net)
    x, y = _pairs(batches)[0]
    seen = []
    count = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch),
        on_test_batch_end=lambda batch, logs: seen.append(batch),
        on_predict_batch_end=lambda batch, logs: seen.append(batch),
    )
    model.fit(x, y, 2, 3, 0, [count])
    assert seen == [0, 1] * 3
    seen.clear()
    model.evaluate(x, y, 2, 0, callbacks=[count])
    model.predict(x, 2, 0, callbacks=[count])
    assert seen == [0, 1] * 2
    with pytest.raises(TypeError, match=r"two values for \['batch_size'\]"):
        model.fit(x, y, 2, batch_size=2)
    with pytest.raises(TypeError, match="at most"):
        model.predict(x, *range(20))


# === What is refused ===


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.eye(3, dtype="float32")[[0, 1]], "one-hot"),
        (np.eye(3, dtype="int64")[[0, 1]], "argmax"),
        (np.array([0.0, 1.0]), "which are integers. Received: float64"),
        (np.array([0, 3]), r"in 0\.\.2. Received values in 0\.\.3"),
        (np.array([0, -2]), r"values in -2\.\.0"),
        (np.array([-1, 0]), r"values in -1\.\.0"),
        (np.zeros((2, 1, 1), "int32"), "one integer per image"),
        (np.array([0, 1, 2]), "2 images, targets of shape"),
    ],
)
def test_a_classifier_says_what_is_wrong_with_targets(labels, says, net):
    model = Classifier(net, 3)
    model.compile("sgd")
    images = np.zeros((2, 16, 16, 3), "uint8")
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=says) as error:
            call(images, labels, verbose=0)
        assert len(str(error.value)) < 300
    with pytest.raises(ValueError, match=says):
        model.fit(images, np.array([0, 1]), validation_data=(images, labels))


def test_one_hot_labels_of_a_tf_data_set_are_refused(net):
    tf = pytest.importorskip("tensorflow")
    images, labels = np.zeros((4, 16, 16, 3), "uint8"), np.eye(3)[[0, 1, 2, 0]]
    model = Classifier(net, 3)
    model.compile("sgd")
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2)
    with pytest.raises(ValueError, match="one-hot"):
        model.fit(dataset, verbose=0)


def test_images_in_0_to_1_and_no_images_are_told(net):
    model = Classifier(net, 3)
    model.compile("sgd")
    images = np.full((2, 16, 16, 3), 0.5, "float32")
    with pytest.warns(UserWarning, match="multiply by 255"):
        model.fit(images, np.array([0, 1]), verbose=0)
    with pytest.warns(UserWarning, match="multiply by 255"):
        model.predict(images, verbose=0)
    with pytest.raises(ValueError, match="must be at least one image"):
        model.fit(images[:0], np.array([], "int32"), verbose=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_pixels_that_are_not_finite_are_refused(net, bad):
    """A ReLU turns NaN into 0: the loss alone would not tell."""
    model = Classifier(net, 3)
    model.compile("sgd")
    images = np.full((70, 16, 16, 3), 9, "float32")
    images[66, 3, 3, 0] = bad
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="image 66 of 70"):
            call(images, np.zeros(70, "int32"), verbose=0)
    with pytest.raises(ValueError, match="image 66 of 70"):
        model.predict(images, verbose=0)
    # In a contract batch, too.
    batch = {"images": images, "labels": np.zeros(70, "int32")}
    with pytest.raises(ValueError, match="finite"):
        model.fit(batch, verbose=0)


@pytest.mark.parametrize("form", ["pairs", "arrays", "batches", "stream"])
def test_pixels_of_every_form_are_checked_by_predict(net, form):
    model = Classifier(net, 3)
    images = [np.full((4, 16, 16, 3), fill, "float32") for fill in (9, 999)]
    batches = [
        {"images": some, "labels": np.zeros(4, "int32")} for some in images
    ]
    given = {
        "pairs": iter([(some, np.zeros(4, "int32")) for some in images]),
        "arrays": iter(images),
        "batches": batches,
        "stream": iter(batches),
    }[form]
    with pytest.raises(ValueError, match=r"values in 999\.\.999"):
        model.predict(given, verbose=0)


def test_masks_of_other_classes_are_refused(plain_backbone):
    model = transfer.DeepLabASPP(plain_backbone, 2, output_stride=4)
    model.compile("sgd")
    images = np.zeros((2, 16, 16, 3), "uint8")
    with pytest.raises(ValueError, match=r"in 0\.\.1, or 255"):
        model.fit(images, np.full((2, 16, 16, 1), 7, "uint8"), verbose=0)
    with pytest.raises(ValueError, match="Add the last axis"):
        model.fit(images, np.zeros((2, 16, 16), "uint8"), verbose=0)


def _spoiled(batches):
    """The batches in float32, one pixel of the second one NaN."""
    batches = [
        {**b, "images": b["images"].astype("float32")} for b in batches[:2]
    ]
    batches[1]["images"][2, 3, 4, 1] = np.nan
    return batches


@pytest.mark.parametrize("form", sorted(FORMS))
def test_images_that_are_not_finite_are_refused(form, net, batches):
    model = _model(net)
    with pytest.raises(ValueError, match=r"NaN or infinity in image 2 of 4"):
        model.fit(FORMS[form](_spoiled(batches)), steps_per_epoch=2, verbose=0)


def test_arrays_that_are_not_finite_are_refused(net, batches):
    model = _model(net)
    images = _spoiled(batches)[1]["images"]
    for call in (
        lambda: model.fit(images, batches[1]["labels"], verbose=0),
        lambda: model.predict(images, verbose=0),
    ):
        with pytest.raises(ValueError, match="image 2 of 4"):
            call()


def test_lists_and_tensors_of_labels_are_labels(net):
    images = np.zeros((3, 16, 16, 3), "uint8")
    model = Classifier(net, 3)
    model.compile(keras.optimizers.SGD(0.0))
    expected = model.evaluate(images, np.array([0, 1, 2]), verbose=0)
    for labels in ([0, 1, 2], keras.ops.array([0, 1, 2])):
        model.fit(images, labels, verbose=0)
        found = model.evaluate(images, labels, verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    for labels in ([0, 1, 3], keras.ops.array([0, 1, 3])):
        with pytest.raises(ValueError, match=r"Received values in 0\.\.3"):
            model.fit(images, labels, verbose=0)
    with pytest.raises(ValueError, match=r"Received values in 0\.\.3"):
        model.fit(iter([(images, np.array([0, 1, 3]))]), verbose=0)


def test_what_lacks_targets_or_numbers_or_anything_is_told(net):
    images = np.zeros((3, 16, 16, 3), "uint8")
    model = Classifier(net, 3)
    model.compile("sgd")
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="without targets"):
            call(images, verbose=0)
        for names in (["a", "b", "c"], np.array(["a", "b", "c"], object)):
            with pytest.raises(ValueError, match=r"np.unique"):
                call(images, names, verbose=0)
        with pytest.raises(ValueError, match="several lengths"):
            call(images, [[0], [1, 2], [0]], verbose=0)
        with pytest.raises(ValueError, match="must be at least one batch"):
            call([], verbose=0)
    with pytest.raises(ValueError, match="must be at least one batch"):
        model.predict([], verbose=0)


@pytest.mark.parametrize("form", ["dicts", "pairs"])
@pytest.mark.parametrize("kind", [iter, _Data])
@pytest.mark.parametrize("widths", [(2, 2, 3, 1), (1, 2, 4), (5,)])
def test_labels_may_be_of_any_width(form, kind, widths, net):
    """Also where the first two batches, which Keras looks at, are alike."""
    batches = [
        {
            "images": np.full((2, 16, 16, 3), width, "uint8"),
            "labels": np.tile(np.arange(width, dtype="int32"), (2, 1)),
        }
        for width in widths
    ]
    model = MultiLabelClassifier(net, 5)
    model.compile("sgd")
    pairs = [(b["images"], b["labels"]) for b in batches]
    losses = [model.test_on_batch(x, y) for x, y in pairs]
    given = kind(batches if form == "dicts" else pairs)
    found = model.evaluate(given, steps=len(widths), verbose=0)
    np.testing.assert_allclose(found, np.mean(losses), rtol=1e-5)


def test_labels_with_weights_and_boxes_may_be_of_any_width(net):
    model = MultiLabelClassifier(net, 5)
    batches = [
        {
            "images": np.full((2, 16, 16, 3), width, "uint8"),
            "labels": np.tile(np.arange(width, dtype="int32"), (2, 1)),
            "label_weights": np.full((2, width), 0.25, "float32"),
        }
        for width in (2, 2, 3)
    ]
    model.compile("sgd")
    losses = [model.test_on_batch(batch) for batch in batches]
    found = model.evaluate(_Data(batches), verbose=0)
    np.testing.assert_allclose(found, np.mean(losses), rtol=1e-5)
    truth = {
        "boxes": np.float32([[[1, 2, 3, 4]], [[0, 0, 9, 9]]]),
        "labels": np.int32([[1], [-1]]),
        "ignored": np.array([[True], [False]]),
    }
    wider = transfer.FasterRCNN.widened(None, truth)
    expected = {
        "boxes": [[[1, 2, 3, 4], [0] * 4], [[0, 0, 9, 9], [0] * 4]],
        "labels": [[1, -1], [-1, -1]],
        "ignored": [[True, False], [False, False]],
    }
    assert {key: rows.tolist() for key, rows in wider.items()} == expected


def test_a_pydataset_of_other_sizes_is_told_in_a_sentence(net):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Other backends trace each size.")
    pairs = [
        (np.zeros((2, size, 16, 3), "uint8"), np.zeros((2, 1), "int32"))
        for size in (16, 16, 32)
    ]
    model = MultiLabelClassifier(net, 5)
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"\(2, 32, 16, 3\) after \(None, 16"):
        model.fit(_Data(pairs), verbose=0)


@pytest.mark.parametrize("kind", [Classifier, MultiLabelClassifier])
def test_ids_in_a_column_are_ids(kind, net, batches):
    """`(N,)` and `(N, 1)` mean the same, one after the other, in any form."""
    model = kind(net, 5)
    model.compile(keras.optimizers.SGD(0.0))
    x, ids = batches[0]["images"], np.int32([0, 1, 4, 2])
    column = ids[:, None]
    dicts = [{"images": x, "labels": y} for y in (ids, column)]
    expected = model.test_on_batch(x, ids)
    expected = expected[0] if isinstance(expected, list) else expected
    for given in (
        [x, ids],
        [x, column],
        [dicts],
        [dicts[::-1]],
        [_Data([(x, ids), (x, column)])],
        [_Data(dicts)],
        [_Data([(x, column), (x, ids)])],
        [iter([(x, ids), (x, column)])],
        [iter(dicts)],
        [x, ids.tolist()],
    ):
        steps = 2 if hasattr(given[0], "__next__") else None
        history = model.fit(*given, steps_per_epoch=steps, verbose=0).history
        np.testing.assert_allclose(history["loss"], [expected], rtol=1e-5)
    model.train_on_batch(x, ids)
    model.train_on_batch(x, column)


def test_labels_may_have_weights_in_one_fit_and_none_in_the_next(net, batches):
    model = _model(net)
    x, ids = _pairs(batches)[0]
    ids = np.unique(ids, axis=1)[:, :1]  # Each label once.
    expected = model.test_on_batch(x, ids)
    ones = np.ones(ids.shape, "float32")
    weighted = {"images": x, "labels": ids, "label_weights": ones}
    for batch in ({"images": x, "labels": ids}, weighted) * 2:
        found = model.fit([batch], verbose=0).history["loss"]
        np.testing.assert_allclose(found, [expected], rtol=1e-5)
        found = model.evaluate([batch], verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_ids_that_are_no_class_are_told_in_a_sentence(net, plain_backbone):
    tf = pytest.importorskip("tensorflow")
    x = np.zeros((2, 16, 16, 3), "uint8")
    right, wrong = np.int32([1, 2]), np.int32([1, 9])
    masks = [np.full((2, 16, 16, 1), value, "uint8") for value in (1, 9)]
    for model, key, *targets in (
        (Classifier(net, 3), "labels", right, wrong),
        (MultiLabelClassifier(net, 3), "labels", right, wrong),
        (
            transfer.DeepLabASPP(plain_backbone, 3, output_stride=4),
            "segmentation_masks",
            *masks,
        ),
    ):
        model.compile("sgd")
        pairs = [(x, y) for y in targets]
        dicts = [{"images": x, key: y} for y in targets]
        on_device = [
            {"images": x, key: keras.ops.convert_to_tensor(y)} for y in targets
        ]
        for batches in (
            *(_tf_data(tf, batches) for batches in (pairs, dicts)),
            *(_Data(batches) for batches in (pairs, dicts, on_device)),
            iter(pairs),
            dicts,
            on_device,
        ):
            with pytest.raises(ValueError, match=r"in 0\.\.2\b.*[^0-9]9\b"):
                model.fit(batches, verbose=0)
            with pytest.raises(ValueError, match=r"in 0\.\.2\b.*[^0-9]9\b"):
                model.evaluate(x, targets[1], verbose=0)


def _tf_data(tf, batches):
    """Batches one after another, of no known shape but their rank."""
    spec = keras.tree.map_structure(
        lambda array: tf.TensorSpec([None] * array.ndim, array.dtype),
        batches[0],
    )
    return tf.data.Dataset.from_generator(
        lambda: iter(batches), output_signature=spec
    )


def test_masks_and_boxes_of_tf_data_are_looked_at(
    tiny_backbone, plain_backbone
):
    """As in all other forms: 255 for objects, and boxes in 0..1."""
    tf = pytest.importorskip("tensorflow")
    x = np.zeros((2, 16, 16, 3), "uint8")
    masks = np.zeros((2, 16, 16, 1), "uint8")
    masks[:, :8] = 255
    model = transfer.DeepLabASPP(plain_backbone, 2, output_stride=4)
    model.compile("sgd")
    for batch in ((x, masks), {"images": x, "segmentation_masks": masks}):
        with pytest.warns(UserWarning, match=r"give `masks // 255`"):
            model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    boxes = {
        "boxes": np.float32([[[0.1, 0.1, 0.5, 0.5]]] * 2),
        "labels": np.zeros((2, 1), "int32"),
    }
    model = transfer.FasterRCNN(
        tiny_backbone, 1, anchor_base=16, num_proposals=4, rpn_filters=8
    )
    model.compile("sgd")
    for batch in ((x, boxes), {"images": x, "bounding_boxes": boxes}):
        with pytest.raises(ValueError, match="must be in pixels, not in 0"):
            model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)


@pytest.mark.parametrize("call", ["fit", "evaluate"])
def test_multi_hot_rows_of_unknown_width_are_refused(call, net):
    """Also in a later batch than the first."""
    tf = pytest.importorskip("tensorflow")
    x = np.zeros((3, 16, 16, 3), "uint8")
    ids = np.int32([[3], [0], [4]])
    batches = [
        {"images": x, "labels": ids},
        {"images": x, "labels": np.eye(5, dtype="int32")[ids[:, 0]]},
    ]
    with pytest.raises(ValueError, match=r"multi-hot.*jft.data.label_ids"):
        getattr(_model(net), call)(_tf_data(tf, batches), verbose=0)


@pytest.mark.parametrize("kind", [Classifier, MultiLabelClassifier])
def test_a_batch_with_too_few_or_no_targets_is_told(kind, net):
    model = kind(net, 3)
    model.compile("sgd")
    x = np.zeros((2, 16, 16, 3), "uint8")
    batch = {"images": x, "labels": np.int32([1])}
    for given in ([x, batch["labels"]], [batch], [[batch]], [_Data([batch])]):
        with pytest.raises(ValueError, match="2 images, targets of shape"):
            model.fit(*given, verbose=0)
    for scalar in (3, "cat"):
        with pytest.raises(ValueError, match="an entry for each image"):
            model.fit(x, scalar, verbose=0)


def test_an_error_of_one_call_is_not_told_in_the_next(net):
    model = Classifier(net, 3)
    model.compile("sgd")
    x = np.zeros((2, 16, 16, 3), "uint8")
    with pytest.raises(ValueError, match="class ids"):
        model.fit({"images": x, "labels": np.int32([0, 9])}, verbose=0)
    stop = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.fit(x, np.int32([0, 1]), verbose=0, callbacks=[stop])


@pytest.mark.parametrize("kind", ["multi-label", "mask"])
def test_class_weight_is_refused_where_images_have_no_one_class(
    kind, net, plain_backbone
):
    x = np.zeros((2, 16, 16, 3), "uint8")
    if kind == "mask":
        model = transfer.DeepLabASPP(plain_backbone, 2, output_stride=4)
        y = np.zeros((2, 16, 16, 1), "uint8")
    else:
        model, y = MultiLabelClassifier(net, 2), np.int32([0, 1])
    model.compile("sgd")
    with pytest.raises(ValueError, match="`class_weight` weighs"):
        model.fit(x, y, class_weight={0: 1.0, 1: 2.0}, verbose=0)


# === Copies and files ===


def test_copies_of_a_compiled_model_predict_what_it_does(net, batches):
    model = _model(net)
    images, labels = _pairs(batches)[0]
    expected = model.predict(images, verbose=0)
    clone = keras.models.clone_model(model)
    assert clone.compiled
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(
        clone.predict(images, verbose=0), expected, atol=1e-5
    )
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(again) is MultiLabelClassifier
        np.testing.assert_allclose(
            again.predict(images, verbose=0), expected, atol=1e-5
        )


def test_copies_keep_class_and_compilation_where_a_clone_cannot(net, batches):
    model = _model(net)
    model.compile("sgd", l2=1e-4, multipliers={"head": 10.0})
    copied = copy.deepcopy(model)
    assert type(copied) is MultiLabelClassifier
    config = copied.get_compile_config()
    assert (config["l2"], config["multipliers"]) == (1e-4, {"head": 10.0})
    with pytest.raises(TypeError, match="'l2'"):
        keras.models.clone_model(model)
    again = type(model).from_config(model.get_config())
    assert type(again) is MultiLabelClassifier
    assert not again.compiled
    again.set_weights(model.get_weights())
    images = batches[0]["images"]
    np.testing.assert_allclose(
        again.predict(images, verbose=0),
        model.predict(images, verbose=0),
        atol=1e-5,
    )


def test_a_detector_says_how_it_is_copied():
    from keras_jft.backbones import ResNet

    backbone = ResNet(
        (1, 1, 1, 1), width=8, stem="small", image_shape=(32, 32, 3)
    )
    model = transfer.FasterRCNN(
        backbone, 1, anchor_base=16, num_proposals=4, rpn_filters=8
    )
    with pytest.raises(ValueError, match=r"from_config\(model.get_config"):
        keras.models.clone_model(model)
    again = transfer.FasterRCNN.from_config(model.get_config())
    again.set_weights(model.get_weights())
    assert again.get_config() == model.get_config()
    paths = [[weight.path for weight in m.weights] for m in (again, model)]
    assert paths[0] == paths[1]


def test_a_whole_model_is_not_saved_where_it_cannot_be_loaded(
    tiny_backbone, tmp_path
):
    for model in (_model(tiny_backbone), tiny_backbone):
        with pytest.raises(ValueError, match=r"saved as `.keras`"):
            model.save(tmp_path / "model.h5")
        model.save_weights(tmp_path / "model.weights.h5")
