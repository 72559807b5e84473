"""Images that `fit` cannot use are told in a sentence, whatever form."""

import itertools
import warnings

import keras
import numpy as np
import pytest
import scipy.sparse

from keras_jft.transfer import Classifier

pytestmark = pytest.mark.ops

LABELS = np.array([0, 1, 2, 0])


class _Data(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


@pytest.fixture
def model():
    images = keras.Input((8, 8, 3), name="images")
    x = keras.layers.Conv2D(4, 3, strides=4)(images)
    model = Classifier(keras.Model(images, x), 3)
    model.compile(keras.optimizers.SGD(0.0))
    return model


def _tf_data(images):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((images, LABELS)).batch(2)


def _batch(images):
    return {"images": images, "labels": LABELS}


FORMS = {
    "arrays": lambda x: (x, LABELS),
    "dict": lambda x: (_batch(x),),
    "list of dicts": lambda x: ([_batch(x)] * 2,),
    "generator of pairs": lambda x: (iter([(x, LABELS)] * 2),),
    "generator of dicts": lambda x: (iter([_batch(x)] * 2),),
    "PyDataset of pairs": lambda x: (_Data([(x, LABELS)] * 2),),
    "tf.data": lambda x: (_tf_data(x),),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("low, high", [(-1, 1), (0, 256), (-1, 200)])
def test_pixels_outside_0_to_255_are_refused(form, low, high, model):
    images = np.zeros((4, 8, 8, 3), "float32")
    images[:, 0, 0], images[:, 1, 1] = low, high
    with pytest.raises(ValueError, match=rf"values in {low}\.\.{high}\. Undo"):
        model.fit(*FORMS[form](images), verbose=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["float32", "float16", "bool"])
def test_pixels_in_0_to_1_are_warned_of(form, kind, model):
    images = np.zeros((4, 8, 8, 3), kind)
    images[:, 0, 0], images[:, 1, 1] = 0.5, 1
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")  # As for users: each text once.
        model.fit(*FORMS[form](images), verbose=0)
    told = [str(w.message) for w in told if "multiply by 255" in str(w.message)]
    assert len(told) == 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["float32", "bool", "int64"])
def test_black_images_are_no_sign_of_another_range(form, kind, model):
    """Warnings are errors here."""
    for images in (
        np.zeros((4, 8, 8, 3), kind), np.full((4, 8, 8, 3), 255, "float32"),
    ):  # fmt: skip
        model.fit(*FORMS[form](images), steps_per_epoch=1, verbose=0)


@pytest.mark.parametrize(
    "shape, remedy",
    [
        ((4, 8, 8), r"np.repeat\(x\[..., None\], 3"),
        ((4, 8, 8, 1), r"np.repeat\(x, 3"),
        ((4, 8, 8, 4), r"x\[..., :3\]"),
        ((4, 3, 8, 8), r"np.moveaxis\(x, 1, -1\)"),
        ((4, 8, 3), "one image"),
        ((4, 192), "as they are shown"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_other_axes_are_refused(form, shape, remedy, model):
    if len(shape) == 3 and "dict" in form:
        remedy = "examples, not batches"
    with pytest.raises(ValueError, match=remedy) as error:
        model.fit(*FORMS[form](np.zeros(shape, "uint8")), verbose=0)
    assert len(str(error.value)) < 300


def test_examples_are_not_batches_in_any_form(model):
    images = np.zeros((4, 8, 8, 3), "uint8")
    examples = [
        {"images": x, "labels": y} for x, y in zip(images, LABELS, strict=True)
    ]
    for given in (examples, iter(examples), _Data(examples), examples[0]):
        with pytest.raises(ValueError, match=r"examples, not batches.*iterate"):
            model.fit(given, verbose=0)


def test_a_tf_data_set_that_is_not_batched_is_refused(model):
    pytest.importorskip("tensorflow")
    pairs = _tf_data(np.zeros((4, 8, 8, 3), "uint8")).unbatch()
    with pytest.raises(ValueError, match=r"`\.batch\(32\)`"):
        model.fit(pairs, verbose=0)
    dicts = pairs.map(lambda x, y: {"images": x, "labels": y})
    with pytest.raises(ValueError, match="examples, not batches"):
        model.fit(dicts, verbose=0)


def test_lists_of_pixels_and_generators_of_nothing_are_refused(model):
    images = np.zeros((4, 8, 8, 3), "uint8")
    for given in (images.tolist(), list(images)):
        with pytest.raises(ValueError, match=r"list of 4.*np\.array") as error:
            model.fit(given, LABELS, verbose=0)
        assert len(str(error.value)) < 300
    with pytest.raises(ValueError, match="generator that yields none"):
        model.fit(itertools.chain([]), verbose=0)
    sparse = scipy.sparse.csr_matrix(np.eye(4, 3))
    with pytest.raises(ValueError, match="sparse.*label_ids"):
        model.fit(images, sparse, verbose=0)


@pytest.mark.parametrize("size", [0, -1, 2.5, "4", True])
def test_a_batch_size_is_a_whole_number(size, model):
    images = np.zeros((4, 8, 8, 3), "uint8")
    for call in (
        lambda: model.fit(images, LABELS, batch_size=size, verbose=0),
        lambda: model.fit(images, LABELS, size),
        lambda: model.evaluate(images, LABELS, batch_size=size, verbose=0),
        lambda: model.predict(images, batch_size=size, verbose=0),
    ):
        with pytest.raises(ValueError, match="`batch_size` must be a whole"):
            call()
    model.fit(images, LABELS, batch_size=4.0, verbose=0)
    assert int(model.optimizer.iterations) == 1
