"""Average precision and recall of poses by OKS, as COCO, and PCK.

Shapes: B images of a batch, N people and M predictions of an image, K
keypoints.

References:
    https://cocodataset.org/#keypoints-eval, as pycocotools computes it.
    Yang and Ramanan 2013, "Articulated Human Detection with Flexible Mixtures
    of Parts", section 7 (PCK).
"""

import contextlib
import io

import numpy as np

from keras_jft import sides
from keras_jft.metrics.metric import Metric
from keras_jft.metrics.pose.keypoint_similarity import (
    keypoint_similarity,
    sigmas_of,
)

# What `COCOeval.stats` holds for keypoints, in its order.
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
PCK_SHARE = 0.2
# What PCK measures by: the distance between these.
TORSO = (("left", "shoulder"), ("right", "hip"))


def evaluate_pose(
    people, predictions, sigmas=None, keypoint_names=(), torso=None
):
    """COCO's ten numbers and PCK: `{"ap", "ap50", ..., "pck", "counted"}`.

    Args:
        people: One dict an image: `keypoints` `(N, K, 3)` x, y in pixels and
            visibility; `boxes` `(N, 4)` xyxy, `areas` `(N,)` and `ignored`
            `(N,)` bool, which may be left out: those around the keypoints, of
            the box, none.
        predictions: One dict an image: `keypoints` `(M, K, 3)` and `scores`
            `(M,)`. At most the 20 best of an image count.
        sigmas: `(K,)` falloffs; by default those of `keypoint_names`, or of
            COCO for 17 keypoints without names.
        keypoint_names: K names. With a left shoulder and a right hip, in any
            spelling that `keras_jft.sides` reads, the distance between the two
            is what PCK measures by.
        torso: Two keypoints, by name or by position, between which PCK
            measures instead; () for the longer side of the box.

    Returns:
        As `Pose.result` says.

    Raises:
        ValueError: Something is of another size, not finite or out of range.

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
            "Expected one prediction an image. Received: "
            f"{len(people)} images, {len(predictions)} predictions."
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
        ValueError: `sigmas` or names are not K; or what names mean cannot be
            told and must be given: falloffs, or the torso.
    """

    score = "ap"
    title = "OKS-AP"

    def __init__(
        self, num_classes, *, sigmas=None, keypoint_names=(), torso=None
    ):
        names = tuple(keypoint_names)
        if sigmas is None or not len(sigmas):
            sigmas = _default_sigmas(num_classes, names)
        self.num_keypoints = num_classes
        self.sigmas = np.asarray(sigmas, "float64")
        if self.sigmas.shape != (num_classes,) or (self.sigmas <= 0).any():
            raise ValueError(
                f"`sigmas` must be {num_classes} numbers above 0, one a "
                f"keypoint. Received: {np.asarray(sigmas).tolist()}."
            )
        if names and len(names) != num_classes:
            raise ValueError(
                f"`keypoint_names` must name {num_classes} keypoints. "
                f"Received: {len(names)} names."
            )
        self._torso = _torso(names, torso, num_classes)
        self._people, self._predictions = [], []

    def update(self, truth, predictions):
        """Adds images.

        Args:
            truth: A list of B dicts, as for `evaluate_pose`; or `(B, K, 3)`
                keypoints, one person an image.
            predictions: The same: a list of dicts; or one dict of `(B, K, 3)`
                keypoints and `(B,)` scores, or keypoints whose scores are 1.
        """
        truth = _as_list(truth, {})
        predictions = _as_list(predictions, {"scores": 1.0})
        if len(truth) != len(predictions):
            raise ValueError(
                "Expected one prediction an image. Received: "
                f"{len(truth)} images, {len(predictions)} predictions."
            )
        count = self.num_keypoints
        people = [_checked_people(image, count) for image in truth]
        predictions = [_checked_poses(image, count) for image in predictions]
        self._people += people
        self._predictions += predictions

    def result(self):
        """The numbers over all images.

        Returns:
            `ap`, `ap50`, `ap75`, `ap_medium`, `ap_large` and the same of `ar`:
            nan where no person of that size counts. `pck`: the share of
            labeled keypoints found within 0.2 of the length of the torso, or
            of the longer side of the box where the keypoints have no torso, in
            the prediction that is most alike; `per_class`, `(K,)` the same of
            each keypoint, nan where none is labeled; `counted`: how many
            people count.
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
        """COCO's ten numbers, by pycocotools."""
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
        # pycocotools says -1 where there is nobody.
        stats = np.where(evaluation.stats < 0, np.nan, evaluation.stats)
        return stats.tolist()

    def _pck(self):
        """How many of each keypoint are found, and how many labeled."""
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
        """What PCK measures by; nan if the torso is not labeled."""
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
        "Falloffs must be known for OKS. Received: "
        f"{count} keypoints without `sigmas` and without `keypoint_names`. "
        f"Give either; [0.079] * {count} is what many use for joints that "
        "nobody measured."
    )


def _torso(names, torso, count):
    """Positions of the two keypoints that PCK measures by, or None."""
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
    """The left shoulder and the right hip; None for a body without them."""
    ends = [(side.side, side.joint) for side in sides.read(names)]
    if all(ends.count(end) == 1 for end in TORSO):
        return [ends.index(end) for end in TORSO]
    text = " ".join(names).casefold()
    if all(joint in text for _, joint in TORSO):
        raise ValueError(
            "PCK measures from the left shoulder to the right hip, and the "
            f"names must say which those are. Received: {list(names)}. Give "
            "`torso`, two names or positions; () for the side of the box."
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
    """One dict an image, with one person each."""
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
            "Expected as many of each as images. Received: "
            f"{ {key: len(values) for key, values in images.items()} }."
        )
    count = len(images["keypoints"])
    return [
        {key: np.asarray(values)[i : i + 1] for key, values in images.items()}
        for i in range(count)
    ]


def _checked_people(image, count):
    """Keypoints, boxes, areas and ignored of everyone in an image."""
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
            "`boxes`, `areas` and `ignored` must be finite, one a person of "
            f"{len(keypoints)}. Received: {len(boxes)} boxes, {areas.tolist()} "
            f"and {len(ignored)}."
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
            f"`scores` must be finite, one a pose of {len(keypoints)}. "
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
    """`(N, 4)` boxes around labeled keypoints."""
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
            # As `COCO.loadRes` has it: the area of the box around all.
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
