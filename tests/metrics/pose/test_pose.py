"""COCO's ten numbers against pycocotools, PCK by hand, and bad input."""

import contextlib
import io
import json
import types

import numpy as np
import pytest
from pycocotools import coco, cocoeval

import keras_jft as jft
from keras_jft.evaluation import evaluator
from keras_jft.metrics import Pose, evaluate_pose

STATS = (
    "ap", "ap50", "ap75", "ap_medium", "ap_large",
    "ar", "ar50", "ar75", "ar_medium", "ar_large",
)  # fmt: skip


@pytest.fixture
def images(rng):
    """Images of 0 to 4 people: crowds, some unlabeled, of all sizes."""
    people = []
    for count in (3, 0, 1, 4, 2, 2):
        sides = rng.uniform(30, 300, (count, 1, 2))
        corners = rng.uniform(0, 100, (count, 1, 2))
        keypoints = np.zeros((count, 17, 3))
        keypoints[..., :2] = corners + sides * rng.uniform(size=(count, 17, 2))
        keypoints[..., 2] = rng.integers(0, 3, (count, 17))
        if count == 4:
            keypoints[1] = 0
        keypoints[keypoints[..., 2] == 0] = 0
        people.append(
            {
                "keypoints": keypoints,
                "boxes": np.concatenate([corners, corners + sides], 2)[:, 0],
                "areas": sides.prod(axis=(1, 2)) * 0.6,
                "ignored": np.arange(count) == 2,
            }
        )
    return people


@pytest.fixture
def poses(images, rng):
    """Noisy, doubled and missing poses of those people, and false ones."""
    found = []
    for number, people in enumerate(images):
        keypoints = people["keypoints"]
        noise = rng.normal(0, 4, (2, *keypoints.shape))
        keypoints = np.concatenate([*(keypoints + noise), keypoints[:1] + 50])
        keypoints = keypoints if number != 3 else keypoints[:0]
        scores = rng.uniform(size=len(keypoints))
        found.append({"keypoints": keypoints, "scores": scores})
    return found


def _by_files(images, poses, sigmas, tmp_path):
    """The numbers of pycocotools for the same people and poses."""
    annotations, results = [], []
    for image, (people, found) in enumerate(zip(images, poses, strict=True)):
        for person in range(len(people["keypoints"])):
            x1, y1, x2, y2 = people["boxes"][person].tolist()
            keypoints = people["keypoints"][person]
            annotations.append(
                {
                    "id": 100 + len(annotations),
                    "image_id": 7 * image,
                    "category_id": 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(people["areas"][person]),
                    "iscrowd": int(people["ignored"][person]),
                    "keypoints": keypoints.ravel().tolist(),
                    "num_keypoints": int((keypoints[:, 2] > 0).sum()),
                }
            )
        results += [
            {
                "image_id": 7 * image,
                "category_id": 1,
                "keypoints": pose.ravel().tolist(),
                "score": float(score),
            }
            for pose, score in zip(
                found["keypoints"], found["scores"], strict=True
            )
        ]
    truth = {
        "images": [{"id": 7 * image} for image in range(len(images))],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    for name, content in (("truth", truth), ("results", results)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    with contextlib.redirect_stdout(io.StringIO()):
        ours = coco.COCO(str(tmp_path / "truth.json"))
        theirs = ours.loadRes(str(tmp_path / "results.json"))
        evaluation = cocoeval.COCOeval(ours, theirs, "keypoints")
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("sigmas", [None, [0.15] * 17])
def test_ten_numbers_are_those_of_pycocotools(images, poses, sigmas, tmp_path):
    expected = _by_files(images, poses, sigmas, tmp_path)
    result = evaluate_pose(images, poses, sigmas=sigmas)
    assert [result[name] for name in STATS] == expected.tolist()
    assert 0 < result["ap"] < 1
    # Of twelve, crowds and the one without a labeled keypoint do not count.
    crowds = sum(int(image["ignored"].sum()) for image in images)
    assert result["counted"] == 12 - crowds - 1


def test_the_ap_of_a_size_that_nobody_has_is_nan():
    pose = np.zeros((1, 17, 3))
    pose[0, :, :2] = np.arange(17)[:, None] * 5
    pose[..., 2] = 2
    truth = [{"keypoints": pose, "areas": np.array([50.0**2])}]
    result = evaluate_pose(truth, [{"keypoints": pose, "scores": [0.5]}])
    assert [result["ap"], result["ap_medium"]] == pytest.approx([1, 1])
    assert np.isnan(result["ap_large"])
    missed = evaluate_pose(truth, [{"keypoints": [], "scores": []}])
    assert missed["ap"] == missed["ar"] == missed["pck"] == 0


def test_pck_measures_by_the_torso_or_the_box():
    names = ("left_shoulder", "right_hip", "neck")
    truth = np.float64([[[0, 0, 2], [30, 40, 2], [5, 5, 1]]])  # torso 50
    found = truth + [[[9.9, 0, 0], [0, 10.1, 0], [6, 8, 0]]]
    poses = [{"keypoints": found, "scores": [1.0]}]
    people = [{"keypoints": truth}]
    result = evaluate_pose(people, poses, keypoint_names=names)
    assert result["pck"] == 2 / 3
    assert result["per_class"].tolist() == [1, 0, 1]
    # The same in other words, or as it is told.
    for other in (
        {"keypoint_names": ("LShoulder", "Right Hip", "Neck")},
        {"sigmas": [0.1] * 3, "torso": (0, 1)},
        {
            "sigmas": [0.1] * 3,
            "keypoint_names": ("shoulder a", "hip b", "neck"),
            "torso": ("shoulder a", "hip b"),
        },
    ):
        result = evaluate_pose(people, poses, **other)
        assert result["per_class"].tolist() == [1, 0, 1]
    # Without a torso: 0.2 of the longer side, 40.
    result = evaluate_pose(people, poses, keypoint_names=names, torso=())
    assert result["per_class"].tolist() == [0, 0, 0]
    result = evaluate_pose(people, poses, sigmas=[0.1] * 3)
    assert result["per_class"].tolist() == [0, 0, 0]
    result = evaluate_pose(
        [{"keypoints": truth, "boxes": [[0, 0, 52, 20]]}],
        poses,
        sigmas=[0.1] * 3,
    )
    assert result["per_class"].tolist() == [1, 1, 1]
    # Half a torso: this person does not count.
    truth[0, 0] = 0
    result = evaluate_pose(people, poses, keypoint_names=names)
    assert np.isnan(result["pck"]) and result["counted"] == 1


def test_arrays_hold_one_person_per_image(rng):
    truth = np.concatenate(
        [rng.uniform(0, 50, (5, 17, 2)), np.full((5, 17, 1), 2)], axis=-1
    )
    metric = Pose(17)
    scores = np.linspace(0.2, 0.9, 5)
    metric.update(truth[:2], {"keypoints": truth[:2], "scores": scores[:2]})
    metric.update(truth[2:], {"keypoints": truth[2:], "scores": scores[2:]})
    assert metric.result()["ap"] == pytest.approx(1)
    assert metric.result()["counted"] == 5


@pytest.mark.parametrize(
    "change, message",
    [
        ({"keypoints": np.full((1, 17, 3), np.nan)}, "not finite"),
        ({"keypoints": np.ones((1, 14, 3))}, r"\(people, 17, 3\).*14"),
        ({"keypoints": np.full((1, 17, 3), 0.5)}, r"0, 1 or 2.*0\.5"),
        ({"boxes": [[0, 0, np.inf, 1]]}, "must be finite"),
        ({"areas": [1.0, 2.0]}, "one per person"),
    ],
)
def test_bad_truth_is_refused(change, message):
    truth = {"keypoints": np.ones((1, 17, 3)), **change}
    with pytest.raises(ValueError, match=message):
        Pose(17).update([truth], [{"keypoints": [], "scores": []}])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"keypoints": np.full((1, 17, 3), np.inf)}, "predictions.*finite"),
        ({"scores": [np.nan]}, "`scores` must be finite"),
        ({"scores": [0.1, 0.2]}, "one per pose of 1"),
    ],
)
def test_bad_predictions_are_refused(change, message):
    poses = {"keypoints": np.ones((1, 17, 3)), "scores": [0.5], **change}
    with pytest.raises(ValueError, match=message):
        Pose(17).update([{"keypoints": np.ones((1, 17, 3))}], [poses])


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="2 images, 1 prediction"):
        evaluate_pose([{}, {}], [{}])
    with pytest.raises(ValueError, match="must be known"):
        evaluate_pose([{"keypoints": []}], [{"keypoints": [], "scores": []}])
    with pytest.raises(ValueError, match="`sigmas` must be 3"):
        Pose(3, sigmas=[0.1, 0.1])
    with pytest.raises(ValueError, match="`keypoint_names` must name 3"):
        Pose(3, sigmas=[0.1] * 3, keypoint_names=("neck",))


def test_an_evaluation_passes_on_what_names_do_not_say():
    names = ("shoulder a", "shoulder b", "hip a", "hip b")
    info = jft.data.Info(
        num_examples=1, keypoint_names=names, sigmas=(0.1,) * 4
    )
    model = types.SimpleNamespace(num_keypoints=4)
    config = jft.evaluation.Config(task="pose")
    with pytest.raises(ValueError, match="Give `torso`"):
        evaluator.metric(config, model, info)
    config = jft.evaluation.Config(
        task="pose", metric_options={"torso": ("shoulder a", "hip b")}
    )
    metric = evaluator.metric(config, model, info)
    pose = np.float64([[[0, 0, 2], [1, 0, 2], [9, 9, 2], [0, 10, 2]]])
    # A torso of 10: within 2 pixels.
    found = pose + [[[1.9, 0, 0], [0, 2.1, 0], [0, 0, 0], [0, 0, 0]]]
    metric.update(
        [{"keypoints": pose}], [{"keypoints": found, "scores": [1.0]}]
    )
    assert metric.result()["per_class"].tolist() == [1, 0, 1, 1]


def test_what_names_do_not_tell_must_be_given():
    with pytest.raises(ValueError, match="5 keypoints without `sigmas`"):
        Pose(5)
    names = ("shoulder a", "shoulder b", "hip a", "hip b")
    with pytest.raises(ValueError, match="'shoulder a'.*Give `torso`"):
        Pose(4, sigmas=[0.1] * 4, keypoint_names=names)
    for torso in ((0, 4), ("shoulder a",), ("shoulder a", "hip c")):
        with pytest.raises(ValueError, match="`torso` must be two of the 4"):
            Pose(4, sigmas=[0.1] * 4, keypoint_names=names, torso=torso)
