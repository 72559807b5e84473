"""`PoseEstimator`: sizes, what it learns, what survives, what it refuses."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_jft as jft
from keras_jft.backbones import ResNet
from keras_jft.transfer import PoseEstimator
from keras_jft.transfer.heads.pose import decoding
from keras_jft.transfer.heads.upsampling import upsample

pytestmark = pytest.mark.ops
NAMES = ("head_top", "left_hip", "right_hip")
# Sooner than a graph where a single step is taken; JAX compiles each operation.
EAGER = keras.backend.backend() == "tensorflow"


@pytest.fixture
def crops(rng):
    """Four crops of 16 px with a bright spot at each of three keypoints."""
    places = rng.uniform(2, 14, (4, 3, 2))
    keypoints = np.concatenate([places, np.full((4, 3, 1), 2)], axis=-1)
    images = np.full((4, 16, 16, 3), 20, "uint8")
    for image, points in zip(images, places, strict=True):
        for channel, (x, y) in enumerate(points):
            image[int(y), int(x), channel] = 255
    return {"images": images, "keypoints": keypoints.astype("float32")}


def _small(backbone, **options):
    options = {"output_stride": 2, "radius": 3.0, **options}
    model = PoseEstimator(backbone, 3, **options)
    model.run_eagerly = EAGER
    return model


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Once is enough."
)
# As many units of conv4 as in ResNet-50 and ResNet-101.
@pytest.mark.parametrize("units, unit", [(6, 2), (23, 9)])
def test_the_paper_s_size(units, unit):
    backbone = ResNet((1, 1, units, 1), image_shape=(353, 257, 3))
    model = PoseEstimator(backbone)
    # 17 heat maps, 34 offsets, 17 auxiliary heat maps.
    assert model.output_shape == (None, 45, 33, 68)
    assert model.image_size == (353, 257) and model.radius == 25
    head = 2048 * 51 + 51 + 1024 * 17 + 17
    assert model.count_params() - backbone.count_params() == head
    middle = model.get_layer("head_auxiliary").input
    assert middle._keras_history.operation.name == f"conv4_{unit}_out"
    assert middle.shape == (None, 45, 33, 1024)


def test_auxiliary_maps_lie_where_the_others_do(tiny_backbone, crops):
    # conv4 has stride 4, conv5 8.
    model = _small(tiny_backbone, output_stride=8)
    layer = model.get_layer("head_auxiliary")
    features = keras.Model(model.input, layer.input)(crops["images"])
    assert features.shape[1:3] == (4, 4)
    outputs = ops.convert_to_numpy(model(crops["images"]))
    kernel, bias = (
        ops.convert_to_numpy(weight) for weight in (layer.kernel, layer.bias)
    )
    every_other = ops.convert_to_numpy(features)[:, ::2, ::2]
    np.testing.assert_allclose(
        outputs[..., 9:], every_other @ kernel[0, 0] + bias, atol=1e-3
    )


def test_an_untrained_heat_map_is_about_the_share_of_a_disk(tiny_backbone):
    model = _small(tiny_backbone)
    bias = ops.convert_to_numpy(model.get_layer("head_heatmaps").bias)
    np.testing.assert_allclose(
        1 / (1 + np.exp(-bias)), np.pi * 9 / 256, rtol=1e-5
    )


def test_it_finds_the_keypoints_that_it_was_trained_on(tiny_backbone, crops):
    model = _small(tiny_backbone)
    model.compile(keras.optimizers.Adam(0.01))
    # One epoch: the rest of an epoch takes longer than a step.
    steps = keras.tree.map_structure(lambda x: np.concatenate([x] * 60), crops)
    model.fit(steps, batch_size=4, shuffle=False, verbose=0)
    poses = model.predict(crops, verbose=0)
    assert poses["keypoints"].shape == (4, 3, 3)
    distances = np.linalg.norm(
        poses["keypoints"][..., :2] - crops["keypoints"][..., :2], axis=-1
    )
    assert distances.max() < 1.5
    np.testing.assert_allclose(
        poses["scores"], poses["keypoints"][..., 2].mean(axis=1), rtol=1e-5
    )
    heat = model.heatmaps(crops["images"])
    assert heat.shape == (4, 3, 16, 16)
    for image in range(4):
        for k, (x, y, _) in enumerate(crops["keypoints"][image]):
            hot = heat[image, k, int(y), int(x)]
            assert hot > heat[image, k].mean()


def test_predict_decodes_what_calling_gives(tiny_backbone, crops):
    model = _small(tiny_backbone)
    outputs = ops.convert_to_numpy(model(crops["images"]))
    assert outputs.shape == (4, 8, 8, 12)
    np.testing.assert_allclose(
        model.predict(crops, logits=True, verbose=0), outputs, atol=1e-4
    )
    pixels = ops.convert_to_numpy(upsample(ops.array(outputs), (16, 16), 2))
    heat = 1 / (1 + np.exp(-pixels[..., :3].transpose(0, 3, 1, 2)))
    offsets = pixels[..., 3:9].reshape(4, 16, 16, 3, 2)
    scores = decoding.vote(
        ops.array(heat), ops.array(offsets.transpose(0, 3, 4, 1, 2)), 3.0
    )
    expected = decoding.best(scores)
    for key, found in model.predict_on_batch(crops["images"]).items():
        np.testing.assert_allclose(
            found, ops.convert_to_numpy(expected[key]), atol=1e-4
        )


def test_the_flip_test_sees_a_mirror_image_as_its_mirror(tiny_backbone, crops):
    model = _small(tiny_backbone, keypoint_names=NAMES, flip_test=True)
    plain = _small(tiny_backbone, keypoint_names=NAMES)
    plain.set_weights(model.get_weights())
    images = crops["images"]
    poses = model.predict(images, verbose=0)
    mirrored = model.predict(images[:, :, ::-1], verbose=0)
    order = [0, 2, 1]
    np.testing.assert_allclose(
        mirrored["keypoints"][:, order, 0], 16 - poses["keypoints"][..., 0]
    )
    np.testing.assert_allclose(
        mirrored["keypoints"][:, order, 1:],
        poses["keypoints"][..., 1:],
        atol=1e-5,
    )
    once = plain.predict(images, verbose=0)["scores"]
    assert not np.allclose(once, poses["scores"])
    assert model.predict(images, logits=True, verbose=0).shape[0] == 4


@pytest.mark.parametrize(
    "options",
    [
        {"keypoint_names": ("Head Top", "LHip", "RHip")},
        {"keypoint_names": ("a", "b", "c"), "flip_pairs": [("c", "b")]},
        {"flip_pairs": ((1, 2),)},
    ],
)
def test_the_flip_test_takes_other_spellings_and_pairs(
    tiny_backbone, crops, options
):
    usual = _small(tiny_backbone, keypoint_names=NAMES, flip_test=True)
    other = _small(tiny_backbone, flip_test=True, **options)
    other.set_weights(usual.get_weights())
    expected = usual.predict(crops["images"], verbose=0)["keypoints"]
    found = other.predict(crops["images"], verbose=0)["keypoints"]
    np.testing.assert_array_equal(found, expected)


def test_every_argument_survives_saving(tiny_backbone, crops, tmp_path):
    model = _small(
        tiny_backbone,
        radius=2.5,
        loss_weights=(3.0, 2.0),
        keypoint_names=NAMES,
        flip_test=True,
        flip_pairs=[("left_hip", "right_hip")],
        name="other",
    )
    model.compile("sgd", run_eagerly=EAGER)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    assert (again.num_keypoints, again.output_stride) == (3, 2)
    assert (again.radius, again.loss_weights) == (2.5, (3.0, 2.0))
    assert (again.keypoint_names, again.flip_test) == (NAMES, True)
    assert [*map(tuple, again.flip_pairs)] == [("left_hip", "right_hip")]
    assert again.loss.get_config()["weights"] == [3.0, 2.0]
    expected = model.predict(crops, verbose=0)
    for key, found in again.predict(crops, verbose=0).items():
        np.testing.assert_array_equal(found, expected[key])


def test_people_in_the_background_reach_the_loss(tiny_backbone, crops):
    model = _small(tiny_backbone)
    model.compile("sgd", run_eagerly=EAGER)
    boxes = np.tile(np.float32([0, 0, 16, 16]), (4, 2, 1))
    others = np.stack([crops["keypoints"], crops["keypoints"][::-1]], axis=1)
    entry = {"boxes": boxes, "labels": np.zeros((4, 2), "int32")}
    batch = {**crops, "bounding_boxes": {**entry, "keypoints": others}}
    people = ops.convert_to_numpy(model.targets(batch))
    np.testing.assert_array_equal(people, others)
    alone = model.evaluate(crops, verbose=0, return_dict=True)["loss"]
    excluded = model.evaluate(batch, verbose=0, return_dict=True)["loss"]
    assert excluded < alone
    # Boxes without keypoints say nothing.
    batch["bounding_boxes"] = entry
    assert ops.convert_to_numpy(model.targets(batch)).shape == (4, 1, 3, 3)


def test_bad_arguments_and_keypoints_are_refused(tiny_backbone, crops):
    with pytest.raises(ValueError, match=r"crops of one size.*None"):
        PoseEstimator(ResNet((1, 1, 1, 1), width=16), 3)
    with pytest.raises(ValueError, match="`radius` must be above 0"):
        _small(tiny_backbone, radius=0)
    with pytest.raises(ValueError, match="a side of the crop, 16 pixels high"):
        _small(tiny_backbone, radius=17)
    with pytest.raises(ValueError, match="must name every keypoint.*0 names"):
        _small(tiny_backbone, flip_test=True)
    lone = {"keypoint_names": ("a", "b", "left_ear")}
    assert _small(tiny_backbone, **lone).flip_pairs is None
    with pytest.raises(ValueError, match=r"\['left_ear'\].*`flip_pairs`"):
        _small(tiny_backbone, flip_test=True, **lone)
    with pytest.raises(ValueError, match="at most once"):
        _small(tiny_backbone, flip_pairs=[(0, 0)])
    model = _small(tiny_backbone)
    model.compile("sgd", run_eagerly=EAGER)
    crops["keypoints"] = crops["keypoints"][:, :2]
    with pytest.raises(ValueError, match=r"3 keypoints.*\(4, 2\)"):
        model.fit(crops, verbose=0)


def test_crops_of_another_size_are_refused(tiny_backbone):
    model = _small(tiny_backbone)
    outputs = model.predict(np.zeros((1, 16, 16, 3), "uint8"), logits=True)
    with pytest.raises(ValueError, match=r"Crops must be \(16, 16\)"):
        model.decode(ops.array(outputs), np.zeros((1, 20, 12, 3)))


def test_a_keypoint_that_is_nan_stops_the_run(tiny_backbone, crops):
    model = _small(tiny_backbone)
    model.compile("sgd", run_eagerly=EAGER)
    crops["keypoints"][1, 2, 0] = np.nan
    with pytest.raises(FloatingPointError):
        model.fit(crops, verbose=0)


def test_mixed_precision_keeps_outputs_in_float32(crops):
    with jft.training.dtype_policy("mixed_bfloat16"):
        backbone = ResNet(
            (1, 1, 1, 1),
            width=16,
            block="basic",
            stem="small",
            image_shape=(16, 16, 3),
        )
        model = _small(backbone)
    model.compile("sgd", run_eagerly=EAGER)
    model.fit(crops, verbose=0)
    assert model.output.dtype == "float32"
    assert np.isfinite(model.predict(crops, verbose=0)["scores"]).all()
