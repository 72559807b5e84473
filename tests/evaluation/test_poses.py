"""Crops back to images: poses found once each, truth of everyone, results."""

import json

import keras
import numpy as np
import pytest

import keras_jft as jft
from keras_jft.data.datasets import Info
from keras_jft.evaluation import poses

SIGMAS = np.full(4, 0.1)


def _pose(x, y, side=40.0):
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * side
    places = corners + [x, y]
    return np.concatenate([places, np.full((4, 1), 0.5)], axis=1)


def test_a_pose_found_twice_is_left_out_and_close_people_are_not():
    found = {
        # The second is the first again; the third stands half a body beside.
        "keypoints": np.stack([_pose(0, 0), _pose(2, 2), _pose(20, 0)]),
        "scores": np.array([0.5, 0.9, 0.4]),
        "boxes": np.array([[0, 0, 40, 40], [2, 2, 42, 42], [20, 0, 60, 40]]),
    }
    kept = poses._suppress(found, SIGMAS)
    assert kept["scores"].tolist() == [0.9, 0.4]
    np.testing.assert_array_equal(kept["keypoints"], found["keypoints"][[1, 2]])
    # By hand: d^2 = 8, area 1600, (2 sigma)^2 = 0.04.
    alike = np.exp(-8 / (2 * 1600 * 0.04))
    assert len(poses._suppress(found, SIGMAS, alike + 1e-6)["scores"]) == 3
    assert len(poses._suppress(found, SIGMAS, alike - 1e-6)["scores"]) == 2


def _row(image, box=(0, 0, 40, 40)):
    return {"image_ids": image, "keypoints": _pose(0, 0), "boxes": box}


def test_poses_come_together_by_image():
    rows = [_row(7), _row(9), _row(7, (2, 2, 42, 42))]
    found = {
        "keypoints": np.stack([_pose(0, 0), _pose(5, 5), _pose(0, 0)]),
        "scores": np.array([0.3, 0.8, 0.6]),
    }
    halves = [
        (rows[:2], {key: values[:2] for key, values in found.items()}),
        (rows[2:], {key: values[2:] for key, values in found.items()}),
    ]
    info = Info(num_examples=3, sigmas=tuple(SIGMAS))
    ((people, by_image),) = poses.by_image(halves, info)
    assert [len(image["keypoints"]) for image in people] == [2, 1]
    assert [image["scores"].tolist() for image in by_image] == [[0.6], [0.8]]
    # Where everyone is known, also of images in which nobody was found.
    everyone = {5: {"keypoints": _pose(0, 0)[None]}, 9: {}, 7: {}}
    info = Info(num_examples=3, sigmas=tuple(SIGMAS), people=everyone)
    ((people, by_image),) = poses.by_image(halves, info)
    assert people == [*everyone.values()]
    assert [len(image["scores"]) for image in by_image] == [0, 1, 1]


def test_results_are_in_the_format_of_coco(tmp_path):
    path = tmp_path / "results.json"
    found = [
        {"keypoints": np.ones((0, 2, 3)), "scores": []},
        {"keypoints": np.full((1, 2, 3), 1.5), "scores": [0.25]},
    ]
    poses.save_results(path, [3, 8], found, category_id=1)
    assert json.loads(path.read_text()) == [
        {
            "image_id": 8,
            "category_id": 1,
            "keypoints": [1.5] * 6,
            "score": 0.25,
        }
    ]


@pytest.fixture(scope="module")
def figures():
    """Six figures of the synthetic world."""
    return jft.data.cache(
        jft.data.load("synthetic", task="pose", num_examples=6, image_size=65)
    )


@pytest.mark.slow
def test_an_estimator_overfits_figures_of_the_synthetic_world(figures):
    crop = jft.data.transforms.CropPerson((65, 49))
    config = jft.evaluation.Config(
        task="pose", transforms=(crop,), batch_size=6
    )
    backbone = jft.ResNet(
        (1, 1, 1, 1),
        width=16,
        block="basic",
        stem="small",
        bn_momentum=0.8,
        image_shape=(65, 49, 3),
    )
    model = jft.PoseEstimator(backbone, 17, output_stride=4, radius=5.0)
    model.compile(keras.optimizers.Adam(0.01))
    before = jft.evaluation.run(config, model, figures)
    batches = jft.data.batches(figures, 6, transforms=(crop,), training=True)
    history = model.fit(
        batches.repeat(30),  # The rest of an epoch takes longer than a step.
        epochs=2,
        verbose=0,
        callbacks=[jft.evaluation.Evaluate(config, figures, every=2)],
    ).history
    assert before["pck"] < 0.3
    assert history["val_pck"][-1] > 0.9 and history["val_ap"][-1] > 0.6
    assert np.isnan(history["val_ap"][0]), "not measured"


@pytest.fixture
def estimator(plain_backbone):
    """`estimator()`: a small one with a flip test."""

    def make():
        return jft.PoseEstimator(
            plain_backbone.rebuild(),
            3,
            output_stride=4,
            radius=3.0,
            keypoint_names=("nose", "left_eye", "right_eye"),
            flip_test=True,
        )

    return make


def test_two_replicas_train_and_predict_like_one(estimator, rng):
    places = rng.uniform(2, 14, (6, 3, 2))
    batch = {
        "images": rng.integers(0, 256, (6, 16, 16, 3), "uint8"),
        "keypoints": np.concatenate(
            [places, np.full((6, 3, 1), 2)], axis=-1
        ).astype("float32"),
    }
    one = estimator()
    strategy = jft.training.strategy("mirrored", devices=["CPU:0", "CPU:1"])
    with strategy.scope():
        several = estimator()
        several.compile("sgd")
    one.compile("sgd")
    several.set_weights(one.get_weights())
    losses = [
        model.evaluate(batch, batch_size=6, verbose=0)
        for model in (one, several)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    found, expected = (
        model.predict(batch, batch_size=4, verbose=0)
        for model in (several, one)
    )
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], atol=1e-4)


def test_what_is_served_gives_what_predict_gives(estimator, rng, tmp_path):
    import tensorflow as tf

    model = estimator()
    images = rng.integers(0, 256, (3, 16, 16, 3), "uint8")
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    found = served.serve(images)
    expected = model.predict(images, verbose=0)
    assert expected.keys() == {"keypoints", "scores"}
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], atol=1e-4)


class _Crops(jft.data.Dataset):
    """Two people of image 5; of image 9, which has another, no crop."""

    def __init__(self):
        entry = {
            "boxes": np.float32([[0, 0, 16, 16]]),
            "labels": np.int32([0]),
            "keypoints": np.full((1, 3, 3), 2, "float32"),
            "areas": np.float32([256]),
            "ignored": np.array([False]),
        }
        self.info = Info(
            num_examples=2,
            label_names=("person",),
            keypoint_names=("nose", "left_eye", "right_eye"),
            sigmas=(0.1, 0.1, 0.1),
            people={5: entry, 9: entry},
        )
        self.entry = entry

    def ids(self, positions):
        return 100 + np.asarray(positions)

    def __getitem__(self, position):
        return {
            "images": np.zeros((16, 16, 3), "uint8"),
            "keypoints": self.entry["keypoints"][0],
            "bounding_boxes": self.entry,
            "image_ids": 5,
            "ids": 100 + position,
        }


def test_a_duplicate_may_be_an_image_without_a_crop(estimator):
    crop = jft.data.transforms.CropPerson((16, 16))
    config = jft.evaluation.Config(
        task="pose", transforms=(crop,), batch_size=2
    )
    scores = jft.evaluation.run(config, estimator(), _Crops(), duplicates=[9])
    assert scores["num_duplicates"] == 1
    # Nobody can be found in image 9: without it no score is lower.
    assert scores["ar_without_duplicates"] >= scores["ar"]
    with pytest.raises(ValueError, match="1 belong to no example"):
        jft.evaluation.run(config, estimator(), _Crops(), duplicates=[77])
