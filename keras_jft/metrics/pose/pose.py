"""Average precision and recall of poses by OKS, as COCO has them, and PCK.

Shapes: B images of a batch, N people and M predictions of an image, K
keypoints.

References:
    https://cocodataset.org/#keypoints-eval, as pycocotools computes it.
    Yang and Ramanan 2013, "Articulated Human Detection with Flexible Mixtures
    of Parts", section 7 (PCK).
"""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_jft import sides
from keras_jft.metrics.metric import Metric
from keras_jft.metrics.pose.keypoint_similarity import (
    keypoint_similarity,
    sigmas_of,
)
from keras_jft.text import number_of
from keras_jft.typing import Example

# The numbers in `COCOeval.stats` for keypoints, in its order.
STATS = (
    "ap",
    "ap50",
    "ap75",
    "ap_medium",
    "ap_large",
    "ar",
    "ar50",
    "ar75",
    "ar_medium",
    "ar_large",
)
PCK_SHARE = 0.2  # A keypoint is found within this fraction of the torso.
# The torso's length is the distance between these two keypoints.
TORSO = (("left", "shoulder"), ("right", "hip"))


def evaluate_pose(
    people: Sequence[Example],
    predictions: Any,
    sigmas: Sequence[float] | None = None,
    keypoint_names: Sequence[str] = (),
    torso: Sequence[int | str] | None = None,
) -> dict[str, Any]:
    """Return COCO's ten numbers and PCK: `{"ap", ..., "pck", "counted"}`.

    Args:
        people: One dict per image: `keypoints` `(N, K, 3)` x, y in pixels and
            visibility; and optionally `boxes` `(N, 4)` xyxy (by default those
            around the keypoints), `areas` `(N,)` (by default those of the
            boxes) and `ignored` `(N,)` bool (by default nobody).
        predictions: One dict per image: `keypoints` `(M, K, 3)` and `scores`
            `(M,)`. Only the 20 best of an image count.
        sigmas: `(K,)` falloffs. By default those of `keypoint_names`, or of
            COCO for 17 keypoints without names.
        keypoint_names: K names. PCK uses the distance between the left shoulder
            and the right hip, if they are among them in a spelling that
            `keras_jft.sides` reads.
        torso: Two keypoints, by name or by position, whose distance PCK uses
            instead; () for the longer side of the box.

    Returns:
        The numbers that `Pose.result` describes.

    Raises:
        ValueError: If something has the wrong size, is not finite or is out of
            range.

    Example:
        >>> pose = np.full((1, 17, 3), 2.0)
        >>> pose[0, :, :2] = 10 * np.arange(17)[:, None]
        >>> truth, found = {"keypoints": pose}, {"keypoints": pose + [0, 1, 0]}
        >>> result = evaluate_pose([truth], [{**found, "scores": [0.9]}])
        >>> [round(result[name], 3) for name in ("ap50", "pck")]
        [1.0, 1.0]
    """
    if len(people) != len(predictions):
        raise ValueError(
            "Expected one prediction per image. Received: "
            f"{number_of(len(people), 'image')}, "
            f"{number_of(len(predictions), 'prediction')}."
        )
    count = len(keypoint_names) or _num_keypoints(people, predictions)
    metric = Pose(
        count, sigmas=sigmas, keypoint_names=keypoint_names, torso=torso
    )
    return metric.evaluate([(list(people), list(predictions))])


class Pose(Metric):
    """Collects people and predictions, image by image.

    Args:
        num_classes: Number of keypoints K.
        sigmas: As for `evaluate_pose`.
        keypoint_names: As for `evaluate_pose`.
        torso: As for `evaluate_pose`.

    Raises:
        ValueError: If there are not K `sigmas` or names, or if the names do
            not tell falloffs or the torso, which must then be given.
    """

    score = "ap"
    title = "OKS-AP"

    def __init__(
        self,
        num_classes: int,
        *,
        sigmas: Sequence[float] | None = None,
        keypoint_names: Sequence[str] = (),
        torso: Sequence[int | str] | None = None,
    ):
        names = tuple(keypoint_names)
        if sigmas is None or not len(sigmas):
            sigmas = _default_sigmas(num_classes, names)
        self.num_keypoints = num_classes
        self.sigmas = np.asarray(sigmas, "float64")
        if self.sigmas.shape != (num_classes,) or (self.sigmas <= 0).any():
            raise ValueError(
                f"`sigmas` must be {number_of(num_classes, 'number')} above 0, "
                f"one per keypoint. Received: {np.asarray(sigmas).tolist()}."
            )
        if names and len(names) != num_classes:
            raise ValueError(
                "`keypoint_names` must name "
                f"{number_of(num_classes, 'keypoint')}. Received: "
                f"{number_of(len(names), 'name')}."
            )
        self._torso = _torso(names, torso, num_classes)
        self._people: list[Example] = []
        self._predictions: list[Example] = []

    def update(self, truth: Any, predictions: Any) -> None:
        """Add images.

        Args:
            truth: A list of B dicts, as for `evaluate_pose`; or `(B, K, 3)`
                keypoints, one person per image.
            predictions: A list of dicts likewise; or one dict of `(B, K, 3)`
                keypoints and `(B,)` scores; or only keypoints, with a score
                of 1 each.
        """
        truth = _as_list(truth, {})
        predictions = _as_list(predictions, {"scores": 1.0})
        if len(truth) != len(predictions):
            raise ValueError(
                "Expected one prediction per image. Received: "
                f"{number_of(len(truth), 'image')}, "
                f"{number_of(len(predictions), 'prediction')}."
            )
        count = self.num_keypoints
        people = [_checked_people(image, count) for image in truth]
        predictions = [_checked_poses(image, count) for image in predictions]
        self._people += people
        self._predictions += predictions

    def result(self) -> dict[str, Any]:
        """Return the numbers over all images.

        Returns:
            `ap`, `ap50`, `ap75`, `ap_medium`, `ap_large`, and `ar` to
            `ar_large` likewise: nan if no person of that size counts. `pck`:
            the fraction of labeled keypoints that the most similar prediction
            finds within 0.2 times the length of the torso, or, if the
            keypoints have no torso, of the longer side of the box.
            `per_class`: `(K,)` the same for each keypoint, nan where none is
            labeled. `counted`: how many people count.
        """
        counted = sum(int((~image["ignored"]).sum()) for image in self._people)
        found, labeled = self._pck()
        per_class = np.full(self.num_keypoints, np.nan)
        np.divide(found, labeled, out=per_class, where=labeled > 0)
        total = labeled.sum()
        return {
            **dict(zip(STATS, self._stats(), strict=True)),
            "pck": float(found.sum() / total) if total else np.nan,
            "per_class": per_class,
            "counted": counted,
        }

    def _stats(self):
        """Return COCO's ten numbers, computed by pycocotools."""
        from pycocotools import coco, cocoeval

        truth = coco.COCO()
        truth.dataset = {
            "images": [{"id": i + 1} for i in range(len(self._people))],
            "categories": [{"id": 1}],
            "annotations": _annotations(self._people),
        }
        results = coco.COCO()
        results.dataset = {
            **truth.dataset,
            "annotations": _results(self._predictions),
        }
        with contextlib.redirect_stdout(io.StringIO()):
            truth.createIndex()
            results.createIndex()
            evaluation = cocoeval.COCOeval(truth, results, "keypoints")
            evaluation.params.kpt_oks_sigmas = self.sigmas
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        # pycocotools gives -1 where there is nobody.
        stats = np.where(evaluation.stats < 0, np.nan, evaluation.stats)
        return stats.tolist()

    def _pck(self):
        """Return how many of each keypoint are found, and how many labeled."""
        found, labeled = np.zeros((2, self.num_keypoints), np.int64)
        for people, poses in zip(self._people, self._predictions, strict=True):
            alike = keypoint_similarity(
                people["keypoints"],
                poses["keypoints"],
                people["areas"],
                self.sigmas,
            )
            for person in np.flatnonzero(~people["ignored"]):
                keypoints = people["keypoints"][person]
                reach = PCK_SHARE * self._length(
                    keypoints, people["boxes"][person]
                )
                if np.isnan(reach):
                    continue
                counts = keypoints[:, 2] > 0
                labeled += counts
                if len(poses["keypoints"]):
                    best = poses["keypoints"][alike[person].argmax()]
                    steps = keypoints[:, :2] - best[:, :2]
                    found += counts & (np.hypot(*steps.T) <= reach)
        return found, labeled

    def _length(self, keypoints, box):
        """Return the length that PCK uses; nan if the torso is not labeled."""
        if self._torso is None:
            return max(box[2] - box[0], box[3] - box[1])
        ends = keypoints[self._torso]
        if (ends[:, 2] == 0).any():
            return np.nan
        return np.hypot(*(ends[0, :2] - ends[1, :2]))


# === Input ===


def _default_sigmas(count, names):
    if names:
        return sigmas_of(names)
    if count == 17:
        from pycocotools import cocoeval

        return cocoeval.Params("keypoints").kpt_oks_sigmas
    raise ValueError(
        "OKS needs the falloff of each keypoint. Received: "
        f"{number_of(count, 'keypoint')} without `sigmas` and without "
        f"`keypoint_names`. Give either; [0.079] * {count} is a common choice "
        "for joints that nobody measured."
    )


def _torso(names, torso, count):
    """Return the positions of the two keypoints of the torso, or None."""
    if torso is None:
        return _torso_of(names)
    if not len(torso):
        return None
    places = [names.index(end) if end in names else end for end in torso]
    if len(places) != 2 or not all(
        type(place) is int and 0 <= place < count for place in places
    ):
        raise ValueError(
            f"`torso` must be two of the {count} keypoints, by name or by "
            f"position. Received: {torso}, names {list(names)}."
        )
    return places


def _torso_of(names):
    """Return the left shoulder and the right hip; None without them."""
    ends = [(side.side, side.joint) for side in sides.read(names)]
    if all(ends.count(end) == 1 for end in TORSO):
        return [ends.index(end) for end in TORSO]
    text = " ".join(names).casefold()
    if all(joint in text for _, joint in TORSO):
        raise ValueError(
            "PCK measures from the left shoulder to the right hip, and the "
            f"names must say which those are. Received: {list(names)}. Give "
            "`torso`, two names or positions; or () for the side of the box."
        )
    return None


def _num_keypoints(people, predictions):
    for image in (*people, *predictions):
        if np.ndim(image["keypoints"]) == 3:
            return np.shape(image["keypoints"])[1]
    raise ValueError(
        "The number of keypoints must be known. Received: no people and no "
        "predictions. Give `keypoint_names`."
    )


def _as_list(images, defaults):
    """Return one dict per image, with one person each."""
    if isinstance(images, list):
        return images
    if not isinstance(images, dict):
        images = {"keypoints": np.asarray(images)}
        defaults = {
            key: np.full(len(images["keypoints"]), value)
            for key, value in defaults.items()
        }
        images |= defaults
    if len({len(values) for values in images.values()}) > 1:
        raise ValueError(
            "Expected one row per image in each entry. Received: "
            f"{ {key: len(values) for key, values in images.items()} }."
        )
    count = len(images["keypoints"])
    return [
        {key: np.asarray(values)[i : i + 1] for key, values in images.items()}
        for i in range(count)
    ]


def _checked_people(image, count):
    """Return keypoints, boxes, areas and flags of the people in an image."""
    keypoints = _keypoints(image, count, "people")
    if not np.isin(keypoints[..., 2], (0, 1, 2)).all():
        raise ValueError(
            "The visibility of a keypoint must be 0, 1 or 2. Received: "
            f"{np.unique(keypoints[..., 2]).tolist()}."
        )
    labeled = keypoints[..., 2] > 0
    boxes = np.asarray(image.get("boxes", _around(keypoints)), "float64")
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = np.asarray(image.get("areas", sides.prod(axis=1)), "float64")
    ignored = np.asarray(image.get("ignored", np.zeros(len(boxes))), bool)
    if {len(boxes), len(areas), len(ignored)} != {len(keypoints)} or not (
        np.isfinite(boxes).all() and np.isfinite(areas).all()
    ):
        raise ValueError(
            "`boxes`, `areas` and `ignored` must be finite, one per person of "
            f"{len(keypoints)}. Received: "
            f"{number_of(len(boxes), 'box', 'boxes')}, {areas.tolist()} and "
            f"{len(ignored)}."
        )
    return {
        "keypoints": keypoints,
        "boxes": boxes,
        "areas": areas,
        # Where nothing is labeled, nothing can be right or wrong.
        "ignored": ignored | ~labeled.any(axis=1),
        "crowd": ignored,
    }


def _checked_poses(image, count):
    keypoints = _keypoints(image, count, "predictions")
    scores = np.asarray(image["scores"], "float64")
    if scores.shape != keypoints.shape[:1] or not np.isfinite(scores).all():
        raise ValueError(
            f"`scores` must be finite, one per pose of {len(keypoints)}. "
            f"Received: {scores.tolist()}."
        )
    return {"keypoints": keypoints, "scores": scores}


def _keypoints(image, count, what):
    keypoints = np.asarray(image["keypoints"], "float64")
    if not keypoints.size:
        keypoints = keypoints.reshape(0, count, 3)
    if keypoints.shape[1:] != (count, 3) or not np.isfinite(keypoints).all():
        raise ValueError(
            f"`keypoints` of {what} must be finite, of shape (people, {count}, "
            f"3). Received: shape {keypoints.shape}"
            f"{'' if np.isfinite(keypoints).all() else ', not finite'}."
        )
    return keypoints


def _around(keypoints):
    """Return `(N, 4)` boxes around the labeled keypoints."""
    labeled = keypoints[..., 2:] > 0
    low = np.where(labeled, keypoints[..., :2], np.inf).min(axis=1)
    high = np.where(labeled, keypoints[..., :2], -np.inf).max(axis=1)
    boxes = np.concatenate([low, high], axis=1)
    return np.where(np.isfinite(boxes), boxes, 0.0)


# === COCO's records ===


def _annotations(people):
    records = []
    for number, image in enumerate(people):
        for keypoints, box, area, crowd in zip(
            image["keypoints"],
            image["boxes"],
            image["areas"],
            image["crowd"],
            strict=True,
        ):
            records.append(
                {
                    "id": len(records) + 1,  # 0 would never match.
                    "image_id": number + 1,
                    "category_id": 1,
                    "keypoints": keypoints.ravel().tolist(),
                    "num_keypoints": int((keypoints[:, 2] > 0).sum()),
                    "bbox": [*box[:2], *(box[2:] - box[:2])],
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
    return records


def _results(predictions):
    records = []
    for number, image in enumerate(predictions):
        for keypoints, score in zip(
            image["keypoints"], image["scores"], strict=True
        ):
            # As in `COCO.loadRes`: the area of the box around all keypoints.
            sides = np.ptp(keypoints[:, :2], axis=0)
            records.append(
                {
                    "id": len(records) + 1,
                    "image_id": number + 1,
                    "category_id": 1,
                    "keypoints": keypoints.ravel().tolist(),
                    "score": float(score),
                    "area": float(sides.prod()),
                    "bbox": [*keypoints[:, :2].min(axis=0), *sides],
                }
            )
    return records
