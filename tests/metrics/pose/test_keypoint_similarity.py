import numpy as np
import pytest
from pycocotools import cocoeval

from keras_jft.metrics import keypoint_similarity, sigmas_of

COCO_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip


def test_falloffs_are_those_of_pycocotools():
    expected = cocoeval.Params("keypoints").kpt_oks_sigmas
    np.testing.assert_allclose(sigmas_of(COCO_NAMES), expected)
    # As OpenPose, and a person, would write them.
    spelled = [
        name.replace("left_", "L ").replace("right_", "R ").title()
        for name in COCO_NAMES
    ]
    assert spelled[1:3] == ["L Eye", "R Eye"]
    np.testing.assert_allclose(sigmas_of(spelled), expected)
    with pytest.raises(ValueError, match=r"Received: \['left_tail'\]"):
        sigmas_of(("nose", "left_tail"))


def test_similarity_is_that_of_pycocotools(rng):
    truth = rng.uniform(0, 60, (3, 17, 3))
    truth[..., 2] = rng.integers(0, 3, (3, 17))
    truth[0, :, 2] = 2
    areas = rng.uniform(200, 900, 3)
    found = rng.uniform(-2, 2, (4, 17, 3))
    found[:3] += truth
    found[3] += truth[1]
    evaluation = cocoeval.COCOeval(iouType="keypoints")
    evaluation._gts[1, 1] = [
        {
            "keypoints": person.ravel().tolist(),
            "bbox": [0, 0, 60, 60],
            "area": area,
        }
        for person, area in zip(truth, areas, strict=True)
    ]
    scores = [0.9, 0.8, 0.7, 0.6]
    evaluation._dts[1, 1] = [
        {"keypoints": pose.ravel().tolist(), "score": score}
        for pose, score in zip(found, scores, strict=True)
    ]
    np.testing.assert_allclose(
        keypoint_similarity(truth, found, areas, sigmas_of(COCO_NAMES)),
        evaluation.computeOks(1, 1).T,
        rtol=1e-9,
    )


def test_what_is_not_labeled_does_not_count():
    pose = np.zeros((2, 3, 3))
    pose[0, 0] = 5, 5, 2
    other = np.full((1, 3, 2), 5.0)
    other[0, 1:] = 1000
    found = keypoint_similarity(pose, other, [10.0, 10.0], [0.1] * 3)
    assert found.tolist() == [[1], [0]]
