import dataclasses

import keras
import numpy as np
import pytest

from keras_jft import training, transfer
from keras_jft.data.transforms import Resize
from keras_jft.transfer import RECIPES, Classifier, DeepLabASPP, recipe

pytestmark = pytest.mark.ops


def _rates(arguments, steps):
    rate = arguments["optimizer"]._learning_rate
    return [float(rate(step)) for step in steps]


def test_imagenet_falls_to_a_tenth_every_30_epochs():
    steps = (0, 1_199_999, 1_200_000, 2_400_000, 3_600_000)
    factors = np.array([1, 1, 0.1, 0.01, 0.001])
    for name, peak, last in (
        ("imagenet", 5e-2, 5_000_000),
        ("imagenet_finetune", 1e-3, 4_000_000),
    ):
        arguments = recipe("classification", name)
        np.testing.assert_allclose(
            _rates(arguments, steps), peak * factors, rtol=1e-5
        )
        assert isinstance(arguments["optimizer"], keras.optimizers.SGD)
        assert arguments["optimizer"].momentum == 0.9
        assert arguments["l2"] == 1e-4
        config = RECIPES["classification"][name]
        assert (config.steps, config.batch_size) == (last, 32)


def test_voc2012_is_a_polynomial_over_30000_steps(tiny_backbone):
    arguments = recipe("deeplab_aspp", "voc2012")
    np.testing.assert_allclose(
        _rates(arguments, (0, 15_000, 30_000)),
        # 1e-3 * 0.5 ** 0.9
        [1e-3, 0.535887e-3, 0],
        rtol=1e-4,
    )
    assert arguments["optimizer"].momentum == 0.9
    assert arguments["l2"] == 5e-4
    assert RECIPES["deeplab_aspp"]["voc2012"].batch_size == 6
    model = DeepLabASPP(tiny_backbone, 21, output_stride=4, rates=(1, 2))
    model.compile(**arguments)
    assert model._multipliers == {"aspp": 10.0, "aspp/bias": 20.0}


def test_voc2012_warps_to_513_and_freezes_statistics(tiny_backbone):
    config = RECIPES["deeplab_aspp"]["voc2012"]
    assert (config.dataset, config.split) == ("voc_segmentation", "trainaug")
    assert config.transforms == (Resize((513, 513)),)
    assert (config.steps, config.image_size) == (30_000, (513, 513))
    small = dataclasses.replace(
        config,
        transforms=(),
        image_size=(16, 16),
        head_options={**config.head_options, "output_stride": 4},
    )
    model = transfer.build(small, tiny_backbone)
    assert model.backbone.bn_mode == "affine" and model.num_classes == 21
    kept = [variable.path for variable in model.non_trainable_variables]
    assert all("moving" in path for path in kept)


def test_v3_plus_follows_its_paper():
    arguments = recipe("deeplab_v3_plus", "voc2012")
    np.testing.assert_allclose(
        _rates(arguments, (0, 15_000, 30_000)),
        # 7e-3 * 0.5 ** 0.9
        [7e-3, 3.751209e-3, 0],
        rtol=1e-4,
        atol=1e-12,
    )
    config = RECIPES["deeplab_v3_plus"]["voc2012"]
    assert (config.steps, config.batch_size) == (30_000, 16)


@pytest.mark.parametrize(
    "name, peak, fall, last",
    [
        ("coco", 4e-4, 2_500_000, 3_000_000),
        ("coco_frozen", 4e-4, 900_000, 1_500_000),
        ("voc", 3e-4, 500_000, 700_000),
    ],
)
def test_detection_falls_once_and_clips_each_variable(name, peak, fall, last):
    arguments = recipe("faster_rcnn", name)
    np.testing.assert_allclose(
        _rates(arguments, (0, fall - 1, fall, last)),
        [peak, peak, peak / 10, peak / 10],
        rtol=1e-5,
    )
    optimizer = arguments["optimizer"]
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, False)
    assert (optimizer.clipnorm, optimizer.global_clipnorm) == (10.0, None)
    assert not arguments["l2"]
    config = RECIPES["faster_rcnn"][name]
    assert (config.steps, config.batch_size) == (last, 1)
    assert config.transforms == "detection"
    assert config.mode == ("frozen" if "frozen" in name else "fine_tuned")


@pytest.mark.parametrize(
    "head, name", [(head, name) for head in RECIPES for name in RECIPES[head]]
)
def test_every_recipe_belongs_to_a_head_and_compiles(head, name):
    assert head in transfer.HEADS
    assert RECIPES[head][name].head == head
    arguments = recipe(head, name, steps=100)
    inputs = keras.Input((2,))
    outputs = keras.layers.Dense(3, name="aspp_1")(inputs)
    training.Model(inputs, outputs).compile(**arguments)


def test_a_recipe_compiles_its_head(tiny_backbone):
    model = Classifier(tiny_backbone, 10)
    model.compile(**recipe("classification", "imagenet"))
    assert model.loss.name == "smoothed_crossentropy"


def test_unknown_recipes_are_refused():
    with pytest.raises(ValueError, match="`head` must be one of"):
        recipe("classifier", "imagenet")
    with pytest.raises(ValueError, match="`name` must be one of"):
        recipe("classification", "imagenet22k")
    with pytest.raises(ValueError, match="needs `steps`"):
        recipe("classification", "small")
