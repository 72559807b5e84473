import keras
import numpy as np
import pytest
from keras import ops
from scipy import signal

from keras_jft.backbones import ResNet
from keras_jft.transfer import DeepLabASPP

pytestmark = [pytest.mark.ops, pytest.mark.rewritten]


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Once is enough."
)
def test_the_head_has_the_published_number_of_parameters():
    backbone = ResNet(
        (1, 1, 1, 1), image_shape=(None, None, 3), output_stride=8
    )
    model = DeepLabASPP(backbone, 21)
    head = model.count_params() - backbone.count_params()
    assert head == 4 * (3 * 3 * 2048 * 21 + 21) == 1_548_372


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Once is enough."
)
def test_the_paper_s_size_gives_65_by_65_logits():
    # Units beyond the first of a stage leave sizes as they are.
    backbone = ResNet((1, 1, 1, 1), image_shape=(513, 513, 3))
    model = DeepLabASPP(backbone, 21)
    assert model.output_shape == (None, 65, 65, 21)
    assert model.output_stride == model.backbone.output_stride == 8


def test_branches_are_dilated_convolutions_that_add_up(tiny_backbone, rng):
    rates = (1, 2, 3)
    model = DeepLabASPP(tiny_backbone, 2, output_stride=4, rates=rates)
    images = rng.integers(0, 256, (1, 16, 16, 3)).astype("float32")
    features = ops.convert_to_numpy(model.backbone(images))[0]
    expected = np.zeros((*features.shape[:2], 2))
    for rate in rates:
        layer = model.get_layer(f"aspp_{rate}")
        kernel = ops.convert_to_numpy(layer.kernel)
        dilated = np.zeros((2 * rate + 1, 2 * rate + 1, *kernel.shape[2:]))
        dilated[::rate, ::rate] = kernel
        for c in range(2):
            expected[..., c] += ops.convert_to_numpy(layer.bias)[c] + sum(
                signal.correlate2d(
                    features[..., f], dilated[..., f, c], mode="same"
                )
                for f in range(features.shape[-1])
            )
    logits = ops.convert_to_numpy(model(images))[0]
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_predict_gives_masks_of_the_size_of_the_images(tiny_backbone, rng):
    model = DeepLabASPP(tiny_backbone, 3, output_stride=4, rates=(1, 2))
    images = rng.integers(0, 256, (2, 16, 16, 3)).astype("uint8")
    masks = model.predict(images, verbose=0)
    assert masks.shape == (2, 16, 16) and masks.dtype == np.int32
    logits = model.predict(images, logits=True, verbose=0)
    assert logits.shape == (2, 4, 4, 3)
    np.testing.assert_array_equal(masks[:, ::4, ::4], logits.argmax(-1))


def test_every_argument_survives_saving(tiny_backbone, tmp_path, rng):
    model = DeepLabASPP(
        tiny_backbone,
        3,
        output_stride=2,
        rates=(1, 5),
        bn_mode="affine",
        name="other",
    )
    model.compile("sgd", l2=0.1, multipliers={"aspp": 10.0})
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert (again.num_classes, again.output_stride) == (3, 2)
    assert (again.rates, again.name) == ((1, 5), "other")
    assert again.bn_mode == again.backbone.bn_mode == "affine"
    assert again.backbone.get_config() == model.backbone.get_config()
    images = rng.integers(0, 256, (2, 16, 16, 3)).astype("uint8")
    np.testing.assert_array_equal(
        model.predict(images, logits=True, verbose=0),
        again.predict(images, logits=True, verbose=0),
    )


def test_a_backbone_of_another_stride_is_rebuilt_with_its_weights(
    tiny_backbone,
):
    model = DeepLabASPP(tiny_backbone, 3, output_stride=4)
    assert tiny_backbone.output_stride == 8
    assert model.backbone.output_stride == 4
    for ours, theirs in zip(
        model.backbone.weights, tiny_backbone.weights, strict=True
    ):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs)
        )


def test_frozen_statistics_stay_while_scales_and_kernels_train(
    tiny_backbone, rng
):
    model = DeepLabASPP(
        tiny_backbone, 3, output_stride=4, rates=(1, 2), bn_mode="affine"
    )
    before = {v.path: ops.convert_to_numpy(v) for v in model.variables}
    model.compile("sgd")
    batch = {
        "images": rng.integers(0, 256, (4, 16, 16, 3)).astype("uint8"),
        "segmentation_masks": rng.integers(0, 3, (4, 16, 16, 1), "uint8"),
    }
    model.fit(batch, verbose=0)
    for variable in model.variables:
        same = np.array_equal(
            ops.convert_to_numpy(variable), before[variable.path]
        )
        assert same == ("moving" in variable.path), variable.path


def test_the_head_has_no_batch_normalization_and_starts_as_xavier():
    backbone = ResNet(
        (1, 1, 1, 1), image_shape=(None, None, 3), output_stride=8
    )
    model = DeepLabASPP(backbone, 21)
    head = [x for x in model.layers if x.name.startswith("aspp")]
    assert [type(x).__name__ for x in head] == ["Conv2D"] * 4 + ["Add"]
    assert [x.dilation_rate[0] for x in head[:4]] == [6, 12, 18, 24]
    limit = np.sqrt(6 / (9 * 2048 + 9 * 21))
    for branch in head[:4]:
        kernel, bias = map(ops.convert_to_numpy, (branch.kernel, branch.bias))
        assert 0.99 * limit < abs(kernel).max() <= limit
        assert (bias == 0).all()
